"""This process; every other folder of adapters may use it.

`privileges`, `network_namespace`, `writer_lock`, `witness_file`, `deadline`, `clock`.
"""

"""This process: `privileges`, `network_namespace`, `writer_lock`, `witness_file`, `clock`.

Every other folder of adapters may use it.
"""

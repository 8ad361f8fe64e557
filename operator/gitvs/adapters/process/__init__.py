"""This process: `privileges`, `network_namespace`, `writer_lock`, `clock`.

Every other folder of adapters may use it.
"""

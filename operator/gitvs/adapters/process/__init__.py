"""This process, and the one that checks; every other folder of adapters may use it.

`privileges`, `network_namespace`, `writer_lock`, `witness_file`, `deadline`, `clock`,
`checker_process` (starts the process that checks real servers, and follows it).
"""

"""The kernel in memory: a faithful model of the port `Kernel`. `tests/contract` holds it to Linux.

In reading order: `kernel`, `ipvs`, `routing`, `sysctl`.
"""

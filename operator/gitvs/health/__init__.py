"""The checker process: runs the probes that the agent wants, and reports their results.

It has no capability, and reads the answers of strangers. In reading order: `loop` (sockets and
timers), `checks` (what is sent and read), `runs` (the results of one probe, and when it is next
due), `process` (all of it together), and `once`, which runs probes for `gitvs check`.
"""

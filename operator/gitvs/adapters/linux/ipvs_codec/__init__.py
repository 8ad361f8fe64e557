"""The IPVS codec: resources to messages, and the kernel's replies to resources. No I/O.

A message here is a generic-netlink payload: the command header and its attributes. The
netlink header with its family, flags and sequence number is the socket's (`ipvs`).

Read in this order: `numbers`, `requests`, `replies`.
"""

"""The IPVS codec, without I/O: resources to messages, and the kernel's replies to resources.

A message here is a generic-netlink payload: the command header and its attributes. The netlink
header with its family, flags and sequence number is left to `ipvs` and `netlink`.

In reading order: `numbers`, `requests`, `replies`.
"""

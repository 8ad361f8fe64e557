"""The rtnetlink codec, without I/O: links, addresses and routes as messages.

The netlink header is left to `netlink`. In reading order: `numbers`, `replies` (what is read),
`requests` (what is written, with pyroute2).
"""

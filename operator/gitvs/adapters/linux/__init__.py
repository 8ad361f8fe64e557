"""The Linux kernel: IPVS, links, addresses, routes and sysctls of one network namespace.

In reading order: `kernel` (the port `Kernel`), `change_requests` (changes to requests of IPVS),
`netlink` (sockets, batches, dumps), `attributes` (what messages consist of), `ipvs`, `ipvs_rules`,
`ipvs_codec`, `ipvs_decoder`, `rtnetlink`, `rtnetlink_codec`, `sysctl`, `listening_sockets`,
`kernel_events`.
"""

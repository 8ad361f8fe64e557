"""How many bytes a tunnel adds to a packet, and what that leaves for clients."""

from __future__ import annotations

from gitvs.core.model.resources import (
    AddressFamily,
    IPAddress,
    RealServer,
    Tunnel,
    TunnelChecksum,
    TunnelType,
)

_IP_HEADER_BYTES = {4: 20, 6: 40}
_TCP_HEADER_BYTES = 20

ETHERNET_MTU = 1500


def tunnel_overhead_bytes(tunnel: Tunnel, real_server: IPAddress) -> int:
    """Return how many bytes longer a packet is on its way to a real server.

    Source: Linux net/netfilter/ipvs/ip_vs_xmit.c, __ip_vs_get_out_rt and ip_vs_tunnel_xmit;
    net/gue.h and net/gre.h for the headers.
    """
    has_checksum = tunnel.checksum is not TunnelChecksum.NONE
    match tunnel.type:
        case TunnelType.IPIP:
            header = 0
        case TunnelType.GRE:
            header = 8 if has_checksum else 4
        case TunnelType.GUE:  # behind a UDP header; a remote checksum has two fields of its own
            header = 20 if tunnel.checksum is TunnelChecksum.REMOTE else 12
    return _IP_HEADER_BYTES[real_server.version] + header


def fitting_mss(server: RealServer) -> int:
    """Return the largest TCP segment of a client that fits where a packet has 1,500 bytes."""
    inner = _IP_HEADER_BYTES[4 if server.listener.family is AddressFamily.IPV4 else 6]
    overhead = tunnel_overhead_bytes(server.tunnel or Tunnel(), server.address)
    return ETHERNET_MTU - overhead - inner - _TCP_HEADER_BYTES

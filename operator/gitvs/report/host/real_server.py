"""What has to be set up on a real server, as shell commands with comments.

Computed from every virtual service that has it. With NAT, any host behind the director will do.
Otherwise it gets packets for the VIPs themselves: it must hold them, and not answer ARP for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gitvs.core.errors import UsageError
from gitvs.core.manifests.messages.schema_messages import did_you_mean
from gitvs.core.model.desired import Desired
from gitvs.core.model.resources import (
    AddressFamily,
    Endpoint,
    Forwarding,
    IPAddress,
    RealServer,
    Tunnel,
    TunnelChecksum,
    TunnelType,
    Vip,
    family_of,
    host_and_port,
)
from gitvs.core.planning.plan import natural_sort_key
from gitvs.core.planning.risks.tunnel_overhead import (
    ETHERNET_MTU,
    fitting_mss,
    tunnel_overhead_bytes,
)
from gitvs.report.text.lines import aligned, line

_FORWARDING_TEXTS = {
    Forwarding.NAT: "by NAT",
    Forwarding.DR: "by direct routing",
    Forwarding.TUN: "through a tunnel",
}


@dataclass(frozen=True, slots=True)
class _ServerUse:
    """A real server of one virtual service, and its VIPs, as far as known for a firewall mark."""

    server: RealServer
    vips: tuple[IPAddress, ...]
    director: str


def real_server_commands(desired_states: Sequence[Desired], address: IPAddress) -> Iterator[str]:
    """Yield the lines of a shell script that sets up the real server of an address.

    Raises:
        UsageError: no virtual service has it.
    """
    uses = [use for desired in desired_states for use in _uses_of_address(desired, address)]
    if not uses:
        known_addresses = {
            str(s.address) for desired in desired_states for s in desired.state.of_type(RealServer)
        }
        hint = did_you_mean(str(address), sorted(known_addresses))
        raise UsageError(f"no virtual service has a real server {address}{hint}")
    directors = ", ".join(dict.fromkeys(use.director for use in uses))
    yield f"# Real server {address} of {directors}."
    if address.is_loopback:
        yield "# It is the director itself: there is nothing to set up."
    else:
        tunnel_uses = [use for use in uses if use.server.forwarding is Forwarding.TUN]
        vip_uses = [use for use in uses if use.server.forwarding is not Forwarding.NAT]
        yield "# Run as root; it lasts until the next boot."
        yield from _vip_commands(vip_uses)
        yield from _tunnel_commands(address, tunnel_uses)
        yield from _return_path_comments([u for u in uses if u.server.forwarding is Forwarding.NAT])
    yield from _listener_comments(uses)


def _uses_of_address(desired: Desired, address: IPAddress) -> Iterator[_ServerUse]:
    servers = [s for s in desired.state.of_type(RealServer) if s.address == address]
    for server in sorted(servers, key=natural_sort_key):
        yield _ServerUse(server, tuple(_vips_of(desired, server)), desired.director)


def _vips_of(desired: Desired, server: RealServer) -> Iterator[IPAddress]:
    """Yield the VIPs that a real server gets packets for; for a mark, those of its Service."""
    if isinstance(server.listener, Endpoint):
        yield server.listener.address
        return
    service_location = desired.locations.get(server.service_key)
    for vip in desired.state.of_type(Vip):
        vip_location = desired.locations.get(vip.key)
        is_same_service = (
            vip_location is not None
            and service_location is not None
            and vip_location.service == service_location.service
        )
        if is_same_service and family_of(vip.address) is server.listener.family:
            yield vip.address


def _vip_commands(uses: Sequence[_ServerUse]) -> Iterator[str]:
    if uses:
        yield ""
        yield "# It holds the VIPs, and leaves it to the director to answer ARP for them. It"
        yield "# answers clients itself: its default route must not lead through a director, which"
        yield "# drops what comes from its own addresses."
    if any(_is_ipv4(use) for use in uses):
        yield "sysctl -w net.ipv4.conf.all.arp_ignore=1"
        yield "sysctl -w net.ipv4.conf.all.arp_announce=2"
    vips = {vip for use in uses for vip in use.vips}
    for vip in sorted(vips, key=lambda a: (a.version, int(a))):
        yield f"ip address replace {vip}/{vip.max_prefixlen} dev lo"
    for listener in dict.fromkeys(u.server.listener for u in uses):
        if not isinstance(listener, Endpoint):
            yield f"# Do the same for every other address that gets the mark of {listener}."


def _tunnel_commands(address: IPAddress, uses: Sequence[_ServerUse]) -> Iterator[str]:
    """Yield the set-up of tunnels, with rp_filter off: answers do not go through a tunnel."""
    if uses:
        yield ""
        yield (
            "# It unpacks what directors tunnel to it. Its route to the clients of these"
            " packets is another one."
        )
    if any(_is_ipv4(use) for use in uses):
        yield "sysctl -w net.ipv4.conf.all.rp_filter=0"
    option, suffix = ("", "") if address.version == 4 else ("-6 ", " -6")
    for port in sorted({t.port for t in map(_tunnel_of, uses) if t.type is TunnelType.GUE}):
        port_check = f"ip fou show | grep -qx 'port {port} gue{suffix} *'"
        yield f"{port_check} || ip {option}fou add port {port} gue"
    for name, kind in dict.fromkeys(_tunnel_device(address, use) for use in uses):
        yield f"ip link show {name} >/dev/null 2>&1 || ip link add name {name} type {kind}"
        if any(_is_ipv4(use) for use in uses):
            yield f"sysctl -w net.ipv4.conf.{name}.rp_filter=0"
        yield f"ip link set {name} up"
    yield from _mtu_comments(address, uses)


def _mtu_comments(address: IPAddress, uses: Sequence[_ServerUse]) -> Iterator[str]:
    """Yield the advice on MTU and MSS: only the real server can announce a smaller MSS."""
    if uses:
        extra = max(tunnel_overhead_bytes(_tunnel_of(use), address) for use in uses)
        mss = min(fitting_mss(use.server) for use in uses)
        yield ""
        yield f"# In the tunnel a packet is {extra} bytes longer. Either the network between the"
        yield f"# directors and here carries {ETHERNET_MTU + extra} bytes (MTU), or clients must be"
        yield f"# told to send less: add `advmss {mss}` to the route that leads to them, such as"
        yield f"#   ip route change default via GATEWAY advmss {mss}"


def _is_ipv4(use: _ServerUse) -> bool:
    return use.server.listener.family is AddressFamily.IPV4


def _tunnel_of(use: _ServerUse) -> Tunnel:
    return use.server.tunnel or Tunnel()


def _tunnel_device(address: IPAddress, use: _ServerUse) -> tuple[str, str]:
    """Return name and type of the device that decapsulates; GUE carries the same as IPIP.

    Source: Linux net/netfilter/ipvs/ip_vs_xmit.c, ip_vs_tunnel_xmit; ip-link(8).
    """
    tunnel = _tunnel_of(use)
    if tunnel.type is TunnelType.GRE:
        name, kind = ("gvgre", "gre") if address.version == 4 else ("gvgre6", "ip6gre")
        checksum = "" if tunnel.checksum is TunnelChecksum.NONE else " csum"
        return name, f"{kind} local {address}{checksum}"
    if address.version == 6:
        return "gvip6tnl", f"ip6tnl mode any local {address}"
    if _is_ipv4(use):
        return "gvipip", f"ipip local {address}"
    return "gvsit", f"sit local {address}"


def _return_path_comments(uses: Sequence[_ServerUse]) -> Iterator[str]:
    directors = list(dict.fromkeys(use.director for use in uses))
    if directors:
        yield ""
        yield "# What it answers by NAT must go back through the director that sent the request:"
        yield f"# its default route leads through {' or '.join(directors)}."


def _listener_comments(uses: Sequence[_ServerUse]) -> Iterator[str]:
    yield ""
    yield "# Its daemons must listen on"
    rows = {(_listen_text(use.server), _purpose_text(use.server)): None for use in uses}
    for row in aligned([line(*cells) for cells in rows]):
        yield f"#   {row.cells[0]}"


def _listen_text(server: RealServer) -> str:
    """Return the address and port that requests come to."""
    listener, is_nat = server.listener, server.forwarding is Forwarding.NAT
    if not isinstance(listener, Endpoint):
        where = f"{server.address}" if is_nat else "the VIPs"
        return f"{f'port {server.port}' if server.port else 'the ports asked for'} of {where}"
    address = server.address if is_nat else listener.address
    if not server.port:
        return f"{listener.protocol} every port of {address}"
    return f"{listener.protocol} {host_and_port(address, server.port)}"


def _purpose_text(server: RealServer) -> str:
    return f"for {server.listener} {_FORWARDING_TEXTS[server.forwarding]}"

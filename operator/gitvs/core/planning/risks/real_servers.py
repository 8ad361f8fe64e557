"""Risks of real servers that are reached in a new way: what else must be set up for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from gitvs.core.model.resources import (
    AddressFamily,
    Forwarding,
    RealServer,
    Sysctl,
    Tunnel,
    VirtualService,
    family_of,
)
from gitvs.core.planning.risks.context import RiskContext
from gitvs.core.planning.risks.host_settings import IP_FORWARDING_SYSCTLS
from gitvs.core.planning.risks.risk import Risk, counted_names, risk_for
from gitvs.core.planning.risks.tunnel_overhead import (
    ETHERNET_MTU,
    fitting_mss,
    tunnel_overhead_bytes,
)


def _real_server_setup(context: RiskContext) -> Iterator[Risk]:
    new = [s for s in _newly_reached_servers(context) if s.forwarding is not Forwarding.NAT]
    if new:
        addresses = list(dict.fromkeys(str(s.address) for s in new))
        yield risk_for(
            "real-server-setup",
            [s.key for s in new],
            f"direct routing or tunnelling to {counted_names('real server', addresses)}"
            " is new. These real servers must have the VIPs, and must not answer ARP"
            " for them. Otherwise packets to them are lost. `gitvs render --real-server"
            f" {addresses[0]}` prints the commands for this",
        )


def _tunnel_mtu(context: RiskContext) -> Iterator[Risk]:
    """Real servers answer directly, so only their own MSS makes clients send less."""
    new = [s for s in _newly_reached_servers(context) if s.forwarding is Forwarding.TUN]
    if new:
        addresses = list(dict.fromkeys(str(s.address) for s in new))
        extra = max(tunnel_overhead_bytes(s.tunnel or Tunnel(), s.address) for s in new)
        yield risk_for(
            "tunnel-mtu",
            [s.key for s in new],
            f"packets to {counted_names('real server', addresses)} become {extra} bytes"
            " longer in a tunnel. If the network there does not carry"
            f" {ETHERNET_MTU + extra} bytes, full-size packets of clients are lost."
            " Raise its MTU, or let the real servers announce an MSS of"
            f" {min(map(fitting_mss, new))}, as `gitvs render --real-server"
            f" {addresses[0]}` says",
        )


def _nat_without_forwarding(context: RiskContext) -> Iterator[Risk]:
    """Answers come back through the director, which routes them. Source: ipvsadm(8) -m."""
    for family, names in IP_FORWARDING_SYSCTLS.items():
        value = context.sysctl_value(*names)
        servers = (
            context.after.of_type(RealServer)
            if _is_forwarding_turned_off(context, names)
            else _newly_reached_servers(context)
        )
        new = [s for s in servers if _is_nat(s, family) and not context.is_local(s.address)]
        if not new or value not in (None, "0"):
            continue
        if value is None and any(
            _is_nat(s, family) and not context.is_local(s.address)
            for s in context.before.of_type(RealServer)
        ):
            continue  # forwarding that works for others works for these too
        keys = [s.key for s in new]
        why = "no manifest sets it: it must be 1 on the host, or" if value is None else "it is 0:"
        yield risk_for(
            "nat-without-forwarding",
            keys,
            f"NAT to {counted_names('real server', keys)} needs {names[0]}, and {why}"
            f" this director drops their answers. Set {names[0]}: 1 in the Director's"
            " sysctls",
        )


def _one_packet_nat(context: RiskContext) -> Iterator[Risk]:
    """Without a connection entry, answers are not translated back. Source: ipvsadm(8) -o."""
    newly_reached_keys = {s.key for s in _newly_reached_servers(context)}
    newly_one_packet_keys = {
        s.key for b, s in context.changed(VirtualService) if b is None or not b.is_one_packet
    }
    keys = []
    for server in context.after.of_type(RealServer):
        service = context.after[server.service_key]
        is_one_packet = isinstance(service, VirtualService) and service.is_one_packet
        is_new = server.key in newly_reached_keys or service.key in newly_one_packet_keys
        is_nat = server.forwarding is Forwarding.NAT and not context.is_local(server.address)
        if is_one_packet and is_new and is_nat and service.key not in keys:
            keys.append(service.key)
    if keys:
        yield risk_for(
            "one-packet-nat",
            keys,
            f"NAT for {counted_names('virtual service', keys)} with onePacket: IPVS"
            " keeps no connection entry, so answers leave with the real server's"
            " address, and clients drop them. Use forwarding dr or tun, or leave"
            " onePacket out",
        )


def _newly_reached_servers(context: RiskContext) -> Iterator[RealServer]:
    """Yield the real servers on other hosts that are new, or reached in another way."""
    for before, server in context.changed(RealServer):
        former_way = None if before is None else (before.forwarding, before.tunnel)
        if former_way != (server.forwarding, server.tunnel) and not context.is_local(
            server.address
        ):
            yield server


def _is_forwarding_turned_off(context: RiskContext, names: Sequence[str]) -> bool:
    keys = [Sysctl(name, "0").key for name in names]
    off_keys = [key for key in keys if context.after.get(key) == Sysctl(key, "0")]
    return any(
        key in context.before and context.before[key] != context.after[key] for key in off_keys
    )


def _is_nat(server: RealServer, family: AddressFamily) -> bool:
    return server.forwarding is Forwarding.NAT and family_of(server.address) is family


RULES: tuple[Callable[[RiskContext], Iterator[Risk]], ...] = (
    _nat_without_forwarding,
    _one_packet_nat,
    _real_server_setup,
    _tunnel_mtu,
)

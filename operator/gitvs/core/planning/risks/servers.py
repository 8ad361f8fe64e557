"""Risks of real servers that are reached in a new way: what else must be set up for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from gitvs.core.model.resources import (
    AddressFamily,
    Forwarding,
    RealServer,
    Sysctl,
    VirtualService,
    family_of,
)
from gitvs.core.planning.host_settings import FORWARDING
from gitvs.core.planning.risks.risk import Risk, risk, several
from gitvs.core.planning.risks.step import Step


def _real_server_setup(step: Step) -> Iterator[Risk]:
    new = [s for s in _reached_anew(step) if s.forwarding is not Forwarding.NAT]
    if new:
        addresses = list(dict.fromkeys(str(s.address) for s in new))
        yield risk(
            "real-server-setup",
            [s.key for s in new],
            f"direct routing or tunnelling to {several('real server', addresses)} is new: unless"
            " the VIPs are set up there, without answering ARP for them, what is sent there is"
            f" lost; `gitvs render --real-server {addresses[0]}` prints how",
        )


def _nat_without_forwarding(step: Step) -> Iterator[Risk]:
    """Answers come back through the director, which routes them. Source: ipvsadm(8) -m."""
    for family, names in FORWARDING.items():
        value = step.setting(*names)
        servers = step.after.of(RealServer) if _is_turned_off(step, names) else _reached_anew(step)
        new = [s for s in servers if _is_nat(s, family) and not step.is_local(s.address)]
        if not new or value not in (None, "0"):
            continue
        if value is None and any(
            _is_nat(s, family) and not step.is_local(s.address) for s in step.before.of(RealServer)
        ):
            continue  # what serves others already serves these too
        keys = [s.key for s in new]
        why = "no manifest sets it: it must be 1 on the host, or" if value is None else "it is 0:"
        yield risk(
            "nat-without-forwarding",
            keys,
            f"NAT to {several('real server', keys)} needs {names[0]}, and {why} this director"
            f" drops what they answer; set {names[0]}: 1 in the Director's sysctls",
        )


def _one_packet_nat(step: Step) -> Iterator[Risk]:
    """Without a connection in the table nothing turns answers back. Source: ipvsadm(8) -o."""
    anew = {s.key for s in _reached_anew(step)}
    new = {s.key for b, s in step.changed(VirtualService) if b is None or not b.one_packet}
    keys = []
    for server in step.after.of(RealServer):
        service = step.after[server.service_key]
        is_one_packet = isinstance(service, VirtualService) and service.one_packet
        is_new = server.key in anew or service.key in new
        is_nat = server.forwarding is Forwarding.NAT and not step.is_local(server.address)
        if is_one_packet and is_new and is_nat and service.key not in keys:
            keys.append(service.key)
    if keys:
        yield risk(
            "one-packet-nat",
            keys,
            f"NAT for {several('virtual service', keys)} with onePacket: no connection is kept, so"
            " answers leave with the real server's address, and clients do not know them; use"
            " forwarding dr or tun, or leave onePacket out",
        )


def _reached_anew(step: Step) -> Iterator[RealServer]:
    """Yield the real servers elsewhere that are new, or reached in another way than before."""
    for before, server in step.changed(RealServer):
        way = None if before is None else (before.forwarding, before.tunnel)
        if way != (server.forwarding, server.tunnel) and not step.is_local(server.address):
            yield server


def _is_turned_off(step: Step, names: Sequence[str]) -> bool:
    keys = [Sysctl(name, "0").key for name in names]
    off = [key for key in keys if step.after.get(key) == Sysctl(key, "0")]
    return any(key in step.before and step.before[key] != step.after[key] for key in off)


def _is_nat(server: RealServer, family: AddressFamily) -> bool:
    return server.forwarding is Forwarding.NAT and family_of(server.address) is family


RULES: tuple[Callable[[Step], Iterator[Risk]], ...] = (
    _nat_without_forwarding,
    _one_packet_nat,
    _real_server_setup,
)

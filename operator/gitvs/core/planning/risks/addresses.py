"""Risks of addresses that the director answers for: by ARP, and with its own daemons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from gitvs.core.model.observation import WildcardListener
from gitvs.core.model.resources import Endpoint, IPAddress, Protocol, Vip, VirtualService, family_of
from gitvs.core.planning.host_settings import ARP_IGNORE, answers_arp, arp_ignore_of
from gitvs.core.planning.risks.risk import Risk, risk, several, some
from gitvs.core.planning.risks.step import Step

_MOST_PORTS = 10


def _arp_flux(step: Step) -> Iterator[Risk]:
    """Source: Linux ip-sysctl.rst, arp_ignore; IPv6 answers for an interface's own alone."""
    bound = [vip for vip in _bound(step) if vip.address.version == 4]
    for name, link in sorted(step.host.links.items()) if step.host else ():
        values = {step.setting(ARP_IGNORE), step.setting(arp_ignore_of(name))} - {None}
        vips = [v for v in bound if any(v.address in network for network in link.networks)]
        if vips and answers_arp(link) and values == {"0"}:
            yield risk(
                "arp-flux",
                [v.key for v in vips],
                f"binding {several('VIP', _addresses(vips))} in a subnet of interface {name}, where"
                " arp_ignore is 0: this director answers ARP for it there, as every other host"
                " that has it does, and clients go to whichever was last; where others have it"
                f" too, set {ARP_IGNORE}: 1 and net.ipv4.conf.all.arp_announce: 2 in the"
                " Director's sysctls",
            )


def _left_to_host(step: Step) -> Iterator[Risk]:
    listening = step.host.listening if step.host else frozenset()
    left = [
        s
        for s in step.leaving(VirtualService)
        if isinstance(s.listener, Endpoint)
        and step.is_bound(s.listener.address)
        and not _is_served(step, s.listener.protocol, s.listener.address, s.listener.port)
        and (not listening or _socket_of(s.listener) in listening)
    ]
    if left:
        who = "daemons of this host that listen on every address of it"
        answer = f"{who} answer" if listening else f"if there are {who}, they answer"
        keys = [s.key for s in left]
        yield risk(
            "answered-by-host",
            keys,
            f"removing {several('virtual service', keys)} from a VIP that stays bound: {answer}"
            " its clients instead; let them listen on the host's own address, or unbind the VIP",
        )


def _host_answers(step: Step) -> Iterator[Risk]:
    listening = sorted(step.host.listening) if step.host else []
    bound = _bound(step) if listening else []
    found = {v.address: _unserved(step, v.address, listening) for v in bound}
    vips = [v for v in bound if found[v.address]]
    if vips:
        ports = list(dict.fromkeys(str(x) for v in vips for x in found[v.address]))
        yield risk(
            "answered-by-host",
            [v.key for v in vips],
            f"binding {several('VIP', _addresses(vips))}: daemons of this host that listen on"
            f" every address of it answer there too, on {some(ports, _MOST_PORTS)}; let them"
            " listen on the host's own address, or filter these ports",
        )


def _bound(step: Step) -> list[Vip]:
    """Return the VIPs that the plan binds."""
    return [vip for before, vip in step.changed(Vip) if before is None]


def _addresses(vips: Iterable[Vip]) -> list[str]:
    return [str(vip.address) for vip in vips]


def _unserved(
    step: Step, address: IPAddress, listening: Iterable[WildcardListener]
) -> list[WildcardListener]:
    """Return the sockets that answer on a VIP; what a firewall mark serves of it is not known."""
    if step.has_marks and address not in step.served:
        return []
    return [
        x
        for x in listening
        if x.family is family_of(address) and not _is_served(step, x.protocol, address, x.port)
    ]


def _is_served(step: Step, protocol: Protocol, address: IPAddress, port: int) -> bool:
    """Whether a virtual service takes what comes to a port; port 0 is every port."""
    endpoints = (Endpoint(protocol, address, p) for p in (port, 0))
    return any(VirtualService(endpoint).key in step.after for endpoint in endpoints)


def _socket_of(listener: Endpoint) -> WildcardListener:
    return WildcardListener(listener.protocol, listener.family, listener.port)


RULES: tuple[Callable[[Step], Iterator[Risk]], ...] = (_arp_flux, _left_to_host, _host_answers)

"""Risks of addresses that the director answers for: by ARP, and with its own daemons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from gitvs.core.model.observation import WildcardListener
from gitvs.core.model.resources import Endpoint, IPAddress, Protocol, Vip, VirtualService, family_of
from gitvs.core.planning.risks.context import RiskContext
from gitvs.core.planning.risks.host_settings import (
    ARP_IGNORE_SYSCTL,
    answers_arp,
    arp_ignore_sysctl,
)
from gitvs.core.planning.risks.risk import Risk, counted_names, names_text, risk_for

_MAX_PORTS = 10


def _arp_flux(context: RiskContext) -> Iterator[Risk]:
    """Source: Linux ip-sysctl.rst, arp_ignore; IPv6 answers only for an interface's own."""
    bound = [vip for vip in _newly_bound_vips(context) if vip.address.version == 4]
    for name, link in sorted(context.observation.links.items()) if context.observation else ():
        values = {
            context.sysctl_value(ARP_IGNORE_SYSCTL),
            context.sysctl_value(arp_ignore_sysctl(name)),
        } - {None}
        vips = [v for v in bound if any(v.address in network for network in link.networks)]
        if vips and answers_arp(link) and values == {"0"}:
            yield risk_for(
                "arp-flux",
                [v.key for v in vips],
                f"binding {counted_names('VIP', _address_texts(vips))} in a subnet of"
                f" interface {name}, where arp_ignore is 0: this director then answers"
                " ARP for the VIP there. If other hosts have the same VIP, they answer"
                " too, and clients go to the host that answered last. In that case, set"
                f" {ARP_IGNORE_SYSCTL}: 1 and net.ipv4.conf.all.arp_announce: 2 in the"
                " Director's sysctls",
            )


def _answered_by_host_when_removed(context: RiskContext) -> Iterator[Risk]:
    wildcard_listeners = (
        context.observation.wildcard_listeners if context.observation else frozenset()
    )
    removed_services = [
        s
        for s in context.removed(VirtualService)
        if isinstance(s.listener, Endpoint)
        and context.is_bound(s.listener.address)
        and not _is_served(context, s.listener.protocol, s.listener.address, s.listener.port)
        and (not wildcard_listeners or _wildcard_listener_of(s.listener) in wildcard_listeners)
    ]
    if removed_services:
        who = "daemons of this host that listen on every address of it"
        answer = f"{who} answer" if wildcard_listeners else f"if there are {who}, they answer"
        keys = [s.key for s in removed_services]
        yield risk_for(
            "answered-by-host",
            keys,
            f"removing {counted_names('virtual service', keys)} from a VIP that stays"
            f" bound: {answer} its clients instead. Let these daemons listen on the"
            " host's own address, or unbind the VIP",
        )


def _answered_by_host_when_bound(context: RiskContext) -> Iterator[Risk]:
    wildcard_listeners = (
        sorted(context.observation.wildcard_listeners) if context.observation else []
    )
    bound = _newly_bound_vips(context) if wildcard_listeners else []
    unserved = {
        v.address: _unserved_listeners(context, v.address, wildcard_listeners) for v in bound
    }
    vips = [v for v in bound if unserved[v.address]]
    if vips:
        ports = list(dict.fromkeys(str(x) for v in vips for x in unserved[v.address]))
        yield risk_for(
            "answered-by-host",
            [v.key for v in vips],
            f"binding {counted_names('VIP', _address_texts(vips))}: daemons of this host"
            " that listen on every address of it answer on the VIP too, at"
            f" {names_text(ports, _MAX_PORTS)}. Let them listen on the host's own"
            " address, or filter these ports",
        )


def _newly_bound_vips(context: RiskContext) -> list[Vip]:
    """Return the VIPs that the plan binds."""
    return [vip for before, vip in context.changed(Vip) if before is None]


def _address_texts(vips: Iterable[Vip]) -> list[str]:
    return [str(vip.address) for vip in vips]


def _unserved_listeners(
    context: RiskContext, address: IPAddress, wildcard_listeners: Iterable[WildcardListener]
) -> list[WildcardListener]:
    """Return the sockets that answer on a VIP; none if a firewall mark may serve it instead."""
    if context.has_firewall_marks and address not in context.served_addresses:
        return []
    return [
        x
        for x in wildcard_listeners
        if x.family is family_of(address) and not _is_served(context, x.protocol, address, x.port)
    ]


def _is_served(context: RiskContext, protocol: Protocol, address: IPAddress, port: int) -> bool:
    """Whether a virtual service receives what is sent to a port; port 0 is every port."""
    endpoints = (Endpoint(protocol, address, p) for p in (port, 0))
    return any(VirtualService(endpoint).key in context.after for endpoint in endpoints)


def _wildcard_listener_of(listener: Endpoint) -> WildcardListener:
    return WildcardListener(listener.protocol, listener.family, listener.port)


RULES: tuple[Callable[[RiskContext], Iterator[Risk]], ...] = (
    _arp_flux,
    _answered_by_host_when_removed,
    _answered_by_host_when_bound,
)

"""Host settings that risk notes check even if no manifest sets them: forwarding and ARP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gitvs.core.model.observation import Link
from gitvs.core.model.resources import AddressFamily

IP_FORWARDING_SYSCTLS: Mapping[AddressFamily, tuple[str, ...]] = {
    AddressFamily.IPV4: ("net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"),
    AddressFamily.IPV6: ("net.ipv6.conf.all.forwarding",),
}
"""The sysctls that let a host forward packets; several names are one setting."""

ARP_IGNORE_SYSCTL = "net.ipv4.conf.all.arp_ignore"


def arp_ignore_sysctl(interface: str) -> str:
    """Return an interface's own sysctl; the greater of its value and that of `all` applies.

    Source: Linux ip-sysctl.rst, arp_ignore; sysctl(8), NOTES.
    """
    return f"net.ipv4.conf.{interface.replace('.', '/')}.arp_ignore"


def answers_arp(link: Link) -> bool:
    """Whether neighbours send an interface ARP requests for IPv4 addresses."""
    return link.kind != "dummy" and link.name != "lo" and any(n.version == 4 for n in link.networks)


def host_sysctls(links: Iterable[Link]) -> frozenset[str]:
    """Return the sysctls that risk notes check on a host with these interfaces."""
    names = {name for names in IP_FORWARDING_SYSCTLS.values() for name in names[:1]}
    return frozenset(
        {*names, ARP_IGNORE_SYSCTL, *(arp_ignore_sysctl(x.name) for x in links if answers_arp(x))}
    )

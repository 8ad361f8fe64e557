"""What this host lacks for a desired state: the gates `unsupported`, and what cannot be repaired.

A commit that needs what the host lacks is blocked. If an object in force lost what it needs, it
cannot be repaired, and blocks nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gitvs.core.model.desired import Desired
from gitvs.core.model.observation import Link, Observation
from gitvs.core.model.resources import (
    DummyInterface,
    Key,
    LocalRoute,
    RealServer,
    Resource,
    SyncDaemon,
    SyncRole,
    Sysctl,
    Vip,
    VirtualService,
    family_of,
)
from gitvs.core.model.state import State
from gitvs.core.planning.gates import Gate
from gitvs.core.planning.ownership import ipv6_switches
from gitvs.core.planning.plan import is_sysctl_of_interface
from gitvs.core.planning.repairs import is_in_force

_MIN_IPV6_MTU = 1280
"""Below this MTU the kernel disables IPv6 on a link. Source: RFC 8200, section 5."""

_LackingResources = Iterator[tuple[Resource, str]]


def lacking_resources(desired: Desired, observation: Observation) -> _LackingResources:
    """Yield what cannot be made because this host's kernel lacks something, and what it lacks.

    An object that is already as desired lacks nothing.
    """
    lacking = (
        *_lacking_schedulers(desired.state, observation),
        *_lacking_sysctls(desired, observation),
        *_lacking_links(desired.state, observation),
        *_lacking_ipv6(desired.state, observation),
        *_outside_vrf(desired.state, observation),
    )
    return ((r, what) for r, what in lacking if observation.state.get(r.key) != r)


def _lacking_schedulers(desired: State, observation: Observation) -> _LackingResources:
    for service in desired.of_type(VirtualService) if observation.missing_schedulers else ():
        if service.scheduler in observation.missing_schedulers:
            name = service.scheduler
            yield (
                service,
                f"scheduler {name} is not in this kernel"
                f" (Linux {observation.kernel_release} has no module ip_vs_{name})",
            )


def _lacking_sysctls(desired: Desired, observation: Observation) -> _LackingResources:
    has_interface = desired.interface in observation.links
    for sysctl in desired.state.of_type(Sysctl):
        if is_sysctl_of_interface(sysctl.name, desired.interface) and not has_interface:
            continue  # it exists only once its interface does
        if sysctl.key not in observation.state:
            yield sysctl, f"sysctl {sysctl.name} does not exist here, or cannot be read"


def _lacking_links(desired: State, observation: Observation) -> _LackingResources:
    for daemon in desired.of_type(SyncDaemon):
        link = observation.links.get(daemon.interface)
        version = daemon.group.version
        if link is None:
            yield daemon, f"interface {daemon.interface} does not exist"
        elif version == 6 and link.mtu < _MIN_IPV6_MTU:
            yield (
                daemon,
                f"interface {daemon.interface} has no IPv6 with an MTU of {link.mtu}; it takes"
                f" {_MIN_IPV6_MTU}",
            )
        elif daemon.role is SyncRole.BACKUP:
            continue  # it only listens
        elif not link.is_up:
            yield daemon, f"interface {daemon.interface} is down"
        elif not _has_source_address(daemon, link, observation):
            where = f"interface {link.name}" if version == 6 else "this host"
            yield daemon, f"{where} has no IPv{version} address to send to {daemon.group} from"


def _has_source_address(daemon: SyncDaemon, link: Link, observation: Observation) -> bool:
    """Whether a primary sends: for IPv4 the kernel takes an address of any interface.

    Source: Linux net/ipv4/devinet.c, inet_select_addr; for IPv6 bind(2) needs one of the link.
    """
    version = daemon.group.version
    links = (link,) if version == 6 else observation.links.values()
    addresses = (address for one in links for address in one.addresses)
    return any(a.version == version and not a.is_loopback for a in addresses)


def _lacking_ipv6(desired: State, observation: Observation) -> _LackingResources:
    """Yield the IPv6 addresses and routes that cannot be made because IPv6 is switched off.

    The settings of the manifests count, since they are written first.
    """
    resources: list[Vip | LocalRoute] = [*desired.of_type(Vip), *desired.of_type(LocalRoute)]
    for resource in resources:
        switches = ipv6_switches(resource)
        setting = switches and _effective_switch(switches, desired, observation)
        if isinstance(setting, Sysctl) and setting.value not in ("", "0"):
            yield (
                resource,
                f"IPv6 is switched off: {setting.name} is {setting.value}; `sysctl -w"
                f" {setting.name}=0` switches it on",
            )


def _effective_switch(
    switches: Sequence[Key], desired: State, observation: Observation
) -> Resource | None:
    """Return the setting that will apply to an interface, which may not exist yet.

    Its own setting follows that of all interfaces only when the latter changes.
    """
    own, default, every = switches
    observed = observation.state
    if own in desired:
        return desired[own]
    if every in desired and observed.get(every) != desired[every]:
        return desired[every]
    if own in observed:
        return observed[own]
    return desired.get(default) or observed.get(default)


def _outside_vrf(desired: State, observation: Observation) -> _LackingResources:
    """Yield the VIPs whose routes the kernel makes in a VRF, not in table `local`.

    The route of an IPv4 address that exists can be restored in table `local` all the same.
    """
    for vip in desired.of_type(Vip):
        link = observation.links.get(vip.interface)
        is_restorable = vip.address.version == 4 and vip.key in observation.state
        if link is not None and link.vrf and not is_restorable:
            yield vip, _vrf_text(link)


def _vrf_text(link: Link) -> str:
    return (
        f"interface {link.name} is in VRF {link.vrf}, so its addresses are local only there; `ip"
        f" link set {link.name} nomaster` takes it out"
    )


def misplaced_interfaces(
    desired: Desired, observation: Observation, renamed: Iterable[Link]
) -> dict[Key, str]:
    """Return the interfaces of gitvs that exist, but are in a VRF or have a wrong name."""
    interfaces = [i for i in desired.state.of_type(DummyInterface) if i.name in observation.links]
    in_vrf = [(i, link) for i in interfaces if (link := observation.links[i.name]).vrf]
    found = {i.key: _vrf_text(link) for i, link in in_vrf}
    if interfaces:
        found |= {
            DummyInterface(link.name).key: f"interface {link.name} carries gitvs's mark and is not"
            f" {interfaces[0].name}: it was renamed; `ip link delete {link.name}` removes it"
            for link in renamed
        }
    return found


def mixed_families_while_syncing(
    desired_state: State, observed_state: State, applied: Desired | None
) -> Iterator[Gate]:
    """Connection sync excludes a real server of another family than its service, in any kernel.

    Source: Linux net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_genl_set_cmd and ip_vs_genl_new_daemon.
    """
    daemons = {
        d.key: d for d in (*observed_state.of_type(SyncDaemon), *desired_state.of_type(SyncDaemon))
    }
    if not daemons:
        return
    mixed = _servers_of_other_families(desired_state)
    both: list[Resource] = [*mixed, *daemons.values()]
    is_changed = any(observed_state.get(r.key) != r and not is_in_force(r, applied) for r in both)
    if mixed and is_changed:
        when = "" if desired_state.of_type(SyncDaemon) else " in a commit before this one"
        yield lacking_gate(
            mixed[0].key,
            "a real server of another address family than its virtual service's, and"
            f" {' and '.join(daemons)}, cannot be combined: remove the sync daemon{when}",
        )
        return
    started = [
        d
        for d in desired_state.of_type(SyncDaemon)
        if observed_state.get(d.key) != d and not is_in_force(d, applied)
    ]
    leaving = _servers_of_other_families(observed_state) if started else ()
    if leaving:  # what a commit removes leaves the kernel after its sync daemons are started
        yield lacking_gate(
            started[0].key,
            f"it cannot be started while real server {leaving[0].key}, of another address family"
            " than its virtual service's, is in the kernel, draining or not: first remove the real"
            " server, with a commit of its own if gitvs manages it, then, once it is gone, add the"
            " sync daemon",
        )


def _servers_of_other_families(state: State) -> list[RealServer]:
    return [s for s in state.of_type(RealServer) if family_of(s.address) is not s.listener.family]


def lacking_gate(key: Key, what: str) -> Gate:
    message = f"{key}: {what}; change the manifest or this host"
    return Gate("unsupported", what, "supported by this host", message, is_allowed=False, key=key)

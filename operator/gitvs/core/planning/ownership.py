"""Which of the observed objects gitvs owns, which are foreign, and which conflict.

The ledger records what is owned; it is never deduced from what is left over (design section 5).
Foreign objects are never touched. A foreign object on a wanted key is a conflict, which blocks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gitvs.core.model.desired import Desired
from gitvs.core.model.grouped import OTHERS
from gitvs.core.model.kinds import is_setting
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.observation import Link, Observation, Scope
from gitvs.core.model.resources import (
    DummyInterface,
    IPAddress,
    Key,
    LocalRoute,
    Resource,
    Sysctl,
    Vip,
    interface_in,
)
from gitvs.core.model.state import State

_Groups = dict[Key, dict[Key, Resource]]

OWNER_ALIAS_PREFIX = "gitvs:"
"""The beginning of an owner alias, which is the alias of a dummy interface that gitvs made.

The store's id follows, and then, in the alias of an interface, a number: the newest one that the
store recorded when it was last written.
"""


def numbered_alias(owner_alias: str, number: int) -> str:
    """Return the alias of an interface of this store, at this number of the store."""
    return f"{owner_alias}:{number}"


def number_in_alias(alias: str, owner_alias: str) -> int | None:
    """Return the number in the alias of an interface of this store; None for any other alias.

    It is 0 in an alias without a number, as older versions of gitvs set it.
    """
    if alias == owner_alias:
        return 0
    prefix, _, number = alias.rpartition(":")
    is_ours = prefix == owner_alias and number.isascii() and number.isdecimal()
    return int(number) if is_ours else None


@dataclass(frozen=True, slots=True)
class Conflict:
    """A wanted key that something else holds. `is_adoptable`: `--adopt` resolves it."""

    key: Key
    message: str
    is_adoptable: bool = True
    is_about_host: bool = False
    """Whether it is about the host's other addresses and gateways, not about a foreign object."""
    is_about_store: bool = False
    """Whether another gitvs store is the owner here: then not even a repair may be made."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """The observed objects by owner. `owned` includes what was adopted in this pass."""

    owned: State
    foreign: State
    conflicts: tuple[Conflict, ...] = ()


def scope_of(
    ledger: Ledger,
    desired: Desired,
    changed_state: State | None = None,
    applied: Desired | None = None,
) -> Scope:
    """Return what must be read to see every object of the ledger and of these states.

    Gateways are read if desired state has a VIP or a local route that was not `applied`: only its
    conflicts with them block a plan.
    """
    states = (desired.state, State(ledger.saved_settings.values()), changed_state or State())
    interfaces = {desired.interface}
    for state in states:
        interfaces |= {vip.interface for vip in state.of_type(Vip)}
        interfaces |= {interface.name for interface in state.of_type(DummyInterface)}
    interfaces |= _interfaces_in(ledger, desired)
    sysctls = {sysctl.name for state in states for sysctl in state.of_type(Sysctl)}
    vips = {vip.interface: vip for vip in desired.state.of_type(Vip) if vip.address.version == 6}
    sysctls |= {name for vip in vips.values() for name in ipv6_switches(vip)}
    sysctls |= {name for r in desired.state.of_type(LocalRoute) for name in ipv6_switches(r)}
    local_keys = {vip.key for vip in desired.state.of_type(Vip)}
    local_keys |= {route.key for route in desired.state.of_type(LocalRoute)}
    return Scope(
        frozenset(interfaces),
        frozenset(sysctls),
        includes_gateways=any(applied is None or key not in applied.state for key in local_keys),
        expected=desired.state,
    )


def _interfaces_in(ledger: Ledger, desired: Desired) -> set[str]:
    """Return the names of the interfaces that are owned, or have owned addresses."""
    keys = ledger.owned.difference(desired.state.groups)  # nearly all are virtual services
    return {name for key in keys if (name := interface_in(key)) is not None}


def ipv6_switches(resource: Resource) -> tuple[Key, ...]:
    """Return the sysctls that can switch IPv6 off for a VIP or a local route.

    They are the interface's own, that of new interfaces, and that of all.
    Source: Linux ip-sysctl.rst, disable_ipv6.
    """
    match resource:
        case Vip(address, interface) if address.version == 6:
            names = (interface.replace(".", "/"), "default", "all")
        case LocalRoute(prefix) if prefix.version == 6:
            names = ("lo", "default", "all")
        case _:
            return ()
    return tuple(Key(f"net.ipv6.conf.{name}.disable_ipv6") for name in names)


def classify(
    observation: Observation,
    ledger: Ledger,
    desired: Desired,
    owner_alias: str,
    adopt: bool = False,
    applied_keys: Collection[Key] = (),
) -> Ownership:
    """Separate owned from foreign objects, and find the conflicts with desired state.

    `owner_alias` is the alias of this store's interfaces. With `adopt`, foreign objects on wanted
    keys count as owned, and only conflicts that adopting cannot solve remain. `applied_keys` are
    the keys that were applied: their conflicts with the host's own addresses and gateways were
    checked then, and do not block a repair.
    """
    desired_state = desired.state
    other_stores_links = interfaces_of_other_stores(observation, ledger, owner_alias)
    conflicts = [
        *_host_conflicts(observation, ledger, desired, other_stores_links),
        *_renaming_conflicts(observation, ledger, desired, owner_alias),
    ]
    is_only_store = not other_stores_links
    owned: dict[Key, Resource] = {}
    foreign: dict[Key, Resource] = {}
    for key, resource in observation.state.groups.get(OTHERS, {}).items():
        if _is_owned(resource, ledger, desired_state, is_only_store) or (
            adopt and key in desired_state
        ):
            owned[key] = resource
        elif not is_setting(resource):
            foreign[key] = resource
    owned_keys = ledger.owned | desired_state.groups.keys() if adopt else ledger.owned
    owned_services, foreign_services = _services_by_owner(observation.state, owned_keys)
    foreign_state = State.of_groups(({OTHERS: foreign} if foreign else {}) | foreign_services)
    conflicts += [_foreign_object_conflict(key) for key in foreign_state if key in desired_state]
    remaining = (
        c
        for c in conflicts
        if not (adopt and c.is_adoptable) and not (c.is_about_host and c.key in applied_keys)
    )
    owned_state = State.of_groups(({OTHERS: owned} if owned else {}) | owned_services)
    return Ownership(owned_state, foreign_state, tuple(remaining))


def _services_by_owner(observed: State, owned_keys: Collection[Key]) -> tuple[_Groups, _Groups]:
    """Return the groups of the virtual services that gitvs owns, and those of the others."""
    groups = {key: group for key, group in observed.groups.items() if key != OTHERS}
    owned = {key: group for key, group in groups.items() if key in owned_keys}
    if len(owned) == len(groups):
        return owned, {}
    return owned, {key: group for key, group in groups.items() if key not in owned}


def interfaces_of_other_stores(
    observation: Observation, ledger: Ledger, owner_alias: str
) -> list[Link]:
    """Return the dummy interfaces with another store's owner alias that were not adopted."""
    return [
        link
        for link in observation.links.values()
        if link.kind == "dummy"
        and link.alias.startswith(OWNER_ALIAS_PREFIX)
        and number_in_alias(link.alias, owner_alias) is None
        and DummyInterface(link.name).key not in ledger.owned
    ]


def interfaces_with_owner_alias(
    observation: Observation, owner_alias: str, adopt: bool
) -> frozenset[Key]:
    """Return the dummy interfaces with this owner alias; with `adopt`, with any store's."""
    return frozenset(
        DummyInterface(link.name).key
        for link in observation.links.values()
        if link.kind == "dummy"
        and (
            number_in_alias(link.alias, owner_alias) is not None
            or (adopt and link.alias.startswith(OWNER_ALIAS_PREFIX))
        )
    )


def _is_owned(
    resource: Resource, ledger: Ledger, desired_state: State, is_only_store: bool
) -> bool:
    """Whether gitvs owns a resource that belongs to no virtual service.

    `is_only_store`: no interface of another store exists here, so a route with gitvs's protocol
    is owned even if it is not in the ledger.
    """
    key = resource.key
    if is_setting(resource):
        return key in desired_state or key in ledger.saved_settings
    if isinstance(resource, DummyInterface) and key in desired_state:
        return True
    return key in ledger.owned or (is_only_store and isinstance(resource, LocalRoute))


def _foreign_object_conflict(key: Key) -> Conflict:
    return Conflict(
        key,
        f"{key} exists already and is not gitvs's: remove it, or take it over once with --adopt",
    )


def _host_conflicts(
    observation: Observation, ledger: Ledger, desired: Desired, other_stores_links: Collection[Link]
) -> Iterator[Conflict]:
    for interface in desired.state.of_type(DummyInterface):
        yield from _interface_conflicts(interface, observation, other_stores_links)
    vips = [vip for vip in desired.state.of_type(Vip) if vip.key not in observation.state]
    routes = [r for r in desired.state.of_type(LocalRoute) if r.key not in observation.state]
    foreign = _foreign_addresses(observation, ledger) if vips or routes else {}
    for vip in vips:
        yield from _vip_conflicts(vip, observation, foreign)
    for route in routes:
        yield from _route_conflicts(route, observation, foreign)


def _interface_conflicts(
    interface: DummyInterface, observation: Observation, other_stores_links: Collection[Link]
) -> Iterator[Conflict]:
    link = observation.links.get(interface.name)
    if link is None:
        return
    if link.kind != "dummy":
        yield Conflict(
            interface.key,
            f"interface {link.name} exists and is {link.kind or 'no virtual interface'}, not dummy:"
            " name another in the Director's spec.interface",
            is_adoptable=False,
        )
    elif link in other_stores_links:
        yield Conflict(
            interface.key,
            f"interface {link.name} carries the mark {link.alias} of another gitvs store: if that"
            " store was lost, take the wanted objects over once with --adopt",
            is_about_store=True,
        )


def renamed_interfaces(
    observation: Observation, ledger: Ledger, desired: Desired, owner_alias: str
) -> list[Link]:
    """Return the interfaces with this owner alias that are neither wanted nor in the ledger.

    gitvs made them, and another program renamed them.
    """
    known_names = {i.name for i in desired.state.of_type(DummyInterface)}
    known_names |= _interfaces_in(ledger, desired)
    aliased_keys = interfaces_with_owner_alias(observation, owner_alias, adopt=False)
    return [
        link
        for link in observation.links.values()
        if DummyInterface(link.name).key in aliased_keys and link.name not in known_names
    ]


def _renaming_conflicts(
    observation: Observation, ledger: Ledger, desired: Desired, owner_alias: str
) -> Iterator[Conflict]:
    renamed = renamed_interfaces(observation, ledger, desired, owner_alias)
    for interface in desired.state.of_type(DummyInterface):
        if renamed and interface.name not in observation.links:
            name = renamed[0].name
            yield Conflict(
                interface.key,
                f"interface {interface.name} does not exist, and {name} carries gitvs's mark: it"
                f" was renamed. Give it its name back with `ip link set {name} name"
                f" {interface.name}`, and look for who renamed it (udev, systemd.link)",
                is_adoptable=False,
            )


def _foreign_addresses(
    observation: Observation, ledger: Ledger
) -> Mapping[IPAddress, Sequence[Link]]:
    """Every address of the host that is not an owned VIP, with the links that have it."""
    found: dict[IPAddress, list[Link]] = {}
    for link in observation.links.values():
        for address in link.addresses:
            if Vip(address, link.name, address.max_prefixlen).key not in ledger.owned:
                found.setdefault(address, []).append(link)
    return found


def _vip_conflicts(
    vip: Vip, observation: Observation, foreign: Mapping[IPAddress, Sequence[Link]]
) -> Iterator[Conflict]:
    for link in foreign.get(vip.address, ()):
        if link.name == vip.interface:
            yield Conflict(
                vip.key,
                f"{vip.address} is on {link.name} already with another prefix length:"
                " remove it, or write `bind: false`",
                is_adoptable=False,
            )
        else:
            yield Conflict(
                vip.key,
                f"{vip.address} is an address of {link.name}: write `bind: false` if the"
                " VIP stays there, or use --adopt once to bind it on the dummy"
                " interface too",
                is_about_host=True,
            )
    if vip.address in observation.gateways:
        yield _gateway_conflict(vip.key, str(vip.address))


def _route_conflicts(
    route: LocalRoute, observation: Observation, foreign: Mapping[IPAddress, Sequence[Link]]
) -> Iterator[Conflict]:
    if route.prefix in observation.foreign_routes:
        yield Conflict(
            route.key,
            f"a local route for {route.prefix} exists already and is not gitvs's: remove it",
            is_adoptable=False,
        )
    for address, links in foreign.items():
        if address in route.prefix:
            yield Conflict(
                route.key,
                f"{route.prefix} holds {address}, an address of"
                f" {' and '.join(link.name for link in links)}: choose a prefix without"
                " this address, or accept it once with --adopt",
                is_about_host=True,
            )
    for gateway in observation.gateways:
        if gateway in route.prefix:
            yield _gateway_conflict(route.key, f"{route.prefix} holds {gateway}, which")


def _gateway_conflict(key: Key, what: str) -> Conflict:
    message = f"{what} is a gateway of this host: making it local would cut the host off"
    return Conflict(key, message, is_adoptable=False, is_about_host=True)

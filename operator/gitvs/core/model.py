"""What a director has or should have: the resources, and the one `State` type that holds them.

Every value is in canonical form, so that equality is comparison: addresses are
`ipaddress` objects, flags are sets, durations are whole seconds, white space is normal.
Counters and kernel handles are never fields of a resource. Kernel numbers are the
business of the IPVS codec; manifest syntax is the business of `manifests`.
"""

from __future__ import annotations

from collections.abc import (
    Callable,
    Collection,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    ValuesView,
)
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Any, NewType, TypeVar, overload

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

R = TypeVar("R")
D = TypeVar("D")
V = TypeVar("V")

Key = NewType("Key", str)
"""What identifies a resource in the kernel, readable and stable: `tcp 203.0.113.10:443`."""


class Kind(StrEnum):
    """The kinds of resource, as the plan JSON names them."""

    SYSCTL = "sysctl"
    TIMEOUTS = "timeouts"
    SYNC_DAEMON = "sync-daemon"
    DUMMY_INTERFACE = "dummy-interface"
    VIP = "vip"
    LOCAL_ROUTE = "local-route"
    VIRTUAL_SERVICE = "virtual-service"
    REAL_SERVER = "real-server"


ForeignName = NewType("ForeignName", str)
"""A name that the kernel gave and gitvs has no word for: only ever observed, and put back."""


class AddressFamily(StrEnum):
    IPV4 = "ipv4"
    IPV6 = "ipv6"


class Protocol(StrEnum):
    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"


class Scheduler(StrEnum):
    """Source: ipvsadm(8) -s."""

    RR = "rr"
    WRR = "wrr"
    LC = "lc"
    WLC = "wlc"
    LBLC = "lblc"
    LBLCR = "lblcr"
    DH = "dh"
    SH = "sh"
    SED = "sed"
    NQ = "nq"
    FO = "fo"
    OVF = "ovf"
    MH = "mh"
    TWOS = "twos"


class SchedulerFlag(StrEnum):
    """Source: ipvsadm(8) -b."""

    MH_PORT = "mh-port"
    MH_FALLBACK = "mh-fallback"
    SH_PORT = "sh-port"
    SH_FALLBACK = "sh-fallback"


class PersistenceEngine(StrEnum):
    SIP = "sip"


class Forwarding(StrEnum):
    NAT = "nat"
    DR = "dr"
    TUN = "tun"


class TunnelType(StrEnum):
    IPIP = "ipip"
    GUE = "gue"
    GRE = "gre"


class TunnelChecksum(StrEnum):
    NONE = "none"
    FULL = "full"
    REMOTE = "remote"


class SyncRole(StrEnum):
    PRIMARY = "primary"
    BACKUP = "backup"


class TimeoutName(StrEnum):
    """The IPVS connection timeouts, as manifests name them. Source: ipvsadm(8) --set."""

    TCP = "tcp"
    TCP_FIN = "tcpFin"
    UDP = "udp"


def family_of(address: IPAddress | IPNetwork) -> AddressFamily:
    """Return the address family of an address or prefix."""
    return AddressFamily.IPV4 if address.version == 4 else AddressFamily.IPV6


_FIRST_WITHOUT_IPV4 = 1 << 48


def address_text(address: IPAddress) -> str:
    """Return an address as `str` does: that takes long, and the C library writes the same.

    But for IPv6 addresses that hold an IPv4 one, or name a zone. Source: inet_ntop(3).
    """
    if isinstance(address, IPv4Address):
        return inet_ntop(AF_INET, address.packed)
    if int(address) < _FIRST_WITHOUT_IPV4 or address.scope_id is not None:
        return str(address)
    return inet_ntop(AF_INET6, address.packed)


def host_and_port(address: IPAddress, port: int) -> str:
    """Return `203.0.113.10:443` or `[2001:db8::10]:443`."""
    text = address_text(address)
    return f"{text}:{port}" if address.version == 4 else f"[{text}]:{port}"


def _keep_key(resource: object, key: str) -> None:
    """Make a key once, since keys are asked for again and again."""
    object.__setattr__(resource, "key", key)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address, protocol and port that a virtual service listens on."""

    protocol: Protocol
    address: IPAddress
    port: int
    key: Key = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _keep_key(self, f"{self.protocol} {host_and_port(self.address, self.port)}")

    @property
    def family(self) -> AddressFamily:
        return family_of(self.address)

    def __str__(self) -> str:
        return self.key


@dataclass(frozen=True, slots=True)
class FirewallMark:
    """The firewall mark that a virtual service listens on; one for each address family."""

    mark: int
    family: AddressFamily
    key: Key = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _keep_key(self, f"fwmark {self.mark} {self.family}")

    def __str__(self) -> str:
        return self.key


Listener = Endpoint | FirewallMark


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A kernel setting. `value` has its runs of white space folded to one space."""

    name: str
    value: str

    @property
    def key(self) -> Key:
        return Key(self.name)


@dataclass(frozen=True, slots=True)
class Timeout:
    """One IPVS connection timeout, in whole seconds."""

    name: TimeoutName
    seconds: int

    @property
    def key(self) -> Key:
        return Key(f"timeouts {self.name}")


@dataclass(frozen=True, slots=True)
class SyncDaemon:
    """The kernel's connection sync in one role; the kernel runs at most one of each."""

    role: SyncRole
    interface: str
    id: int

    @property
    def key(self) -> Key:
        return Key(f"sync-daemon {self.role}")


@dataclass(frozen=True, slots=True)
class DummyInterface:
    """The dummy link that holds the VIPs. UP and DOWN are both right, so neither is a field."""

    name: str

    @property
    def key(self) -> Key:
        return Key(f"dummy {self.name}")


@dataclass(frozen=True, slots=True)
class Vip:
    """An address on the dummy interface.

    `prefix_length` is 32 or 128 for every VIP that gitvs binds; a stranger's address may
    have another. `has_route` is whether the kernel's own route for it is in table `local`
    as the kernel makes it; without that the VIP receives nothing.
    """

    address: IPAddress
    interface: str
    prefix_length: int
    has_route: bool = True
    key: Key = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _keep_key(self, f"{self.address}/{self.prefix_length} dev {self.interface}")


@dataclass(frozen=True, slots=True)
class LocalRoute:
    """A whole prefix made local (AnyIP): `local PREFIX dev lo table local proto 71`."""

    prefix: IPNetwork

    @property
    def key(self) -> Key:
        return Key(f"local {self.prefix}")


@dataclass(frozen=True, slots=True)
class Persistence:
    """Clients stay on one real server; those within one `prefix_length` count as one client."""

    timeout_seconds: int
    prefix_length: int
    engine: PersistenceEngine | ForeignName | None = None


@dataclass(frozen=True, slots=True)
class VirtualService:
    """A virtual service, as IPVS knows it."""

    listener: Listener
    scheduler: Scheduler | ForeignName = Scheduler.WLC
    flags: frozenset[SchedulerFlag] = frozenset()
    one_packet: bool = False
    persistence: Persistence | None = None

    @property
    def key(self) -> Key:
        return self.listener.key


@dataclass(frozen=True, slots=True)
class Tunnel:
    """How packets are wrapped for a real server; `port` is 0 but for GUE."""

    type: TunnelType = TunnelType.IPIP
    port: int = 0
    checksum: TunnelChecksum = TunnelChecksum.NONE


@dataclass(frozen=True, slots=True)
class RealServer:
    """A real server of one virtual service. `tunnel` is None unless `forwarding` is `tun`.

    Thresholds are numbers of connections; 0 means none.
    """

    listener: Listener
    address: IPAddress
    port: int
    weight: int = 1
    forwarding: Forwarding = Forwarding.NAT
    tunnel: Tunnel | None = None
    upper_threshold: int = 0
    lower_threshold: int = 0
    key: Key = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _keep_key(self, f"{self.listener.key} -> {host_and_port(self.address, self.port)}")

    @property
    def service_key(self) -> Key:
        return self.listener.key


Resource = (
    Sysctl | Timeout | SyncDaemon | DummyInterface | Vip | LocalRoute | VirtualService | RealServer
)

_KINDS: Mapping[type, Kind] = {
    Sysctl: Kind.SYSCTL,
    Timeout: Kind.TIMEOUTS,
    SyncDaemon: Kind.SYNC_DAEMON,
    DummyInterface: Kind.DUMMY_INTERFACE,
    Vip: Kind.VIP,
    LocalRoute: Kind.LOCAL_ROUTE,
    VirtualService: Kind.VIRTUAL_SERVICE,
    RealServer: Kind.REAL_SERVER,
}


_RULES = (VirtualService, RealServer)


def kind_of(resource: Resource) -> Kind:
    """Return the kind of a resource."""
    return _KINDS[type(resource)]


class State(Mapping[Key, Resource]):
    """Resources by key: what a director has (observed) or should have (desired, target)."""

    __slots__ = ("_by_class", "_resources")

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        self._resources: dict[Key, Resource] = {r.key: r for r in resources}
        self._by_class: dict[type, list[Any]] | None = None

    def __getitem__(self, key: Key) -> Resource:
        return self._resources[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._resources)

    def __len__(self) -> int:
        return len(self._resources)

    @property
    def by_key(self) -> Mapping[Key, Resource]:
        """The resources as a plain dict, for those who ask for thousands."""
        return self._resources

    # What Mapping makes of the three above, without a call for each key.

    def __contains__(self, key: object) -> bool:
        return key in self._resources

    def keys(self) -> KeysView[Key]:
        return self._resources.keys()

    def values(self) -> ValuesView[Resource]:
        return self._resources.values()

    def items(self) -> ItemsView[Key, Resource]:
        return self._resources.items()

    @overload
    def get(self, key: Key, /) -> Resource | None: ...
    @overload
    def get(self, key: Key, /, default: D) -> Resource | D: ...
    def get(self, key: Key, /, default: object = None) -> object:
        return self._resources.get(key, default)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and self._resources == other._resources

    __hash__ = None  # type: ignore[assignment]  # a State is compared, never a key

    def __repr__(self) -> str:
        return f"State({sorted(self._resources)})"

    def of(self, kind: type[R]) -> list[R]:
        """Return the resources of one class, in insertion order."""
        by_class = self._by_class
        if by_class is None:
            by_class = {}
            for resource in self._resources.values():
                by_class.setdefault(type(resource), []).append(resource)
            self._by_class = by_class  # complete: other threads ask meanwhile
        return by_class.get(kind, []).copy()

    def with_changes(self, put: Iterable[Resource] = (), drop: Iterable[Key] = ()) -> State:
        """Return a state in which `drop` is gone and `put` is there; this one if both are empty."""
        gone, new = list(drop), {r.key: r for r in put}
        if not gone and not new:
            return self
        changed = State()
        changed._resources = self._resources.copy()
        for key in gone:
            changed._resources.pop(key, None)
        changed._resources.update(new)
        return changed


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file of manifests: its path relative to the chosen folder, with `/`, and its bytes."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a repository: `id` says what it holds, which is read when it is asked for."""

    path: str
    id: str
    read: Callable[[], bytes] = field(compare=False)

    @property
    def data(self) -> bytes:
        return self.read()


File = ManifestFile | StoredFile


@dataclass(frozen=True, slots=True)
class Source:
    """Where something was written: file relative to the chosen path, line from 1."""

    service: str | None
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Policy:
    """The limits of the gates (design section 5); percentages are 0 to 100."""

    max_removed_percent: float = 30
    max_capacity_drop_percent: float = 50
    ignore_below_objects: int = 10
    protected_vips: frozenset[IPAddress] = frozenset()
    source: Source | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Desired:
    """What the manifests of one commit say that one director should have.

    `drain_seconds` is per virtual service. `sources` is for people: it never takes part in
    a comparison, a digest or a decision.
    """

    director: str
    interface: str
    state: State
    drain_seconds: Mapping[Key, float] = field(default_factory=dict)
    policy: Policy = Policy()
    sources: Mapping[Key, Source] = field(default_factory=dict, compare=False)
    server_names: Mapping[Key, str] = field(default_factory=dict, compare=False)
    """What people call the real servers that they gave a name."""
    is_standby: bool = False
    """Whether this director is to be without VIPs and local routes, at once."""


@dataclass(frozen=True, slots=True)
class Connections:
    """What IPVS counts for one real server."""

    active: int = 0
    inactive: int = 0
    persistent: int = 0

    @property
    def is_idle(self) -> bool:
        """Whether no connection is left; a persistent client alone is none."""
        return self.active == 0 and self.inactive == 0


@dataclass(frozen=True, slots=True)
class Counters:
    """What IPVS has counted for one virtual service or real server since it was made."""

    connections: int = 0
    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface. `kind` is rtnetlink's (`dummy`, `veth`), empty for hardware."""

    name: str
    kind: str
    alias: str
    is_up: bool
    addresses: tuple[IPAddress, ...] = ()
    networks: tuple[IPNetwork, ...] = ()
    """The prefixes that its neighbours are in; none for an address alone (/32, /128)."""


@dataclass(frozen=True, slots=True, order=True)
class WildcardListener:
    """A socket that takes what comes to a port of any address of its host, in one family."""

    protocol: Protocol
    family: AddressFamily
    port: int

    def __str__(self) -> str:
        return f"{self.protocol} port {self.port}"


@dataclass(frozen=True, slots=True)
class Scope:
    """What an observation has to read beyond what IPVS and routing say by themselves."""

    interfaces: frozenset[str] = frozenset()
    sysctls: frozenset[str] = frozenset()
    surroundings: bool = False
    """Whether to read what only risk notes need: wildcard listeners, and settings of links."""
    listeners: frozenset[Listener] | None = None
    """Of IPVS's rules, the virtual services to read, with their real servers; None: all."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one full reading of a kernel found.

    `state` holds everything of the kinds that gitvs manages, whoever made it: all virtual
    services and real servers, addresses on the scope's interfaces, routes of protocol 71,
    sync daemons, timeouts, the scope's sysctls that exist here, the scope's interfaces that
    are dummies. The rest is what rules need to know about the host.
    """

    state: State
    connections: Mapping[Key, Connections] = field(default_factory=dict)
    links: Mapping[str, Link] = field(default_factory=dict)
    gateways: frozenset[IPAddress] = frozenset()
    foreign_routes: frozenset[IPNetwork] = frozenset()
    """Prefixes in table `local` that neither the kernel nor gitvs put there."""
    missing_schedulers: frozenset[Scheduler] = frozenset()
    """Schedulers that this kernel surely lacks."""
    unnamed: frozenset[str] = frozenset()
    """IPVS objects that gitvs has no words for, as people read them: foreign, not in `state`."""
    release: str = ""
    counters: Mapping[Key, Counters] = field(default_factory=dict)
    """What was counted for each virtual service and real server, where the kernel tells."""
    listening: frozenset[WildcardListener] = frozenset()
    """The daemons that answer on every address; none: not read."""

    def with_reading(self, part: Observation, listeners: Collection[Listener]) -> Observation:
        """Return a reading of everything with a newer one of these virtual services put in."""
        former = self.rules_of(listeners)
        others = [key for key, r in self.state.items() if not isinstance(r, _RULES)]
        gone = former.keys() - part.state.keys()

        def renewed(old: Mapping[Key, V], new: Mapping[Key, V]) -> dict[Key, V]:
            both = {**old, **new}
            for key in gone:
                both.pop(key, None)
            return both

        return replace(
            part,
            state=self.state.with_changes(part.state.values(), [*former, *others]),
            connections=renewed(self.connections, part.connections),
            counters=renewed(self.counters, part.counters),
            unnamed=self.unnamed | part.unnamed,
        )

    def rules_of(self, listeners: Collection[Listener]) -> State:
        """Return what was read of these virtual services, with their real servers."""
        keys = {listener.key for listener in listeners}
        services = [s for s in self.state.of(VirtualService) if s.listener.key in keys]
        return State([*services, *(s for s in self.state.of(RealServer) if s.listener.key in keys)])


@dataclass(frozen=True, slots=True)
class Drain:
    """A real server on its way out. `deadline_seconds` is CLOCK_BOOTTIME of this incarnation."""

    key: Key
    timeout_seconds: float
    deadline_seconds: float


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One life of one network namespace: what was true in another is void here."""

    boot_id: str
    namespace_cookie: int

    def __str__(self) -> str:
        return f"{self.boot_id}/{self.namespace_cookie}"


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the store records of one incarnation: what gitvs owns, drains, and would put back."""

    owned: frozenset[Key] = frozenset()
    drains: Mapping[Key, Drain] = field(default_factory=dict)
    saved: Mapping[Key, Resource] = field(default_factory=dict)
    """Sysctls and timeouts as they were before gitvs set them."""

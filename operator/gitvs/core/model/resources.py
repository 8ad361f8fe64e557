"""The resources that a director has or should have; `state` holds them by key.

Every value is in canonical form, so that `==` compares resources: addresses are `ipaddress`
objects, flags are sets, durations are whole seconds, white space is normalised. Counters and
kernel handles are never fields of a resource. Kernel numbers are left to the IPVS codec,
manifest syntax to `manifests`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from socket import AF_INET, AF_INET6, inet_ntop
from typing import NewType, TypeVar

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
"""A name from the kernel that gitvs does not know; it is only observed and restored."""


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


_EMBEDDED_IPV4_END = 1 << 48


def address_text(address: IPAddress) -> str:
    """Return the same text as `str`, but faster, with the C library.

    The C library differs for IPv6 addresses that contain an IPv4 address or name a zone; `str` is
    used for those. Source: inet_ntop(3).
    """
    if isinstance(address, IPv4Address):
        return inet_ntop(AF_INET, address.packed)
    if int(address) < _EMBEDDED_IPV4_END or address.scope_id is not None:
        return str(address)
    return inet_ntop(AF_INET6, address.packed)


def host_and_port(address: IPAddress, port: int) -> str:
    """Return `203.0.113.10:443` or `[2001:db8::10]:443`."""
    text = address_text(address)
    return f"{text}:{port}" if isinstance(address, IPv4Address) else f"[{text}]:{port}"


SERVER_ARROW = " -> "
"""Stands in the key of a real server between its virtual service's key and its own address."""


def service_key_in(key: str) -> Key:
    """Return the key of the virtual service in a real server's key; any other key as it is."""
    return Key(key.partition(SERVER_ARROW)[0])


def interface_in(key: Key) -> str | None:
    """Return the name of the dummy interface that a key is about, or None."""
    is_about_one = _VIP_DEVICE in key or key.startswith(_DUMMY)
    return key.split()[-1] if is_about_one else None


_VIP_DEVICE = " dev "
_DUMMY = "dummy "


def _set_key(resource: object, key: str) -> None:
    """Set the key of a resource once, because keys are read very often."""
    object.__setattr__(resource, "key", key)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address, protocol and port that a virtual service listens on."""

    protocol: Protocol
    address: IPAddress
    port: int
    key: Key = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _set_key(self, f"{self.protocol} {host_and_port(self.address, self.port)}")

    @property
    def family(self) -> AddressFamily:
        return family_of(self.address)

    def __str__(self) -> str:
        return self.key


@dataclass(frozen=True, slots=True)
class FirewallMark:
    """The firewall mark and address family that a virtual service listens on."""

    mark: int
    family: AddressFamily
    key: Key = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _set_key(self, f"fwmark {self.mark} {self.family}")

    def __str__(self) -> str:
        return self.key


Listener = Endpoint | FirewallMark


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A kernel setting; each run of white space in `value` is one space."""

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


_SYNC_GROUP = IPv4Address("224.0.0.81")
"""The kernel's own default. Source: net/netfilter/ipvs/ip_vs_sync.c, IP_VS_SYNC_GROUP."""


@dataclass(frozen=True, slots=True)
class SyncDaemon:
    """The kernel's connection sync in one role; the kernel runs at most one of each."""

    role: SyncRole
    interface: str
    id: int
    group: IPAddress = _SYNC_GROUP
    """The multicast group of the messages."""
    port: int = 8848
    ttl: int = 1
    max_length: int | None = None
    """How many bytes of messages fit into one packet; None is the kernel's choice."""

    @property
    def key(self) -> Key:
        return Key(f"sync-daemon {self.role}")

    def default_max_length(self, mtu: int) -> int:
        """Return the length that the kernel chooses on a link with this MTU.

        A primary's is for Ethernet, whatever its link carries.
        Source: Linux net/netfilter/ipvs/ip_vs_sync.c, start_sync_thread.
        """
        header_bytes = 28 if self.group.version == 4 else 48  # of IP and UDP
        packet_bytes = 1500 if self.role is SyncRole.PRIMARY else min(max(mtu, 1500), 65535)
        return packet_bytes - header_bytes


@dataclass(frozen=True, slots=True)
class DummyInterface:
    """The dummy link that holds the VIPs; both UP and DOWN are correct, so neither is a field."""

    name: str

    @property
    def key(self) -> Key:
        return Key(f"{_DUMMY}{self.name}")


@dataclass(frozen=True, slots=True)
class Vip:
    """An address on the dummy interface.

    `prefix_length` is 32 or 128 for every VIP that gitvs binds; a foreign address may have
    another. `has_route` is whether table `local` has the address's route as the kernel makes it;
    without that route the VIP receives nothing.
    """

    address: IPAddress
    interface: str
    prefix_length: int
    has_route: bool = True
    key: Key = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _set_key(self, f"{self.address}/{self.prefix_length}{_VIP_DEVICE}{self.interface}")

    def makes_local(self, address: IPAddress) -> bool:
        """Whether packets to an address come in by this VIP."""
        return address == self.address


@dataclass(frozen=True, slots=True)
class LocalRoute:
    """A whole prefix made local (AnyIP): `local PREFIX dev lo table local proto 71`."""

    prefix: IPNetwork

    @property
    def key(self) -> Key:
        return Key(f"local {self.prefix}")

    def makes_local(self, address: IPAddress) -> bool:
        """Whether packets to an address come in by this route."""
        return address in self.prefix


@dataclass(frozen=True, slots=True)
class Persistence:
    """Keeps a client on one real server; a prefix of `prefix_length` counts as one client."""

    timeout_seconds: int
    prefix_length: int
    engine: PersistenceEngine | ForeignName | None = None


@dataclass(frozen=True, slots=True)
class VirtualService:
    """A virtual service, as IPVS knows it."""

    listener: Listener
    scheduler: Scheduler | ForeignName = Scheduler.WLC
    flags: frozenset[SchedulerFlag] = frozenset()
    is_one_packet: bool = False
    persistence: Persistence | None = None

    @property
    def key(self) -> Key:
        return self.listener.key


@dataclass(frozen=True, slots=True)
class Tunnel:
    """How packets to a real server are encapsulated; `port` is 0 except for GUE."""

    type: TunnelType = TunnelType.IPIP
    port: int = 0
    checksum: TunnelChecksum = TunnelChecksum.NONE


@dataclass(frozen=True, slots=True)
class RealServer:
    """A real server of one virtual service.

    `tunnel` is None unless `forwarding` is `tun`. Thresholds are numbers of connections; 0 means
    none.
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
        _set_key(self, f"{self.listener.key}{SERVER_ARROW}{host_and_port(self.address, self.port)}")

    @property
    def service_key(self) -> Key:
        return self.listener.key


Resource = (
    Sysctl | Timeout | SyncDaemon | DummyInterface | Vip | LocalRoute | VirtualService | RealServer
)

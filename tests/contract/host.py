"""A host that a contract is tried on: one kernel, or two side by side that must agree.

With two, every write and every reading goes to both, and what they answer is compared at
once: outcomes with errno and words, and whole observations. The first one is the truth.
"""

from __future__ import annotations

import ctypes
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol as Interface

from gitvs.adapters.linux.kernel import LinuxKernel
from gitvs.core.model.observation import Link, Observation, Scope, WildcardListener
from gitvs.core.model.resources import (
    AddressFamily,
    IPAddress,
    IPNetwork,
    LocalRoute,
    Protocol,
    RealServer,
    Resource,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.core.planning.plan import Change
from gitvs.ports import Kernel, WriteResult, WriteStatus
from tests.support.memory.kernel import MemoryKernel

MARK = "gitvs:contract"
_CLONE_NEWNET = 0x40000000  # Source: Linux include/uapi/linux/sched.h
SCOPE = Scope(frozenset({"gitvs0", "gitvs1"}))


class Tools(Interface):
    """What else is done to a host: by its owner, or by other programs."""

    def add_link(
        self, name: str, kind: str, *, alias: str, is_up: bool, addresses: Sequence[str]
    ) -> None: ...

    def set_mtu(self, name: str, mtu: int) -> None: ...

    def delete_link(self, name: str) -> None: ...

    def set_link_up(self, name: str) -> None: ...

    def set_link_down(self, name: str) -> None: ...

    def add_gateway(self, address: IPAddress) -> None: ...

    def add_foreign_route(self, prefix: IPNetwork) -> None: ...

    def delete_vip_route(self, vip: Vip) -> None: ...

    def listen(self, *listeners: WildcardListener) -> None: ...


class LinuxTools:
    """What other programs do, by iproute2 and sockets."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def add_link(
        self, name: str, kind: str, *, alias: str, is_up: bool, addresses: Sequence[str]
    ) -> None:
        commands = [f"link add {name} type {kind}"]
        commands += [f"link set {name} alias {alias}"] if alias else []
        for address in addresses:
            option = "nodad" if ":" in address else ""
            commands.append(f"address add {address} dev {name} {option}")
        commands += [f"link set {name} up"] if is_up else []
        _ip(*commands)

    def set_mtu(self, name: str, mtu: int) -> None:
        _ip(f"link set {name} mtu {mtu}")

    def delete_link(self, name: str) -> None:
        _ip(f"link delete {name}")

    def set_link_up(self, name: str) -> None:
        _ip(f"link set {name} up")

    def set_link_down(self, name: str) -> None:
        _ip(f"link set {name} down")

    def add_gateway(self, address: IPAddress) -> None:
        prefix = "192.88.99.0/24" if address.version == 4 else "2002::/16"
        _ip(f"route add {prefix} via {address}")

    def add_foreign_route(self, prefix: IPNetwork) -> None:
        _ip(f"route add local {prefix} dev lo table local")

    def delete_vip_route(self, vip: Vip) -> None:
        _ip(f"route delete local {vip.address} dev {vip.interface} table local")

    def listen(self, *listeners: WildcardListener) -> None:
        """A socket for both families is one of IPv6."""
        for listener in sorted(listeners, reverse=True):
            both = replace(listener, family=AddressFamily.IPV6)
            if listener == both or both not in listeners:
                self._sockets.append(_listening(listener))


def _listening(listener: WildcardListener) -> socket.socket:
    family = socket.AF_INET if listener.family is AddressFamily.IPV4 else socket.AF_INET6
    is_tcp = listener.protocol is Protocol.TCP
    made = socket.socket(family, socket.SOCK_STREAM if is_tcp else socket.SOCK_DGRAM)
    made.bind(("", listener.port))
    if is_tcp:
        made.listen()
    return made


def _ip(*commands: str) -> None:
    """Run commands of ip(8) in one process."""
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)


class Host:
    """One or two kernels that get the same."""

    def __init__(self, kernels: Sequence[tuple[Kernel, Tools]]) -> None:
        self._kernels = [kernel for kernel, _ in kernels]
        self._tools = [tools for _, tools in kernels]
        self.scope = SCOPE

    def execute(self, *changes: Change) -> list[WriteResult]:
        """Write changes, and return what became of them."""
        outcomes, *others = (kernel.execute(changes) for kernel in self._kernels)
        assert [o.change for o in outcomes] == list(changes)
        for other in others:
            assert [(a, b) for a, b in zip(outcomes, other, strict=True) if a != b] == []
        self.observe()
        return outcomes

    def do(self, *changes: Change) -> None:
        """Write changes, all of which are done."""
        refused = [o.message for o in self.execute(*changes) if o.status is not WriteStatus.DONE]
        assert refused == []

    def refuse(self, code: int, *changes: Change) -> WriteResult:
        """Write changes, the last of which is refused and no other."""
        *before, outcome = self.execute(*changes)
        assert [o.message for o in before if o.status is not WriteStatus.DONE] == []
        assert outcome.status is WriteStatus.REFUSED
        assert outcome.errno == code
        return outcome

    def observe(self, scope: Scope | None = None) -> Observation:
        """Read everything."""
        wanted = self.scope if scope is None else scope
        observation, *others = (kernel.observe(wanted) for kernel in self._kernels)
        for other in others:
            assert _unlike(observation, other) == {}
        return observation

    def read_witness(self) -> int | None:
        """Return the number that is recorded outside the store."""
        number, *others = (kernel.read_witness() for kernel in self._kernels)
        assert others == [number] * len(others)
        return number

    def write_witness(self, number: int, adopted_interface: str | None = None) -> None:
        """Record a number outside the store."""
        for kernel in self._kernels:
            kernel.write_witness(number, adopted_interface)

    @property
    def state(self) -> State:
        """Everything of the kinds that gitvs manages."""
        return self.observe().state

    def holds(self, *resources: Resource) -> None:
        """Check that the state has these, as they are."""
        state = self.state
        assert {r.key: state.get(r.key) for r in resources} == {r.key: r for r in resources}

    def lacks(self, *resources: Resource) -> None:
        """Check that the state has none of these."""
        assert [r.key for r in resources if r.key in self.state] == []

    def rules(self) -> State:
        """Return the virtual services and real servers."""
        return _of(self.state, VirtualService, RealServer)

    def addresses(self) -> State:
        """Return the addresses and local routes."""
        return _of(self.state, Vip, LocalRoute)

    def add_link(
        self,
        name: str,
        kind: str = "dummy",
        *,
        alias: str = "",
        is_up: bool = True,
        addresses: Sequence[str] = (),
    ) -> None:
        """Give the host a link."""
        for tools in self._tools:
            tools.add_link(name, kind, alias=alias, is_up=is_up, addresses=addresses)

    def set_mtu(self, name: str, mtu: int) -> None:
        """Set how long the packets of a link may be."""
        for tools in self._tools:
            tools.set_mtu(name, mtu)

    def delete_link(self, name: str) -> None:
        """Take a link away."""
        for tools in self._tools:
            tools.delete_link(name)

    def set_link_up(self, name: str) -> None:
        """Set a link up."""
        for tools in self._tools:
            tools.set_link_up(name)

    def set_link_down(self, name: str) -> None:
        """Set a link down."""
        for tools in self._tools:
            tools.set_link_down(name)

    def add_gateway(self, address: IPAddress) -> None:
        """Let a route of the host lead through a gateway."""
        for tools in self._tools:
            tools.add_gateway(address)

    def add_foreign_route(self, prefix: IPNetwork) -> None:
        """Let somebody else make a prefix local."""
        for tools in self._tools:
            tools.add_foreign_route(prefix)

    def delete_vip_route(self, vip: Vip) -> None:
        """Delete the kernel's own route of a VIP."""
        for tools in self._tools:
            tools.delete_vip_route(vip)

    def listen(self, *listeners: WildcardListener) -> None:
        """Let daemons of the host listen on every address."""
        for tools in self._tools:
            tools.listen(*listeners)


def memory_host(*, is_lo_up: bool = True) -> Host:
    """Return a host with the kernel in memory alone."""
    kernel = MemoryKernel(MARK, is_lo_up=is_lo_up)
    return Host([(kernel, kernel)])


def twin_host(*, is_lo_up: bool = True) -> Host:
    """Return a host with the Linux of this network namespace, and the kernel in memory beside."""
    linux = LinuxKernel(MARK, Path(tempfile.mkdtemp()))
    seen = linux.observe(SCOPE)
    memory = MemoryKernel(
        MARK,
        missing_schedulers=seen.missing_schedulers,
        release=seen.kernel_release,
        is_lo_up=is_lo_up,
    )
    return Host([(linux, LinuxTools()), (memory, memory)])


def enter_bare_namespace() -> None:
    """Move this process, a kernel test's own, into a network namespace whose `lo` is down."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def _of(state: State, *classes: type) -> State:
    return State(r for r in state.values() if isinstance(r, classes))


def _unlike(observation: Observation, other: Observation) -> Mapping[str, object]:
    """Return where two observations differ, by part and key."""
    mine, theirs = _by_part(observation), _by_part(other)
    return {
        f"{part} {key}": (mine[part].get(key), theirs[part].get(key))
        for part in mine
        for key in {*mine[part], *theirs[part]}
        if mine[part].get(key) != theirs[part].get(key)
    }


def _by_part(observation: Observation) -> dict[str, Mapping[str, object]]:
    """Return an observation in parts that compare, whatever the order of readings."""
    return {
        "state": {str(key): resource for key, resource in observation.state.items()},
        "connections": {str(key): count for key, count in observation.connections.items()},
        "counters": {str(key): count for key, count in observation.counters.items()},
        "link": {name: _settled(link) for name, link in observation.links.items()},
        "gateway": {str(gateway): True for gateway in observation.gateways},
        "foreign route": {str(prefix): True for prefix in observation.foreign_routes},
        "missing scheduler": {str(name): True for name in observation.missing_schedulers},
        "unnamed": dict.fromkeys(observation.unknown_objects, True),
        "release": {"": observation.kernel_release},
        "listening": dict.fromkeys(map(repr, observation.wildcard_listeners), True),
    }


def _settled(link: Link) -> Link:
    """Leave out link-local IPv6 addresses, which a link gets from its hardware address."""
    kept = (a for a in link.addresses if not (a.version == 6 and a.is_link_local))
    addresses = tuple(sorted(kept, key=lambda a: (a.version, int(a))))
    return replace(link, addresses=addresses, networks=tuple(sorted(link.networks, key=str)))

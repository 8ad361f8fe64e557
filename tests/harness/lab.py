"""A traffic lab: a client, a director and real servers, each in a network namespace.

    client ──front── director ──back── rs1, rs2, …
       └──────────────────────────back──┘

The director is the namespace of the calling process, so `ipvsadm`, `ip` and gitvs work on it
with no more ado; make the lab in a fresh one, as each kernel test has. Two bridges join the
hosts, and in every host the interfaces are called `front` and `back`. The client reaches any
VIP through the director. Real servers answer through the director (NAT), or straight to the
client over `back` after `answer_directly` or `answer_tunnels`. Both address families.

    with Lab() as lab:
        lab.serve(80)
        run("ipvsadm", …)
        assert lab.requests("192.0.2.10", 80, 4) == {"rs1": 2, "rs2": 2}

Real servers are one child process that answers with the name of the server asked. Clients
are sockets of the calling process, made in the client's namespace; a flood is a child.
"""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.harness import namespace, traffic
from tests.harness.capture import FIRST_EPHEMERAL_PORT, Capture, Hop, endpoint, tunnel
from tests.harness.processes import fork_child, kill
from tests.harness.traffic import Connection, Flood, Server

CLIENT = "client"
DIRECTOR = "director"

_SWITCH = "switch"
_QUIET_SECONDS = 0.05
_UNQUIET_SECONDS = 2.0
_NETWORKS = {"front": 1, "back": 2}

_QUIET = {  # no duplicate address detection, no filter on asymmetric paths, no redirects
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.all.accept_dad": "0",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.default.send_redirects": "0",
}
_FORWARDING = {"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"}
_NO_ARP_FOR_VIPS = {"net.ipv4.conf.all.arp_ignore": "1", "net.ipv4.conf.all.arp_announce": "2"}


def run(*command: str, text: str | None = None) -> str:
    """Run a command and return what it prints; its standard input is `text`.

    Raises: RuntimeError with what it said, if it fails.
    """
    done = subprocess.run(command, input=text or "", capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}: {done.stderr}")
    return done.stdout


def run_batch(lines: Iterable[str]) -> None:
    """Run `ip` commands, without the word `ip`, all in one process.

    Raises: RuntimeError at the first that fails.
    """
    run("ip", "-batch", "-", text="\n".join(lines))


def _read_until_quiet(captures: Sequence[Capture]) -> set[Hop]:
    hops: set[Hop] = set()
    deadline = time.monotonic() + _UNQUIET_SECONDS
    while time.monotonic() < deadline:
        time.sleep(_QUIET_SECONDS)
        if not (new := {hop for capture in captures for hop in capture.read()}):
            break
        hops |= new
    return hops


class Lab:
    """The hosts, their addresses, and what the client can do. Close it, or use `with`."""

    def __init__(self, real_servers: int | Sequence[str] = 2) -> None:
        """Make the hosts; real servers are called as given, or `rs1`, `rs2`, …"""
        if isinstance(real_servers, int):
            real_servers = [f"rs{number + 1}" for number in range(real_servers)]
        self.real_servers = tuple(real_servers)
        self._numbers: dict[tuple[str, str], int] = {}
        self._stack = ExitStack()
        namespace.name_current(DIRECTOR)
        self._stack.callback(namespace.delete, DIRECTOR)
        self._add_namespace(_SWITCH)
        self.set_sysctls(_SWITCH, {"net.ipv6.conf.default.disable_ipv6": "1"})
        with self.at(_SWITCH):
            run_batch(f"link add {segment} up type bridge" for segment in _NETWORKS)
        self.add_host(DIRECTOR, {"front": 254, "back": 254})
        self.set_sysctls(DIRECTOR, _FORWARDING)
        self.add_host(CLIENT, {"front": 1, "back": 100}, "front")
        for number, name in enumerate(self.real_servers, start=1):
            self.add_host(name, {"back": number}, "back")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the servers and remove the hosts."""
        self._stack.close()

    # Hosts

    def address(self, host: str, version: int = 4, segment: str = "back") -> str:
        """Return the address of a host on a segment, in address family 4 or 6."""
        network, number = _NETWORKS[segment], self._numbers[host, segment]
        return f"10.0.{network}.{number}" if version == 4 else f"fd00:{network}::{number:x}"

    def at(self, host: str) -> AbstractContextManager[None]:
        """Be in a host's network namespace: `with lab.at("rs1"): run("ip", "addr")`."""
        return namespace.entered(host)

    def set_sysctls(self, host: str, values: Mapping[str, str]) -> None:
        """Write kernel settings in a host's network namespace."""
        with self.at(host):
            for name, value in values.items():
                Path("/proc/sys", *name.split(".")).write_text(value)

    def add_host(
        self, name: str, numbers: Mapping[str, int], default_segment: str | None = None
    ) -> None:
        """Add a host to segments, with the number that ends its address on each.

        Its default route leads through the director, over `default_segment`.
        """
        if name != DIRECTOR:
            self._add_namespace(name)
        self.set_sysctls(name, _QUIET)
        with self.at(_SWITCH):
            run_batch(
                f"link add {name}-{segment} up master {segment} type veth"
                f" peer name {segment} netns {name}"
                for segment in numbers
            )
        lines = ["link set lo up"]
        for segment, number in numbers.items():
            self._numbers[name, segment] = number
            lines += [
                f"address add {self.address(name, 4, segment)}/24 dev {segment}",
                f"address add {self.address(name, 6, segment)}/64 dev {segment} nodad",
                f"link set {segment} up",
            ]
        with self.at(name):
            run_batch([*lines, *self._default_routes(default_segment, DIRECTOR)])

    def _default_routes(self, segment: str | None, gateway: str) -> list[str]:
        if segment is None:
            return []
        addresses = [self.address(gateway, version, segment) for version in (4, 6)]
        return [f"route replace default via {address}" for address in addresses]

    def answer_directly(self, *vips: str, hosts: Iterable[str] | None = None) -> None:
        """Set up hosts, or else all real servers, for direct routing.

        They get the VIPs on `lo`, and no ARP for them.
        """
        for name in self.real_servers if hosts is None else hosts:
            self.set_sysctls(name, _NO_ARP_FOR_VIPS)
            with self.at(name):
                addresses = [f"address add {vip} dev lo" for vip in vips]
                run_batch([*addresses, *self._default_routes("back", CLIENT)])

    def answer_tunnels(self, *vips: str) -> None:
        """Set up the real servers for ipip tunnels: as for direct routing, and unwrapping."""
        self.answer_directly(*vips)
        for name in self.real_servers:
            local_4, local_6 = self.address(name, 4), self.address(name, 6)
            with self.at(name):
                run_batch(
                    [
                        f"link add name ipip type ipip local {local_4}",
                        f"link add name ip6tnl type ip6tnl mode any local {local_6}",
                        "link set ipip up",
                        "link set ip6tnl up",
                    ]
                )

    def mark(self, vip: str, mark: int) -> None:
        """Have the director put a firewall mark on what comes from the client for a VIP."""
        protocol, word = ("ip", "ip") if ip_address(vip).version == 4 else ("ipv6", "ip6")
        rule = ["protocol", protocol, "u32", "match", word, "dst", vip]
        with self.at(DIRECTOR):
            run("tc", "qdisc", "replace", "dev", "front", "clsact")
            command = ["tc", "filter", "add", "dev", "front", "ingress", *rule]
            run(*command, "action", "skbedit", "mark", str(mark))

    # Traffic

    def serve(self, *ports: int, hosts: Iterable[str] | None = None) -> None:
        """Start servers on these ports, TCP and UDP, on hosts or else all real servers."""
        servers = []
        for name in self.real_servers if hosts is None else hosts:
            with self.at(name):
                servers += [Server(name, port) for port in ports]
        pid = fork_child(lambda: traffic.serve(servers))
        self._stack.callback(kill, pid)
        for server in servers:
            server.close()

    def requests(
        self,
        address: str,
        port: int,
        count: int = 1,
        protocol: str = "tcp",
        timeout_seconds: float = traffic.TIMEOUT_SECONDS,
    ) -> Counter[str]:
        """Ask so many times from the client, and count the answers: names, or `refused` etc."""
        answers: Counter[str] = Counter()
        with self.at(CLIENT):
            for _ in range(count):
                try:
                    answers[traffic.request(address, port, protocol, timeout_seconds)] += 1
                except OSError as error:
                    answers[traffic.describe(error)] += 1
        return answers

    def connect(self, address: str, port: int) -> Connection:
        """Open a connection from the client, which stays open until it is closed."""
        with self.at(CLIENT):
            connection = Connection(address, port)
        self._stack.callback(connection.close)
        return connection

    def flood(self, address: str, port: int, *, rate: float = 25, long_lived: int = 3) -> Flood:
        """Start a flood from the client."""
        with self.at(CLIENT):
            return Flood(address, port, rate=rate, long_lived=long_lived)

    # Packets

    def trace(self, work: Callable[[], object]) -> set[Hop]:
        """Do work and return the hops that its TCP and UDP packets took."""
        with ExitStack() as stack:
            captures = []
            for host in (CLIENT, DIRECTOR, *self.real_servers):
                with self.at(host):
                    captures.append(stack.enter_context(Capture(host, tuple(_NETWORKS))))
            _read_until_quiet(captures)  # earlier connections still close
            work()
            return _read_until_quiet(captures)

    def nat_hops(self, vip: str, port: int, real_server: str, real_port: int) -> set[Hop]:
        """Return the hops of a connection that is masqueraded, there and back."""
        client, virtual = self._client(vip), endpoint(vip, port)
        server = endpoint(self.address(real_server, ip_address(vip).version), real_port)
        return {
            *self._to_director(client, virtual),
            Hop(DIRECTOR, "back", "out", client, server),
            Hop(real_server, "back", "in", client, server),
            Hop(real_server, "back", "out", server, client),
            Hop(DIRECTOR, "back", "in", server, client),
            Hop(DIRECTOR, "front", "out", virtual, client),
            Hop(CLIENT, "front", "in", virtual, client),
        }

    def direct_hops(self, vip: str, port: int, real_server: str, tunnel: str = "") -> set[Hop]:
        """Return the hops of a connection whose answers don't pass the director again."""
        client, virtual = self._client(vip), endpoint(vip, port)
        return {
            *self._to_director(client, virtual),
            Hop(DIRECTOR, "back", "out", client, virtual, tunnel),
            Hop(real_server, "back", "in", client, virtual, tunnel),
            Hop(real_server, "back", "out", virtual, client),
            Hop(CLIENT, "back", "in", virtual, client),
        }

    def tunnel_hops(
        self, vip: str, port: int, real_server: str, outer_version: int | None = None
    ) -> set[Hop]:
        """Return the hops of a connection that is tunnelled to the real server."""
        version = outer_version or ip_address(vip).version
        outer = tunnel(self.address(DIRECTOR, version), self.address(real_server, version))
        return self.direct_hops(vip, port, real_server, outer)

    def _client(self, vip: str) -> str:
        address = self.address(CLIENT, ip_address(vip).version, "front")
        return endpoint(address, FIRST_EPHEMERAL_PORT)

    def _to_director(self, client: str, virtual: str) -> set[Hop]:
        return {
            Hop(CLIENT, "front", "out", client, virtual),
            Hop(DIRECTOR, "front", "in", client, virtual),
        }

    def _add_namespace(self, name: str) -> None:
        namespace.add(name)
        self._stack.callback(namespace.delete, name)

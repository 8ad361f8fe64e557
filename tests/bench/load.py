"""Loads for measuring: any number of virtual services with five real servers each.

One load follows from a seed and a size, and is written in every way that somebody reads it:
as gitvs's state, as manifests, as lines for `ipvsadm -R`, and as a keepalived.conf.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from random import Random

from gitvs.core.model.desired import DEFAULT_SYSCTLS, Desired
from gitvs.core.model.resources import (
    DummyInterface,
    Endpoint,
    IPAddress,
    Protocol,
    RealServer,
    Resource,
    Scheduler,
    Sysctl,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.report.host.ipvsadm import ipvsadm_lines
from tests.support.manifests.writing import Doc, director, file_of, server, service

DIRECTOR = "lb1"
INTERFACE = "gitvs0"
SEED = 5
SERVERS = 5
DRAIN_SECONDS = 60.0

_VIPS = {4: int(IPv4Address("198.18.0.1")), 6: int(IPv6Address("2001:db8::1"))}
_SERVERS = {4: int(IPv4Address("10.0.0.1")), 6: int(IPv6Address("2001:db8:1::1"))}
_SCHEDULERS = (Scheduler.WLC, Scheduler.WLC, Scheduler.WRR, Scheduler.SED)
_PROTOCOLS = (Protocol.TCP, Protocol.TCP, Protocol.TCP, Protocol.UDP)
_PORTS = (80, 443, 5353, 8080)


@dataclass(frozen=True, slots=True)
class Rules:
    """One virtual service and its real servers."""

    service: VirtualService
    servers: tuple[RealServer, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """The rules of one director."""

    rules: tuple[Rules, ...]

    def state(self) -> State:
        """Return the rules alone, without sysctls and interface."""
        return State(self._resources())

    def _resources(self) -> Iterator[Resource]:
        for rules in self.rules:
            yield rules.service
            yield from rules.servers

    def desired(self, *, has_bound_vips: bool = False) -> Desired:
        """Return what the manifests say, for whoever has no time to load them.

        With bound VIPs, each service's address is on the interface too.
        """
        host: list[Resource] = [Sysctl(name, value) for name, value in DEFAULT_SYSCTLS.items()]
        drains = {rules.service.key: DRAIN_SECONDS for rules in self.rules}
        vips = self._vips() if has_bound_vips else ()
        state = State([*host, DummyInterface(INTERFACE), *self._resources(), *vips])
        return Desired(DIRECTOR, INTERFACE, state, drains)

    def _vips(self) -> Iterator[Resource]:
        for rules in self.rules:
            listener = rules.service.listener
            assert isinstance(listener, Endpoint)
            yield Vip(listener.address, INTERFACE, listener.address.max_prefixlen)

    def changed_server(self) -> RealServer:
        """Return the one real server that `reweighed` changes, in the midst of the table."""
        return self.rules[len(self.rules) // 2].servers[SERVERS // 2]

    def reweighed(self, weight: int) -> Load:
        """Return the same load but for the weight of one real server."""
        changed = self.changed_server()
        place = len(self.rules) // 2
        rules = self.rules[place]
        servers = tuple(replace(s, weight=weight) if s is changed else s for s in rules.servers)
        after = replace(rules, servers=servers)
        return Load((*self.rules[:place], after, *self.rules[place + 1 :]))


def make_load(services: int, seed: int = SEED) -> Load:
    """Return the load of a size: half of it IPv4, half IPv6, by chance."""
    random = Random(f"{seed} {services}")
    return Load(tuple(_rules(random, number) for number in range(services)))


def _rules(random: Random, number: int) -> Rules:
    version = random.choice((4, 6))
    listener = Endpoint(
        random.choice(_PROTOCOLS), _address(_VIPS, version, number), random.choice(_PORTS)
    )
    scheduler = random.choice(_SCHEDULERS)
    servers = tuple(
        RealServer(
            listener,
            _address(_SERVERS, version, SERVERS * number + place),
            random.choice((8080, 8443)),
            random.randint(1, 100),
        )
        for place in range(SERVERS)
    )
    return Rules(VirtualService(listener, scheduler), servers)


def _address(first: dict[int, int], version: int, number: int) -> IPAddress:
    value = first[version] + number
    return IPv4Address(value) if version == 4 else IPv6Address(value)


def manifests(load: Load) -> dict[str, bytes]:
    """Return manifests by path: a director, and services in folders of a hundred files.

    VIPs are not bound: the peers bind none here.
    """
    return {
        "director.yaml": file_of("", director(DIRECTOR)).data,
        **{_path(n): file_of("", _document(n, r)).data for n, r in enumerate(load.rules)},
    }


def shared_manifests(load: Load, sites: int, directors_per_site: int) -> dict[str, bytes]:
    """Return manifests that share the load out: each service is on the directors of one site."""
    labels = [{"site": f"s{site}"} for site in range(sites)]
    names = (
        (label, f"lb{n}.{label['site']}") for label in labels for n in range(directors_per_site)
    )
    files = {"directors.yaml": file_of("", *(director(name, label) for label, name in names)).data}
    for number, rules in enumerate(load.rules):
        document = _document(number, rules)
        document["spec"]["directors"] = {"matchLabels": labels[number % sites]}
        files[_path(number)] = file_of("", document).data
    return files


def changed_path(load: Load) -> str:
    """Return which of the manifests has the real server that `reweighed` changes."""
    return _path(len(load.rules) // 2)


def _path(number: int) -> str:
    return f"team{number // 100:03}/service{number:05}.yaml"


def _document(number: int, rules: Rules) -> Doc:
    listener = rules.service.listener
    assert isinstance(listener, Endpoint)
    return service(
        f"service{number:05}",
        vips=[{"address": str(listener.address), "bind": False}],
        ports=[{"port": listener.port, "protocol": str(listener.protocol)}],
        scheduler=str(rules.service.scheduler),
        realServers=[server(str(s.address), port=s.port, weight=s.weight) for s in rules.servers],
    )


def ipvsadm_text(load: Load) -> str:
    """Return the rules as `ipvsadm -R` reads them."""
    return "".join(f"{line}\n" for line in ipvsadm_lines(load.state()))


def keepalived_text(load: Load) -> str:
    """Return a keepalived.conf that says the same.

    A real server without a checker counts as up from the start, so all of the table is
    written at once. There is nothing else to know: no VRRP, so that no address is waited for.
    """
    return "".join(line for rules in load.rules for line in _keepalived_lines(rules))


def _keepalived_lines(rules: Rules) -> Iterator[str]:
    listener = rules.service.listener
    assert isinstance(listener, Endpoint)
    yield f"virtual_server {listener.address} {listener.port} {{\n"
    yield f"  lb_algo {rules.service.scheduler}\n  lb_kind NAT\n"
    yield f"  protocol {str(listener.protocol).upper()}\n"
    for one in rules.servers:
        yield f"  real_server {one.address} {one.port} {{\n    weight {one.weight}\n  }}\n"
    yield "}\n"

"""A large repository of manifests and its history: many sites, directors, pools and services.

All of it follows from a seed. Every service is on the directors of one site; sites differ in
their servers alone.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random

from tests.support.manifests.writing import Doc, director, file_of, policy, pool, server, service

Files = dict[str, str | bytes]
POOLS_PER_SITE = 5
SERVERS_PER_POOL = 4


@dataclass
class Estate:
    """What one commit says, as documents that the next one changes.

    Services are in one file a site, so that most commits change one or two files.
    """

    random: Random
    directors: dict[str, Doc] = field(default_factory=dict)
    pools: dict[str, Doc] = field(default_factory=dict)
    services: dict[str, Doc] = field(default_factory=dict)
    policy: Doc = field(default_factory=lambda: policy(maxRemovedPercent=20))
    kept: Doc = field(default_factory=dict)
    """What a mistake changed, for its revert."""

    def files(self) -> Files:
        """Return the manifests: directors together, the rest site by site."""
        written = {"policy.yaml": [self.policy], "directors.yaml": list(self.directors.values())}
        for name, document in self.pools.items():
            written.setdefault(f"sites/{name.split('-')[0]}/pools.yaml", []).append(document)
        for document in self.services.values():
            site = document["spec"]["directors"]["matchLabels"]["site"]
            written.setdefault(f"sites/{site}/services.yaml", []).append(document)
        return {name: file_of("", *documents).data for name, documents in written.items()}

    def services_of(self, number: int) -> list[str]:
        """Return the names of a site's services."""
        return [name for name in self.services if name.startswith(f"s{number}-")]


@dataclass(frozen=True)
class Step:
    """One commit: its message, and the manifests after it."""

    message: str
    files: Files


def estate(seed: int, sites: int, directors: int, services: int) -> Estate:
    """Return the manifests of the first commit: `directors` and `services` are per site."""
    made = Estate(Random(seed))
    for site in range(sites):
        label = {"site": f"s{site}"}
        for number in range(directors):
            name = f"lb{number}.s{site}"
            made.directors[name] = director(name, label, sysctls={"net.ipv4.vs.conntrack": "1"})
        for number in range(POOLS_PER_SITE):
            name = f"s{site}-pool{number}"
            servers = [
                server(f"10.{site}.{number}.{host}", weight=made.random.randint(1, 9))
                for host in range(1, SERVERS_PER_POOL + 1)
            ]
            made.pools[name] = pool(name, *servers)
        for number in range(services):
            name = f"s{site}-app{number}"
            made.services[name] = _service(made, name, site, number)
    return made


def _service(made: Estate, name: str, site: int, number: int) -> Doc:
    spec: Doc = {
        "vips": [f"192.{site}.{number // 100}.{number % 100 + 1}"],
        "ports": [{"port": 443, "targetPort": 8443}],
        "scheduler": made.random.choice(["wlc", "wrr", "sed", "sh", "mh"]),
        "pools": [f"s{site}-pool{number % POOLS_PER_SITE}"],
        "directors": {"matchLabels": {"site": f"s{site}"}},
    }
    if number % 7 == 0:
        spec["persistence"] = {"timeout": "10m"}
    return service(name, **spec)


def history(seed: int = 1, sites: int = 20, directors: int = 10, services: int = 100) -> list[Step]:
    """Return the first commit and the 30 after it."""
    made = estate(seed, sites, directors, services)
    steps = [Step("Begin", made.files())]
    for message, change in _CHANGES:
        change(made)
        steps.append(Step(message, made.files()))
    return steps


Change = Callable[[Estate], None]
_CHANGES: list[tuple[str, Change]] = []


def _change(message: str) -> Callable[[Change], Change]:
    """Add a change to the history, in the order in which they stand here."""

    def add(change: Change) -> Change:
        _CHANGES.append((message, change))
        return change

    return add


@_change("Weigh a server anew")
def _reweigh(made: Estate) -> None:
    made.pools["s3-pool1"]["spec"]["realServers"][0]["weight"] = 17


@_change("Rename a service")
def _rename(made: Estate) -> None:
    document = made.services.pop("s0-app0")
    document["metadata"]["name"] = "s0-shop"
    made.services["s0-shop"] = document


@_change("Move services to another pool")
def _move(made: Estate) -> None:
    for number in (5, 10, 15):
        made.services[f"s1-app{number}"]["spec"]["pools"] = ["s1-pool4"]


@_change("Add a server to a pool")
def _grow(made: Estate) -> None:
    made.pools["s2-pool0"]["spec"]["realServers"].append(server("10.2.0.99", weight=3))


@_change("Take a server out of a pool")
def _shrink(made: Estate) -> None:
    made.pools["s2-pool1"]["spec"]["realServers"].pop()


@_change("Replace a server")
def _replace(made: Estate) -> None:
    made.pools["s4-pool2"]["spec"]["realServers"][1]["address"] = "10.4.2.77"


@_change("Switch off a whole pool, by mistake")
def _mistake(made: Estate) -> None:
    made.kept = deepcopy(made.pools["s5-pool3"])
    for one in made.pools["s5-pool3"]["spec"]["realServers"]:
        one["weight"] = 0


@_change('Revert "Switch off a whole pool, by mistake"')
def _revert(made: Estate) -> None:
    made.pools["s5-pool3"] = made.kept


@_change("Choose servers by client")
def _reschedule(made: Estate) -> None:
    for name in made.services_of(6)[:10]:
        made.services[name]["spec"]["scheduler"] = "mh"


@_change("Write a comment")
def _comment(made: Estate) -> None:
    made.services["s7-app1"]["metadata"]["description"] = "The second shop"


@_change("Remove a third of a site, though nobody allowed it")
def _remove_too_many(made: Estate) -> None:
    for name in made.services_of(8)[::3]:
        del made.services[name]


@_change("Remove half of a site\n\nIt moved to another provider.\n\nGitvs-Allow: mass-removal")
def _remove_half(made: Estate) -> None:
    for name in made.services_of(9)[::2]:
        del made.services[name]


@_change("Remove one service")
def _remove(made: Estate) -> None:
    del made.services["s10-app7"]


@_change("Add services")
def _add(made: Estate) -> None:
    for number in range(100, 105):
        name = f"s11-app{number}"
        made.services[name] = _service(made, name, 11, number)


@_change("Give a site a second port on every VIP")
def _second_port(made: Estate) -> None:
    for name in made.services_of(12):
        made.services[name]["spec"]["ports"].append({"port": 80, "targetPort": 8080})


@_change("Add a director to a site")
def _add_director(made: Estate) -> None:
    made.directors["lb99.s0"] = director("lb99.s0", {"site": "s0"})


@_change("Take a director away")
def _remove_director(made: Estate) -> None:
    del made.directors["lb0.s1"]


@_change("Rename a director")
def _rename_director(made: Estate) -> None:
    document = made.directors.pop("lb2.s1")
    document["metadata"]["name"] = "lb2-new.s1"
    made.directors["lb2-new.s1"] = document


@_change("Move a VIP to another site")
def _move_vip(made: Estate) -> None:
    spec = made.services["s13-app13"]["spec"]
    spec["directors"], spec["pools"] = {"matchLabels": {"site": "s14"}}, ["s14-pool0"]


@_change("Set time-outs everywhere")
def _timeouts(made: Estate) -> None:
    for document in made.directors.values():
        document["spec"]["timeouts"] = {"tcp": "20m"}


@_change("Set them back")
def _no_timeouts(made: Estate) -> None:
    for document in made.directors.values():
        del document["spec"]["timeouts"]


@_change("Drop a setting on one director")
def _drop_sysctl(made: Estate) -> None:
    made.directors["lb0.s15"]["spec"]["sysctls"] = {}


@_change("Keep clients where they are")
def _persist(made: Estate) -> None:
    for name in made.services_of(15)[:20]:
        made.services[name]["spec"]["persistence"] = {"timeout": "5m"}


@_change("Protect a VIP")
def _protect(made: Estate) -> None:
    made.policy = policy(maxRemovedPercent=20, protectedVips=["192.16.0.5"])


@_change("Remove the protected VIP")
def _remove_protected(made: Estate) -> None:
    del made.services["s16-app4"]


@_change("Put it back")
def _put_back(made: Estate) -> None:
    made.services["s16-app4"] = _service(made, "s16-app4", 16, 4)


@_change("Drain at once, and listen on another port")
def _no_drain(made: Estate) -> None:
    for name in made.services_of(17)[:10]:
        spec = made.services[name]["spec"]
        spec["drain"] = {"timeout": "0s"}
        spec["ports"] = [{"port": 8443, "targetPort": 8443}]


@_change("Change everything in a site\n\nGitvs-Allow: capacity-drop lb0.s18, lb1.s18")
def _renumber(made: Estate) -> None:
    for number in range(POOLS_PER_SITE):
        for one in made.pools[f"s18-pool{number}"]["spec"]["realServers"]:
            one["address"] = one["address"].replace("10.18.", "10.118.")


@_change("Bind no VIPs on a site: VRRP does")
def _unbind(made: Estate) -> None:
    for name in made.services_of(19)[:15]:
        spec = made.services[name]["spec"]
        spec["vips"] = [{"address": vip, "bind": False} for vip in spec["vips"]]


@_change("Loosen the policy")
def _loosen(made: Estate) -> None:
    made.policy = policy(maxRemovedPercent=80, maxCapacityDropPercent=100)

"""Every example on a real kernel: applied, read back, and taken away without a trace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from gitvs.core.manifests.load import load_manifest_files
from gitvs.core.manifests.load_run import Manifests
from gitvs.core.manifests.render import render_director
from gitvs.core.model.history import Outcome
from gitvs.core.model.observation import Scope
from gitvs.core.model.resources import Sysctl, Timeout
from gitvs.core.model.state import State
from gitvs.core.planning.plan import is_forwarding_sysctl
from gitvs.reconcile.teardown import teardown
from tests.harness.lab import run, run_batch
from tests.kernel.live import Director
from tests.support.manifests.writing import folder, manifest_examples
from tests.support.paths import EXAMPLES

pytestmark = pytest.mark.kernel

IPVS_SYSCTLS = Path("/proc/sys/net/ipv4/vs")


def load_example(name: str) -> Manifests:
    return load_manifest_files(folder(EXAMPLES / name))


DIRECTORS = [
    (path.name, name)
    for path in manifest_examples(EXAMPLES)
    for name in load_example(path.name).director_names
]

NODE = ("127.0.0.1", "172.17.0.1", "192.168.204.142", "10.0.1.0")
KUBE_RULES = {
    **{f"{address}:30001": [] for address in NODE},
    **{f"{address}:30002": ["10.0.3.5:8080", "10.0.3.7:8080"] for address in NODE},
    **{f"{address}:30094": ["10.0.3.2:80"] for address in NODE},
    "172.18.13.1:443": ["192.168.204.142:6443"],
    "172.18.13.31:80": [],
    "172.18.13.113:8082": ["10.0.3.5:8080", "10.0.3.7:8080"],
    "172.18.13.187:3306": ["10.0.3.4:3306"],
    "172.18.13.222:80": ["10.0.3.2:80"],
}
KUBE_VIPS = [f"172.18.13.{last}" for last in (1, 31, 113, 187, 222)]


@pytest.fixture
def here(tmp_path: Path) -> Director:
    return Director(tmp_path)


def prepare_host(manifests: Manifests, name: str) -> None:
    """Give the host what its Director document takes for granted.

    That is addresses, interfaces for sync daemons, and forwarding, which is never turned back.
    """
    (written,) = (d for d in manifests.director_index.all if d.name == name)
    found = [address for named in written.addresses.values() for address in named]
    add_link("uplink", [f"{a}/{a.max_prefixlen}" for a in found if not a.is_loopback])
    for number, interface in enumerate(sorted({d.interface for d, _ in written.sync_daemons})):
        add_link(interface, [f"192.0.2.{number}/24"])
    for name in filter(is_forwarding_sysctl, written.sysctls):
        Path("/proc/sys", *name.split(".")).write_text("1")


def add_link(name: str, addresses: Sequence[str]) -> None:
    """Add an interface that is UP and holds addresses."""
    added = (f"address add {address} dev {name} nodad" for address in addresses)
    link = f"link add {name} type dummy addrgenmode none"
    run_batch([link, *added, f"link set {name} up"])


def traces(here: Director, wanted: State) -> tuple[set[str], State]:
    """Everything that gitvs may write, as the tools of the trade print it and as it reads it."""
    commands = (
        "ip -details address",
        "ip route show table all",
        "ip -6 route show table all",
        "ipvsadm -Sn",
    )
    lines = {f"{c}: {line}" for c in commands for line in run(*c.split()).splitlines()}
    links = {path.name for path in Path("/sys/class/net").iterdir()}
    sysctls = {f"net.ipv4.vs.{path.name}" for path in IPVS_SYSCTLS.iterdir()}
    assert sysctls, "ipvsadm loaded the module"
    scope = Scope(frozenset(links), frozenset(sysctls | {s.name for s in wanted.of_type(Sysctl)}))
    return lines, here.observe(scope=scope).state


def without_other_settings(found: State, wanted: State) -> State:
    """What was found, less the settings that nobody wants to be anything."""
    return State(r for k, r in found.items() if k in wanted or not isinstance(r, Sysctl | Timeout))


@pytest.mark.parametrize(("example", "name"), DIRECTORS)
def test_an_example_is_applied_rests_and_leaves_no_trace(
    here: Director, example: str, name: str
) -> None:
    manifests = load_example(example)
    desired = render_director(manifests, name)
    prepare_host(manifests, name)
    before = traces(here, desired.state)
    assert here.follow(desired).outcome is Outcome.APPLIED
    names = frozenset(s.name for s in desired.state.of_type(Sysctl))
    found = here.observe(scope=Scope(frozenset({desired.interface}), names)).state
    assert without_other_settings(found, desired.state) == desired.state
    assert here.follow(desired).outcome is Outcome.CONVERGED
    with here.ports() as ports:
        assert teardown(ports).outcome is Outcome.APPLIED
    assert traces(here, desired.state) == before


def rules_of_ipvsadm() -> dict[str, list[str]]:
    """Return real servers by virtual service; every one is TCP, `rr`, masqueraded, of weight 1."""
    rules: dict[str, list[str]] = {}
    for line in run("ipvsadm", "-Sn").splitlines():
        match line.split():
            case ["-A", "-t", service, "-s", "rr"]:
                rules[service] = []
            case ["-a", "-t", service, "-r", server, "-m", "-w", "1"]:
                rules[service].append(server)
            case _:
                raise AssertionError(f"not a rule of kube-proxy: {line}")
    return rules


def test_the_cluster_node_is_what_kube_proxy_makes_of_it(here: Director) -> None:
    add_link("eth0", ["192.168.204.142/24", "172.17.0.1/16", "10.0.1.0/32"])
    desired = render_director(load_example("kube-ipvs0"), "node1")
    assert here.follow(desired).outcome is Outcome.APPLIED
    assert rules_of_ipvsadm() == KUBE_RULES
    link = run("ip", "-details", "link", "show", "dev", "kube-ipvs0")
    assert "state DOWN" in link
    assert "dummy" in link
    listed = run("ip", "-oneline", "address", "show", "dev", "kube-ipvs0").splitlines()
    assert [line.split()[2:4] for line in listed] == [["inet", f"{vip}/32"] for vip in KUBE_VIPS]
    routes = run("ip", "route", "show", "table", "local", "dev", "kube-ipvs0").splitlines()
    assert [route.strip() for route in routes] == [
        f"local {vip} proto kernel scope host src {vip}" for vip in KUBE_VIPS
    ]

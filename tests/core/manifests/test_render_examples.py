"""Every example renders, and the cluster node has exactly what kube-proxy would make."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitvs.core.manifests.load import load_manifest_files
from gitvs.core.manifests.render import render_director
from gitvs.core.model.health import OnFailure
from gitvs.core.model.resources import (
    Forwarding,
    Protocol,
    RealServer,
    Scheduler,
    Tunnel,
    Vip,
    VirtualService,
)
from tests.support.manifests.writing import folder, manifest_examples
from tests.support.paths import EXAMPLES

NODE = ("127.0.0.1", "172.17.0.1", "192.168.204.142", "10.0.1.0")
KUBE = {
    **{f"tcp {address}:30001": [] for address in NODE},
    **{f"tcp {address}:30002": ["10.0.3.5:8080", "10.0.3.7:8080"] for address in NODE},
    **{f"tcp {address}:30094": ["10.0.3.2:80"] for address in NODE},
    "tcp 172.18.13.1:443": ["192.168.204.142:6443"],
    "tcp 172.18.13.31:80": [],
    "tcp 172.18.13.113:8082": ["10.0.3.5:8080", "10.0.3.7:8080"],
    "tcp 172.18.13.187:3306": ["10.0.3.4:3306"],
    "tcp 172.18.13.222:80": ["10.0.3.2:80"],
}


@pytest.mark.parametrize("path", manifest_examples(EXAMPLES), ids=str)
def test_an_example_renders_on_each_of_its_directors(path: Path) -> None:
    manifests = load_manifest_files(folder(path))
    assert manifests.director_names
    for name in manifests.director_names:
        assert render_director(manifests, name).state.of_type(VirtualService)


def test_the_cluster_node_has_exactly_the_rules_of_kube_proxy() -> None:
    state = render_director(load_manifest_files(folder(EXAMPLES / "kube-ipvs0")), "node1").state
    found: dict[str, list[str]] = {v.key: [] for v in state.of_type(VirtualService)}
    for real in state.of_type(RealServer):
        found[real.service_key].append(f"{real.address}:{real.port}")
        assert (real.weight, real.forwarding) == (1, Forwarding.NAT)
    assert found == KUBE
    assert {v.scheduler for v in state.of_type(VirtualService)} == {Scheduler.RR}
    assert [v.key for v in state.of_type(Vip)] == [
        f"172.18.13.{n}/32 dev kube-ipvs0" for n in (1, 31, 113, 187, 222)
    ]


def test_the_checks_of_the_example_are_those_that_it_describes() -> None:
    manifests = load_manifest_files(folder(EXAMPLES / "health"))
    assert manifests.warnings == ()
    health = render_director(manifests, "lb1").health
    reactions = {key: (h.checks[0].words, h.on_failure) for key, h in health.items()}
    drain, remove = OnFailure.DRAIN, OnFailure.REMOVE
    assert reactions == {
        **{
            f"tcp {address}:{port}": ("tcp", drain)
            for address in ("203.0.113.10", "[2001:db8::10]")
            for port in (80, 443)
        },
        "tcp 203.0.113.11:443": ('https /healthz host shop.example.org expect "ok"', drain),
        "tcp 203.0.113.25:25": ('tcp expect "220"', drain),
        "tcp 203.0.113.53:53": ("dns www.example.org", drain),
        "udp 203.0.113.53:53": ("dns www.example.org", remove),
    }


def test_the_quickstart_shows_each_thing_that_its_readme_names() -> None:
    manifests = load_manifest_files(folder(EXAMPLES / "quickstart"))
    assert manifests.director_names == ("lb-ams", "lb-lax")
    ams, lax = (render_director(manifests, name).state for name in manifests.director_names)
    both = [*ams.of_type(RealServer), *lax.of_type(RealServer)]
    services = [*ams.of_type(VirtualService), *lax.of_type(VirtualService)]
    assert {r.forwarding for r in both} == set(Forwarding)
    assert {r.tunnel for r in both} == {None, Tunnel()}
    assert any(v.is_one_packet for v in services)
    assert any(v.persistence for v in services)
    assert "fwmark 77 ipv4" in ams
    assert {str(Protocol.UDP), str(Protocol.TCP)} <= {v.key.split()[0] for v in services}
    canary = ams["tcp 203.0.113.10:443 -> 10.1.0.19:8443"]
    assert isinstance(canary, RealServer)
    web = [r.weight for r in ams.of_type(RealServer) if r.service_key == "tcp 203.0.113.10:443"]
    assert canary.weight / sum(web) == 0.05


def test_one_packet_scheduling_in_an_example_gets_its_answers() -> None:
    """Masquerading forgets each packet, so nothing would give the answer its address back."""
    for path in manifest_examples(EXAMPLES):
        manifests = load_manifest_files(folder(path))
        for state in (render_director(manifests, name).state for name in manifests.director_names):
            alone = {v.key for v in state.of_type(VirtualService) if v.is_one_packet}
            methods = {r.forwarding for r in state.of_type(RealServer) if r.service_key in alone}
            assert Forwarding.NAT not in methods


def test_each_site_of_the_quickstart_has_its_own_vips_and_servers() -> None:
    manifests = load_manifest_files(folder(EXAMPLES / "quickstart"))
    for name, second in (("lb-ams", "1"), ("lb-lax", "2")):
        state = render_director(manifests, name).state
        web = [r for r in state.of_type(RealServer) if r.service_key.endswith(".10:443")]
        assert [str(r.address).split(".")[1] for r in web] == [second] * 3
    shared = set(render_director(manifests, "lb-ams").state.of_type(Vip)) & set(
        render_director(manifests, "lb-lax").state.of_type(Vip)
    )
    assert not shared

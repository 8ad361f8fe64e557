"""The loads that are measured: the same rules, however they are written."""

from __future__ import annotations

import re

from gitvs.core.manifests.files import ManifestFile
from gitvs.core.manifests.load import load_manifest_files as load_manifests
from gitvs.core.manifests.render import render_director
from gitvs.core.model.resources import RealServer, Vip, VirtualService
from gitvs.core.planning.plan import diff
from tests.bench.load import (
    DIRECTOR,
    SERVERS,
    changed_path,
    ipvsadm_text,
    keepalived_text,
    make_load,
    manifests,
    shared_manifests,
)

SIZE = 40
LOAD = make_load(SIZE)


def test_a_load_follows_from_its_seed() -> None:
    assert make_load(SIZE) == LOAD
    assert make_load(SIZE, seed=6) != LOAD


def test_it_has_five_real_servers_a_service_in_both_families() -> None:
    state = LOAD.state()
    services = state.of_type(VirtualService)
    assert (len(services), len(state.of_type(RealServer))) == (SIZE, SIZE * SERVERS)
    assert {service.listener.family for service in services} == {"ipv4", "ipv6"}


def test_its_manifests_say_what_its_state_says() -> None:
    files = [ManifestFile(path, data) for path, data in manifests(LOAD).items()]
    rendered = render_director(load_manifests(files), DIRECTOR)
    wanted = LOAD.desired()
    assert rendered.state == wanted.state
    assert (rendered.interface, rendered.drain_seconds) == (wanted.interface, wanted.drain_seconds)


def test_each_address_can_be_bound() -> None:
    added = diff(LOAD.desired().state, LOAD.desired(has_bound_vips=True).state)
    addresses = {r.service.listener.address for r in LOAD.rules}  # type: ignore[union-attr]
    assert {vip.address for _, vip in added if isinstance(vip, Vip)} == addresses
    assert len(added) == SIZE


def test_one_real_server_changes_alone() -> None:
    server = LOAD.changed_server()
    after = LOAD.reweighed(server.weight + 1)
    assert [before for before, _ in diff(LOAD.state(), after.state())] == [server]


def test_one_file_has_the_real_server_that_changes() -> None:
    before, after = manifests(LOAD), manifests(LOAD.reweighed(101))
    assert before.keys() == after.keys()
    assert [path for path in before if before[path] != after[path]] == [changed_path(LOAD)]


def test_directors_share_it_out_by_site() -> None:
    files = shared_manifests(LOAD, sites=4, directors_per_site=2)
    loaded = load_manifests([ManifestFile(path, data) for path, data in files.items()])
    states = {name: render_director(loaded, name).state for name in loaded.director_names}
    assert len(states) == 8
    assert states["lb0.s1"] == states["lb1.s1"] != states["lb0.s2"]
    shares = [
        state.of_type(VirtualService) for name, state in states.items() if name.startswith("lb0")
    ]
    assert sorted(s.key for share in shares for s in share) == sorted(
        s.key for s in LOAD.state().of_type(VirtualService)
    )


def test_ipvsadm_and_keepalived_are_told_of_the_same_rules() -> None:
    lines = ipvsadm_text(LOAD).splitlines()
    told = re.findall(r"-r \[?(.+?)\]?:(\d+) -m -w (\d+)", "\n".join(lines))
    config = keepalived_text(LOAD)
    assert sum(line.startswith("-A") for line in lines) == config.count("virtual_server ") == SIZE
    assert sorted(re.findall(r"real_server (\S+) (\d+) \{\s+weight (\d+)", config)) == sorted(told)

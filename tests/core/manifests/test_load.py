"""Loading as a whole: all problems at once, in file order, and no noise that follows from them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitvs.core.manifests.files import ManifestFile
from gitvs.core.manifests.load import load_manifest_files
from gitvs.core.manifests.parse_values import parse_ip_address
from gitvs.core.manifests.types import Service
from gitvs.core.model.resources import Scheduler
from gitvs.core.problems import InvalidManifests
from tests.support.effort import examples
from tests.support.manifests.writing import (
    Doc,
    defaults,
    director,
    file_of,
    loaded,
    policy,
    pool,
    problems_in,
    rules_of,
    server,
    service,
    text_file,
)

ROTTEN = """\
apiVersion: gitvs/v1
kind: Service
metadata: {name: web}
spec:
  vips: [203.0.113.10, 127.0.0.1]
  ports:
    - {port: 70000}
    - port: 53
      onePacket: true
  shceduler: rr
  realServers: [{weight: 1}]
---
apiVersion: gitvs/v1
kind: Service
metadata:
  name: two
spec:
  vips: [0.0.0.0]
  ports: [{port: 0}]
  pools: [nowhere]
  drain: {timeout: 5}
"""


def test_all_problems_come_at_once_in_file_order_with_line_and_column() -> None:
    files = [text_file("b.yaml", ROTTEN), text_file("a.yaml", "a: [\n"), text_file("c.yml", "x\n")]
    found = [(p.file, p.line, p.column, p.pointer, p.rule) for p in problems_in(*files)]
    assert found == [
        ("a.yaml", 2, 1, "", "syntax"),
        ("b.yaml", 7, 14, "/spec/ports/0/port", "out-of-range"),
        ("b.yaml", 10, 3, "/spec/shceduler", "unknown-field"),
        ("b.yaml", 11, 17, "/spec/realServers/0", "missing-field"),
        ("b.yaml", 21, 20, "/spec/drain/timeout", "wrong-type"),
        ("c.yml", 1, 1, "", "not-a-mapping"),
    ]


def test_the_order_in_which_files_are_given_does_not_matter() -> None:
    files = [file_of(f"{name}.yaml", service(name)) for name in "abc"]
    files.append(file_of("d.yaml", director()))
    expected = problems_in(*files)
    assert [p.file for p in expected] == ["b.yaml", "c.yaml"]
    assert problems_in(*reversed(files)) == expected


def test_sound_documents_are_held_against_the_rules_beside_broken_ones() -> None:
    broken = {**service("broken"), "kind": "Sevice"}
    found = problems_in(file_of("a.yaml", director(), broken, service(vips=["0.0.0.0"])))
    assert rules_of(found) == ["unknown-kind", "vip-not-routable"]


def test_every_bad_value_of_one_document_is_reported() -> None:
    bad = service(vips=["1.2.3", "0.0.0.0"], persistence={"timeout": "0s"}, scheduler="dh")
    rules = rules_of(problems_in(file_of("a.yaml", director(), bad)))
    assert sorted(rules) == [
        "bad-address",
        "dh-with-drain",
        "persistence-out-of-range",
        "vip-not-routable",
    ]


@pytest.mark.parametrize(
    ("broken", "user"),
    [
        (pool("p", server("x")), service(pools=["p"], firewallMark=1)),
        (pool("p", {"weight": 1}), service(pools=["p"])),
        (pool("p", server("x")), service(pools=[{"name": "p", "matchLabels": {"a": "b"}}])),
        (director("lb2", interface=1), service(directors={"names": ["lb2"]})),
        (director("lb2", {"a": 1}), service(directors={"matchLabels": {"a": "1"}})),
        (defaults({"persistence": 5}), service(ports=[{"port": 0}])),
    ],
)
def test_a_broken_document_makes_no_noise_elsewhere(broken: Doc, user: Doc) -> None:
    found = problems_in(file_of("all.yaml", director(), user, broken))
    assert len(found) == 1


def test_what_may_be_in_an_unreadable_file_is_not_called_unknown() -> None:
    unreadable = ManifestFile("pools.yaml", b"kind: Pool\nmetadata: {name: web-pool\n")
    user = file_of("a.yaml", director(), service(pools=["web-pool"]))
    assert rules_of(problems_in(unreadable, user)) == ["syntax"]
    other = file_of("a.yaml", director(), service(pools=["other"]))
    assert rules_of(problems_in(unreadable, other)) == ["unknown-pool", "syntax"]


def test_what_can_be_read_beside_an_unreadable_document_hides_nothing() -> None:
    text = file_of("a.yaml", director(), service(pools=["nowhere"])).data.decode()
    after = "---\na: [\n---\n"
    for broken in (text + after, after + text, after + text + after):
        assert "unknown-pool" in rules_of(problems_in(text_file("a.yaml", broken)))


def test_a_local_route_that_is_too_wide_is_one_problem() -> None:
    found = problems_in(file_of("a.yaml", director(localRoutes=["0.0.0.0/0"]), service()))
    assert rules_of(found) == ["local-route-too-wide"]


def test_a_problem_in_defaults_is_reported_once_for_all_its_services() -> None:
    bad = defaults({"persistence": {"timeout": "0s"}})
    services = [service(f"s{n}", vips=[f"203.0.113.{n}"]) for n in range(1, 5)]
    assert len(problems_in(file_of("a.yaml", director(), bad, *services))) == 1


def named(name: str, *files: ManifestFile) -> Service:
    return next(s for s in load_manifest_files(files).services if s.name == name)


def test_the_nearest_folder_wins_field_by_field() -> None:
    files = [
        file_of("d.yaml", defaults({"scheduler": "wrr", "drain": {"timeout": "5m"}})),
        file_of("a/d.yaml", defaults({"scheduler": "sed"})),
        file_of("a/b/x.yaml", service("deep")),
        file_of("x.yaml", service("top", vips=["203.0.113.1"])),
        file_of("ab/x.yaml", service("side", vips=["203.0.113.2"], scheduler="nq")),
    ]
    found = {s.name: (s.scheduler, s.drain_seconds) for s in load_manifest_files(files).services}
    assert found == {
        "deep": (Scheduler.SED, 300),
        "top": (Scheduler.WRR, 300),
        "side": (Scheduler.NQ, 300),
    }


def test_defaults_fill_whole_fields() -> None:
    keep = {"timeout": "5m", "ipv4Prefix": 24}
    files = (
        file_of("d.yaml", defaults({"persistence": keep})),
        file_of("x.yaml", service(persistence={"timeout": "1m"})),
    )
    persistence = named("web", *files).persistence
    assert persistence is not None
    assert (persistence.timeout_seconds, persistence.ipv4_prefix_length) == (60, 32)


def test_scheduler_flags_come_only_together_with_their_scheduler() -> None:
    flagged = file_of("d.yaml", defaults({"scheduler": "mh", "schedulerFlags": ["mh-port"]}))
    assert named("web", flagged, file_of("x.yaml", service())).flags
    assert not named("web", flagged, file_of("x.yaml", service(scheduler="rr"))).flags
    assert not named("web", flagged, file_of("x.yaml", service(scheduler=None))).flags
    nearer = file_of("a/d.yaml", defaults({"scheduler": "sh"}))
    assert not named("web", flagged, nearer, file_of("a/x.yaml", service())).flags


def test_flags_of_ones_own_go_with_a_scheduler_from_defaults() -> None:
    mh = file_of("d.yaml", defaults({"scheduler": "mh"}))
    assert named("web", mh, file_of("x.yaml", service(schedulerFlags=["mh-port"]))).flags


def test_a_tunnel_comes_only_together_with_its_forwarding() -> None:
    tunnel = file_of("d.yaml", defaults({"forwarding": "tun", "tunnel": {"type": "gre"}}))
    assert named("web", tunnel, file_of("x.yaml", service())).tunnel is not None
    assert named("web", tunnel, file_of("x.yaml", service(forwarding="tun"))).tunnel is None


def test_null_means_none_here() -> None:
    top = file_of("d.yaml", defaults({"persistence": {"timeout": "5m"}, "scheduler": "rr"}))
    own = named("web", top, file_of("a/x.yaml", service(persistence=None, scheduler=None)))
    assert (own.persistence, own.scheduler) == (None, Scheduler.WLC)
    nearer = file_of("a/d.yaml", defaults({"persistence": None}))
    assert named("web", top, nearer, file_of("a/x.yaml", service())).persistence is None


def test_a_null_where_nothing_can_be_filled_in_is_refused() -> None:
    assert rules_of(problems_in(file_of("x.yaml", service(vips=None)))) == ["wrong-type"]


def test_the_policy_is_that_of_the_chosen_path() -> None:
    limits = load_manifest_files(
        [file_of("p.yaml", policy(maxRemovedPercent=1.5, protectedVips=["::5"]))]
    ).policy
    assert (limits.max_removed_percent, limits.max_capacity_drop_percent) == (1.5, 50)
    assert [str(a) for a in limits.protected_vips] == ["::5"]
    assert limits.location is not None
    assert (limits.location.file, limits.location.line) == ("p.yaml", 2)


def test_no_files_are_a_problem() -> None:
    with pytest.raises(InvalidManifests, match="is it the right folder"):
        load_manifest_files([])


def test_manifests_without_a_director_are_warned_of() -> None:
    assert [w.rule for w in loaded(service()).warnings] == ["no-director"]
    assert loaded(service(), director()).warnings == ()


SEED = file_of(
    "a.yaml",
    director(addresses={"node": ["192.0.2.1"]}, localRoutes=["192.0.2.0/24"]),
    service(pools=[{"name": "p", "sameLabels": ["site"], "weight": 3}], hostAddresses=["node"]),
    pool("p", server(labels={"site": "ams"})),
    defaults({"scheduler": "mh", "schedulerFlags": ["mh-port"]}),
    policy(owners=[{"path": "a", "vips": ["203.0.113.0/24"], "firewallMarks": [1]}]),
).data
PIECES = st.sampled_from(
    [
        *(b"", b"\n", b"---\n", b"null", b"0", b"-1", b'"', b"{", b"}", b"[", b"]", b",", b":"),
        *(b"\t", b"true", b"*a", b"&a ", b"!!x ", b"\xff", b"1e999", b"9" * 30, b'"x"', b"::"),
        *(b"/", b"0.0.0.0/0"),
    ]
)


@settings(max_examples=examples(300))
@given(
    path=st.sampled_from(["a.yaml", "team/a.json"]),
    edits=st.lists(
        st.tuples(st.integers(0, len(SEED)), st.integers(0, 12), PIECES | st.binary(max_size=3)),
        min_size=1,
        max_size=4,
    ),
)
def test_whatever_the_bytes_loading_succeeds_or_names_problems(
    path: str, edits: list[tuple[int, int, bytes]]
) -> None:
    data = SEED
    for at, gone, put in edits:
        data = data[:at] + put + data[at + gone :]
    found = problems_in(ManifestFile(path, data))
    assert found == sorted(found)
    assert all(p.line >= 1 and p.column >= 1 and p.rule for p in found)
    "\n".join(str(p) for p in found).encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "address", "port", "weight", "vips", "labels", "x"]), inner
        )
    ),
    max_leaves=8,
)
FIELDS = ["vips", "ports", "realServers", "pools", "directors", "drain", "persistence", "tunnel"]


@settings(max_examples=examples(200))
@given(spec=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
def test_whatever_the_values_loading_succeeds_or_names_problems(spec: Doc) -> None:
    problems_in(file_of("a.yaml", director(), service(**spec)))


ADDRESSES = st.one_of(
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map(lambda address: address.exploded.upper()),
    st.from_regex(r"[0-9a-fA-F]{0,5}(::?[0-9a-fA-F]{0,5}){0,9}", fullmatch=True),
    st.from_regex(r"([0-9a-f]{1,4}:){0,7}:?(:[0-9a-f]{1,4}){0,7}", fullmatch=True),
    st.from_regex(r"(::|::ffff:|1:2:3:4:5:6:)?([0-9]{1,4}\.){2,4}[0-9]{0,4}", fullmatch=True),
    st.from_regex(r"(fe80::1|10\.0\.0\.1)[%/ \n\x00][0-9a-z]*", fullmatch=True),
    st.text("0123456789abcdefx.:%/ \n\x00\u0661é", max_size=12),
)


@settings(max_examples=examples(300))
@given(ADDRESSES)
def test_addresses_are_read_as_python_reads_them(text: str) -> None:
    try:
        expected = ip_address(text)
    except ValueError:
        with pytest.raises(ValueError, match="does not appear to be"):
            parse_ip_address(text)
    else:
        assert parse_ip_address(text) == expected

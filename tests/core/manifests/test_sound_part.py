"""What is sound in a document with errors is judged too, and nothing is made up about the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitvs.core.problems import InvalidManifests
from gitvs.report.text.counts import problem_count_text
from tests.support.effort import examples
from tests.support.manifests.manifest_strategies import histories, manifest_files
from tests.support.manifests.writing import (
    LEFT_OUT,
    Doc,
    director,
    loaded,
    policy,
    pool,
    problems_in,
    problems_of,
    rules_of,
    server,
    service,
    text_file,
)


def test_a_wrong_port_hides_no_other_problem_of_its_document_or_of_another() -> None:
    wrong = service(
        "web",
        vips=["203.0.113.10", "224.0.0.1", "10.0.0.300"],
        ports=[{"port": 443}, {"port": 99999}, {"port": 443}],
        realServers=[server(), server("0.0.0.0"), server(weight=-1)],
        pools=LEFT_OUT,
    )
    other = service("api")
    assert sorted(rules_of(problems_of(wrong, other, director()))) == [
        "bad-address",
        "duplicate-port",
        "out-of-range",
        "out-of-range",
        "real-server-not-routable",
        "same-virtual-service",
        "vip-not-routable",
    ]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"ports": [{"port": 99999}, {"port": 80}]}, False),
        ({"vips": ["10.0.0.300"]}, False),
        ({"scheduler": "nonsense"}, True),
        ({"nonsense": 1}, True),
    ],
)
def test_it_is_said_whether_more_may_follow(spec: Doc, expected: bool) -> None:
    with pytest.raises(InvalidManifests) as caught:
        loaded(service(**spec), director())
    assert caught.value.may_have_more is expected
    more = "; more may follow once these are corrected" if expected else ""
    assert problem_count_text(1, caught.value.may_have_more) == f"1 problem{more}"


def test_problems_keep_their_place_behind_an_item_that_is_left_out() -> None:
    [first, second] = problems_of(service(vips=[5, "10.0.0.300"]), director())
    assert (first.pointer, second.pointer) == ("/spec/vips/0", "/spec/vips/1")
    assert second.line == first.line + 1


def test_without_a_field_only_the_values_are_looked_at() -> None:
    """An unknown scheduler may be one that the flags belong to."""
    made = service(scheduler="mhh", schedulerFlags=["mh-port"], vips=["10.0.0.300"])
    assert rules_of(problems_of(made, director())) == ["bad-address", "not-allowed"]


def test_a_spec_that_lacks_a_field_is_looked_at_nevertheless() -> None:
    made = service(vips=["10.0.0.300"], ports=LEFT_OUT)
    assert [p.rule for p in problems_of(made, director())] == [
        "ports-or-firewall-mark",
        "bad-address",
    ]


def test_a_director_a_pool_and_a_policy_are_looked_at_too() -> None:
    wrong = [
        director("lb1", interface="a-very-long-interface", standby="x"),
        pool("web", server("10.0.0.300"), server(weight="x")),
        policy(protectedVips=["10.0.0.300"], maxRemovedPercent="x"),
    ]
    found = problems_of(*wrong)
    assert sorted(rules_of(found)) == [
        "bad-address",
        "bad-address",
        "interface-name",
        "wrong-type",
        "wrong-type",
        "wrong-type",
    ]


def test_what_refers_to_a_document_with_problems_is_not_blamed() -> None:
    found = problems_of(
        director("lb1", {"site": 5}),
        pool("blue", server(weight="x")),
        service(pools=["blue"], directors={"names": ["lb1"]}),
    )
    assert rules_of(found) == ["wrong-type", "wrong-type"]


def test_a_firewall_mark_is_not_blamed_for_a_director_with_problems() -> None:
    found = problems_of(
        director("lb1", addresses=0.5),
        director("lb2"),
        service(
            firewallMark=73,
            addressFamily="ipv4",
            vips=[{"address": "203.0.113.10", "directors": {"names": ["lb1"]}}],
            realServers=[],
        ),
    )
    assert rules_of(found) == ["wrong-type"]


def test_a_persistence_whose_timeout_is_wrong_is_not_said_to_lack_it() -> None:
    found = problems_of(director(), service(persistence={"timeout": 0.5}))
    assert rules_of(found) == ["wrong-type"]


@pytest.mark.parametrize("data", [None, 5, [], {"spec": 5}, {"metadata": 5}, {"metadata": {}}])
def test_where_nothing_is_sound_the_schema_has_the_last_word(data: Any) -> None:
    base = {} if not isinstance(data, dict) else {**service(), **data}
    text = json.dumps(base or data)
    assert all(p.rule != "internal" for p in problems_in(text_file("a.yaml", f"--- {text}\n")))


@st.composite
def broken_in_one_place(draw: st.DrawFn) -> tuple[dict[str, str], str, str]:
    """Sound files of which one value is replaced by one that the schema refuses."""
    [files] = draw(histories(1))
    path = draw(st.sampled_from(sorted(files)))
    document = json.loads(files[path])
    places = list(_places(document.get("spec") or {}, ("spec",)))
    if not places:
        return files, "", ""
    place = draw(st.sampled_from(places))
    holder = document
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = 0.5
    pointer = "".join(f"/{step}" for step in place)
    return {**files, path: json.dumps(document)}, path, pointer


def _places(value: Any, path: tuple[Any, ...]) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for step, item in items:
        yield (*path, step)
        if isinstance(item, dict | list):
            yield from _places(item, (*path, step))


@settings(max_examples=examples(300))
@given(broken_in_one_place())
def test_one_wrong_value_is_one_problem(made: tuple[dict[str, str], str, str]) -> None:
    """Whatever is left out: no rule draws a conclusion from what is not there."""
    files, path, pointer = made
    found = problems_in(*manifest_files(files))
    assert {(p.file, p.pointer) for p in found} <= {(path, pointer)}, found

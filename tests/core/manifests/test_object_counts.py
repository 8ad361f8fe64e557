"""No director gets too many objects: they are counted before any of them is built."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from gitvs.core.manifests.rules.object_counts import (
    MAX_PLACED_SERVERS,
    MAX_RULES_PER_DIRECTOR,
)
from gitvs.core.problems import Problem
from tests.support.manifests.writing import (
    Doc,
    director,
    pool,
    problems_of,
    rules_of,
    server,
    service,
)
from tests.support.work import work_of


def vips(count: int) -> list[str]:
    return [f"203.0.{n // 200}.{n % 200 + 1}" for n in range(count)]


def ports(count: int) -> list[Doc]:
    return [{"port": n + 1} for n in range(count)]


def servers(count: int) -> list[Doc]:
    return [server(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") for n in range(1, count + 1)]


def product(addresses: int, port_count: int, server_count: int, **spec: Any) -> Doc:
    sizes = {"vips": vips(addresses), "ports": ports(port_count)}
    return service(**{**sizes, "realServers": servers(server_count), **spec})


def only(problems: list[Problem]) -> Problem:
    (problem,) = problems
    return problem


def test_a_small_file_that_stands_for_millions_of_rules_names_the_product() -> None:
    problem = only(problems_of(director(), product(100, 100, 200)))
    assert (problem.rule, problem.file) == ("too-many-objects", "all.yaml")
    assert "service web makes 2,010,000 rules on lb1" in problem.message
    assert "100 addresses x 100 ports, each with up to 200 real servers" in problem.message
    assert f"limit for one director is {MAX_RULES_PER_DIRECTOR:,}" in problem.message


@pytest.mark.parametrize("addresses", [99, 100, 101])
def test_the_limit_is_exact(addresses: int) -> None:
    made = product(addresses, 20, 99)
    is_over = addresses * 20 * 100 > MAX_RULES_PER_DIRECTOR
    assert rules_of(problems_of(director(), made)) == (["too-many-objects"] if is_over else [])


def test_what_is_on_other_directors_does_not_count() -> None:
    one = product(60, 20, 99, directors={"names": ["lb1"]})
    other = product(60, 20, 99, directors={"names": ["lb2"]})
    other["metadata"]["name"] = "other"
    assert problems_of(director("lb1"), director("lb2"), one, other) == []
    one["spec"]["directors"]["names"] = ["lb1", "lb2"]
    other["spec"]["vips"] = [vip.replace("203", "204") for vip in vips(60)]
    problem = only(problems_of(director("lb1"), director("lb2"), one, other))
    assert "makes 120,000 of 240,000 rules on lb2" in problem.message


def test_real_servers_of_another_family_do_not_count() -> None:
    both = [*vips(50), *(f"2001:db8::{n:x}" for n in range(1, 51))]
    of_each = [*servers(99), *(server(f"2001:db8:1::{n:x}") for n in range(1, 100))]
    assert problems_of(director(), product(1, 20, 1, vips=both, realServers=of_each)) == []


def test_host_addresses_count_on_the_director_that_has_them() -> None:
    many = director("lb1", addresses={"node": vips(101)})
    few = director("lb2", addresses={"node": vips(1)})
    made = product(1, 20, 99, hostAddresses=["node"])
    del made["spec"]["vips"]
    problem = only(problems_of(many, few, made))
    assert "on lb1: 101 addresses" in problem.message


def test_pools_that_are_named_again_and_again_are_counted_before_they_are_placed() -> None:
    often = [{"name": "web", "weight": n} for n in range(1, 21)]
    many = [service(f"s{n}", vips=[vip], pools=often) for n, vip in enumerate(vips(300))]
    documents = director(), pool("web", *servers(4000)), *many
    calls = work_of(partial(problems_of, *documents)).calls
    found = problems_of(*documents)
    assert [p.rule for p in found if "objects" in p.rule] == ["too-many-objects"] * 2
    assert f"limit of {MAX_PLACED_SERVERS:,}" in " ".join(p.message for p in found)
    assert calls < 300 * 20 * 4000 / 4, "nothing of what is too much was built"


def test_a_product_that_is_too_large_is_refused_without_building_it() -> None:
    calls = work_of(partial(problems_of, director(), product(1000, 1000, 1000))).calls
    assert calls < 1_000_000

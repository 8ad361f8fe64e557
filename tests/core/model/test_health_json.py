"""Health checks as JSON, and in digests."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitvs.core.model.desired import Desired
from gitvs.core.model.health import CheckTimes, Health, OnFailure, TcpCheck
from gitvs.core.model.health_json import (
    health_digest,
    health_from_json,
    health_json,
    name_of_host,
)
from gitvs.core.model.resources import Key
from gitvs.core.model.state import State
from gitvs.core.model.state_digest import state_and_health_digest, state_digest
from gitvs.core.planning.plan import desired_digest
from tests.support.strategies import healths, transitions

KEY = Key("tcp 203.0.113.10:80")
PLAIN = Health((TcpCheck(),))
OTHERS: dict[str, Any] = {
    "checks": (TcpCheck(), TcpCheck(8080)),
    "times": CheckTimes(4.0, 2.0, 5.0 / 3),
    "rise": 3,
    "fall": 2,
    "on_failure": OnFailure.REMOVE,
    "keep_percent": 75.0,
    "lose_percent": 10.0,
    "gain_percent": 10.0,
}


def desired_with(health: Health | None) -> Desired:
    return Desired("lb1", "gitvs0", State(), health={} if health is None else {KEY: health})


@given(healths(), st.text(), st.text(), st.integers(1, 65535))
def test_health_checks_come_back_as_they_were(
    health: Health, send: str, expect: str, port: int
) -> None:
    health = replace(health, checks=(*health.checks, TcpCheck(port, send, expect)))
    assert health_from_json(json.loads(json.dumps(health_json(health)))) == health


def test_whole_numbers_are_written_as_people_write_them() -> None:
    written = json.dumps(health_json(Health((TcpCheck(25, expect="220"),))))
    assert '"intervalSeconds": 5,' in written
    assert '"keepPercent": 50,' in written
    assert '[{"tcp": {"port": 25, "expect": "220"}}]' in written


@pytest.mark.parametrize("field", OTHERS)
def test_every_field_of_health_changes_both_digests(field: str) -> None:
    before, after = desired_with(PLAIN), desired_with(replace(PLAIN, **{field: OTHERS[field]}))
    assert before != after
    assert desired_digest(before) != desired_digest(after)
    assert state_and_health_digest(before) != state_and_health_digest(after)


def test_a_state_without_checks_has_the_digest_that_it_had_before_there_were_any() -> None:
    bare, checked = desired_with(None), desired_with(PLAIN)
    assert state_and_health_digest(bare) == state_digest(bare.state)
    assert desired_digest(bare) == (
        "sha256:2691916d8c2586e1edd8e313b07bb363e478a64a8f6069672bc879dcdd2968cb"
    )
    assert desired_digest(bare) != desired_digest(checked)


@given(transitions())
def test_a_digest_of_checks_is_the_same_by_difference(step: tuple[Desired, Desired]) -> None:
    one, other = (desired.health for desired in step)
    assert health_digest(other, (one, health_digest(one))) == health_digest(other)
    assert (health_digest(one) == health_digest(other)) == (one == other)
    assert (health_digest(one) == "") == (not one)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        *[("www.example.org", "www.example.org"), ("www.example.org:8443", "www.example.org")],
        *[("10.0.0.1:80", "10.0.0.1"), ("[2001:db8::1]:80", "2001:db8::1"), ("", "")],
        *[("[2001:db8::1]", "2001:db8::1"), ("2001:db8::1", "2001:db8::1")],
    ],
)
def test_the_name_that_tls_asks_for_is_the_host_without_its_port(host: str, name: str) -> None:
    assert name_of_host(host) == name

"""Whatever is asked over the control socket: an answer, or a refusal in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gitvs.adapters.service.control_socket import Peer
from gitvs.core.errors import ControlFailed, GitvsError
from tests.support.agents import Running, site
from tests.support.effort import examples

BATCH = 20
"""Requests to one agent; while requests are drawn none runs, since it draws at random too."""

COMMANDS = [
    *("status", "sync", "pause", "resume", "rollback", "drain", "undrain", "standby", "active"),
    "accept-rewrite",
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)
subjects = st.sampled_from(
    [
        "s1",
        "10.0.0.1",
        "10.0.0.1:80",
        "::1",
        "HEAD",
        "HEAD~1",
        "main",
        "-x",
        "@{u}",
        ":/x",
        "a" * 40,
    ]
)
requests = st.fixed_dictionaries(
    {"command": st.sampled_from(COMMANDS) | json_values},
    optional={
        **dict.fromkeys(("now", "retry"), st.booleans() | json_values),
        **dict.fromkeys(("why", "for", "service"), st.sampled_from(["web", "", "x"]) | json_values),
        "subject": subjects | json_values,
        "seconds": st.sampled_from([1, 3600, 0.5, 10**400, -1, True]) | json_values,
        "allow": st.lists(st.sampled_from(["mass-removal", "conflict", "x"])) | json_values,
    },
)


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with site(tmp_path_factory.mktemp("site")).running() as agent:
        yield agent


NASTY: list[dict[str, Any]] = [
    {"command": "pause", "allow": [{}]},
    {"command": "pause", "seconds": 10**400},
    {"command": "pause", "seconds": float("nan")},
    {"command": "pause", "why": "\ud800"},
    {"command": "drain", "subject": "", "service": "web"},
    {"command": "rollback", "subject": "\u202e"},
]


@given(batch=st.lists(requests, min_size=BATCH, max_size=BATCH))
@example(batch=NASTY)
@settings(
    max_examples=examples(300 // BATCH),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_any_request_gets_an_answer_or_a_refusal_in_words(
    tmp_path_factory: pytest.TempPathFactory, batch: list[dict[str, Any]]
) -> None:
    with site(tmp_path_factory.mktemp("site")).running() as running:
        for request in batch:
            received = json.loads(json.dumps(request))
            try:
                answer = running.desk.answer(received, Peer(1, 0))
            except GitvsError as refusal:
                answer = {"error": str(refusal)}
            assert len(json.dumps(answer)) < 100_000


@pytest.mark.parametrize("field", ["command", "why", "seconds", "allow"])
def test_a_value_that_is_too_deep_to_be_shown_is_refused(running: Running, field: str) -> None:
    with pytest.raises(ControlFailed):
        running.desk.answer({"command": "pause", field: nested(10_000)}, Peer(1, 0))


def test_what_a_field_has_to_be_is_said_without_repeating_what_it_is(running: Running) -> None:
    assert running.refusal("pause", why=["x"] * 10) == "why has to be a text, not a list"
    assert running.refusal("pause", seconds="1h") == "seconds has to be a number, not a text"
    assert running.refusal("pause", seconds=True) == "seconds has to be a number, not true or false"
    assert "at most 1000 printable characters" in running.refusal("pause", why="\x1b[31m")
    assert "from 1s to 90d" in running.refusal("pause", seconds=10**400)

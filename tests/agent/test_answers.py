"""What operators are told: what happened, not which word the program has for it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from gitvs.agent.actions.answers import undrain_text
from gitvs.core.model.resources import RealServer
from tests.support.agents import Running, Site, eventually, service, site
from tests.support.builders import real_server


@pytest.fixture(name="here")
def fixture_here(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return site(tmp_path_factory.mktemp("site"))


@pytest.fixture(name="running")
def fixture_running(here: Site) -> Iterator[Running]:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        yield running


def told(running: Running, command: str, **fields: object) -> str:
    text = str(running.order(command, **fields)["text"])
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "THEN", text)


def test_a_drain_says_how_many_connections_are_open(here: Site, running: Running) -> None:
    (_, s2) = here.state().of_type(RealServer)
    here.kernel.set_connections(s2, active=12, inactive=3)
    assert told(running, "drain", subject="s2") == (
        "s2 gets no new connections in 1 virtual service; 12 open"
    )
    assert told(running, "undrain", subject="s2") == (
        "s2 gets new connections again: weight 1, as Git says"
    )


def test_a_removal_says_that_connections_are_cut(running: Running) -> None:
    assert told(running, "drain", subject="s2", now=True) == (
        "s2 is removed from 1 virtual service, and its connections are cut"
    )


def test_what_gits_weight_0_keeps_out_is_not_called_back() -> None:
    assert undrain_text("web2", [real_server(weight=0)]) == (
        "web2 is no longer drained by hand, but Git gives it weight 0"
    )
    assert undrain_text("web2", []) == (
        "web2 is no longer drained by hand, but Git has no such real server"
    )


def test_a_pause_says_until_when_and_what_ends_it(running: Running) -> None:
    assert told(running, "pause", seconds=86400.0) == (
        "paused until THEN (24h): no new commits, no repair of drift; `gitvs resume` ends it"
    )


def test_a_sync_says_which_commit_is_in_force(here: Site, running: Running) -> None:
    first = here.git("rev-parse", "HEAD")[:12]
    assert told(running, "sync") == f"commit {first} is in force: no change was needed"
    second = here.push(service(weight=5))[:12]
    assert told(running, "sync") in (
        f"commit {second} is in force: applied and read back",
        f"commit {second} is in force: no change was needed",  # a poll was quicker
    )
    here.push("kind: [")
    assert running.order("sync")["exitCode"] == 4
    assert told(running, "rollback", seconds=3600.0) == (
        f"commit {first} is in force, and pinned until THEN (1h)"
    )


def test_a_name_that_is_no_real_server_gets_sentences(running: Running) -> None:
    assert running.refusal("drain", subject="s22") == (
        "s22 is no real server here. Did you mean s2? Give its address, its address and port, or"
        " its name; `gitvs status --all` lists them. Nothing was changed"
    )


@pytest.mark.parametrize("revision", ["main", "v1.0", "deadbeef"])
def test_a_rollback_to_a_name_asks_for_an_id_of_the_history(
    running: Running, revision: str
) -> None:
    text = running.refusal("rollback", subject=revision)
    assert text.startswith(f"{revision} is not the id of one commit of the branch")
    assert "`gitvs history` lists the commits" in text
    assert "git branch" not in text

"""What the status says of checked real servers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator

from gitvs.core.health.messages import Heartbeat
from gitvs.core.manifests.schema import schema_for
from gitvs.core.model.health import Failure, Health, OnFailure, TcpCheck
from gitvs.core.status.agent_status import AgentStatus
from gitvs.core.status.health import CheckerStatus
from gitvs.report.status.check import CheckLevel, check_line
from gitvs.report.status.health_table import checked_services, health_text
from gitvs.report.status.status_json import status_json
from gitvs.report.status.status_text import status_text
from tests.support.builders import real_server
from tests.support.health.rounds import HEALTH, Rounds, desired_with, numbered
from tests.support.health.statuses import ANSWERING, health_after
from tests.support.statuses import NOW, in_sync, served, service_with

ONE, TWO, THREE, FOUR = (f"10.0.0.{n}" for n in range(1, 5))
TIMED_OUT = Failure.CONNECT_TIMEOUT


def rounds_with(health: Health = HEALTH, failing: object = (), count: int = 3) -> Rounds:
    """Return four real servers that have passed once, and then failed in some rounds."""
    rounds = Rounds(desired_with(numbered(4), health))
    rounds.round()
    rounds.round(failing, count=count)  # type: ignore[arg-type]  # as Rounds wants
    return rounds


def status_of(
    rounds: Rounds, checker: CheckerStatus | None = ANSWERING, *, is_frozen: bool = False
) -> AgentStatus:
    """Return the status of a director with what the rounds have shown in the kernel."""
    servers = [
        served(real_server(address=address, weight=weight), f"web{address[-1]}")
        for address, weight in rounds.weights.items()
        if weight >= 0
    ]
    health = health_after(rounds, checker=checker, is_frozen=is_frozen)
    return in_sync(services=(service_with(servers=servers),), health=health)


def shown(status: AgentStatus) -> str:
    document = json.loads(json.dumps(status_json(status)))
    Draft202012Validator(schema_for("status")).validate(document)
    return status_text(document, NOW, width=None).plain


def level_of(status: AgentStatus) -> CheckLevel:
    return check_line(json.loads(json.dumps(status_json(status))), NOW)[0]


def test_a_director_whose_real_servers_are_all_up_has_nothing_to_look_at() -> None:
    status = status_of(rounds_with())
    text = shown(status)
    assert "health     4 up; 4 probes" in text
    assert "to look at" not in text
    assert "4 up" in text
    assert level_of(status) is CheckLevel.OK


def test_a_real_server_that_is_down_says_since_when_and_why() -> None:
    text = shown(status_of(rounds_with(failing={TWO: TIMED_OUT})))
    assert text.startswith(
        "lb1: in sync with aaaaaaaaaaaa (by Ada Lovelace, committed 3m ago), but"
    )
    assert "but 1 real server down" in text
    assert "3 up, 1 down" in text
    assert "down 42s: connect-timeout" in text
    assert level_of(status_of(rounds_with(failing=[TWO]))) is CheckLevel.WARNING


def test_what_a_check_said_more_is_shown() -> None:
    document = status_json(status_of(rounds_with(failing={TWO: Failure.CONTENT})))
    (down,) = (h for h in document["services"][0]["health"]["realServers"] if h["failure"])
    down["text"] = "it begins with '500'"
    assert "down 42s: content (it begins with '500')" in status_text(document, NOW).plain


def test_those_that_are_kept_say_so() -> None:
    text = shown(status_of(rounds_with(failing=dict.fromkeys((ONE, TWO, THREE), TIMED_OUT))))
    assert "1 up, 2 down, 1 kept (keepPercent 50)" in text
    assert "down 42s: connect-timeout, kept by keepPercent" in text


def test_a_lost_quorum_says_what_is_needed_and_is_critical() -> None:
    health = replace(HEALTH, lose_percent=30.0, gain_percent=50.0)
    status = status_of(rounds_with(health, [ONE, TWO, THREE]))
    assert "quorum lost: 25 % up, 50 % needed" in shown(status)
    assert "but web lost the quorum" in shown(status)
    assert level_of(status) is CheckLevel.CRITICAL


def test_a_service_of_which_nobody_is_up_is_critical() -> None:
    status = status_of(rounds_with(failing=[ONE, TWO, THREE, FOUR]))
    assert level_of(status) is CheckLevel.CRITICAL


def test_a_check_that_nobody_has_passed_is_said_to_be_on_trial() -> None:
    rounds = rounds_with()
    changed = replace(HEALTH, checks=(TcpCheck(port=99),))
    rounds.define(desired_with(numbered(4), changed))
    rounds.round([ONE, TWO, THREE, FOUR])
    text = shown(status_of(rounds))
    assert "4 up" in text
    assert "on trial: nobody has passed tcp port 99 yet" in text


def test_a_real_server_that_is_removed_is_shown_though_the_kernel_has_it_not() -> None:
    status = status_of(rounds_with(replace(HEALTH, on_failure=OnFailure.REMOVE), [TWO]))
    assert len(status.services[0].servers) == 3
    assert "removed, down 42s: refused" in shown(status)


def test_a_checker_that_does_not_answer_is_said_with_what_that_means() -> None:
    status = status_of(rounds_with(), CheckerStatus(37.0, 2, Heartbeat(4)))
    text = shown(status)
    assert "the checker has not answered for 37s; verdicts stay as they are; started" in text
    assert "again 2 times" in text
    assert level_of(status) is CheckLevel.WARNING


def test_a_failure_of_this_hosts_own_network_is_named() -> None:
    assert "this host's own network" in shown(status_of(rounds_with(), is_frozen=True))


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    status = status_of(rounds_with(failing=dict.fromkeys((ONE, TWO, THREE), TIMED_OUT)))
    document = json.loads(json.dumps(status_json(status)))
    text = status_text(document, NOW, width=width).plain
    assert max(map(len, text.splitlines())) <= width


def test_an_older_agent_without_health_is_shown_as_before() -> None:
    document = json.loads(json.dumps(status_json(in_sync())))
    del document["health"]
    for service in document["services"]:
        del service["health"]
    assert "health" not in status_text(document, NOW).plain


def test_every_check_of_every_real_server_is_a_row() -> None:
    health = replace(HEALTH, checks=(TcpCheck(), TcpCheck(81)))
    rounds = rounds_with(health, {TWO: TIMED_OUT})
    document = json.loads(json.dumps(status_json(status_of(rounds))))
    (service,) = checked_services(document, "web")
    lines = health_text([service], None).plain.splitlines()
    assert lines[0] == "tcp 203.0.113.10:80  web"
    assert lines[1] == "  3 up, 1 down"
    assert sum("tcp port 81" in line for line in lines) == 4
    (down,) = (line for line in lines if "10.0.0.2:8080" in line)
    assert down.split() == [
        *["10.0.0.2:8080", "web2", "down", "42s", "tcp", "3"],
        *["down", "42s:", "connect-timeout"],
    ]


def test_only_checked_services_are_shown_and_only_the_one_that_is_asked_for() -> None:
    document = json.loads(json.dumps(status_json(status_of(rounds_with()))))
    assert len(checked_services(document, None)) == 1
    assert checked_services(document, "mail") == []
    bare = json.loads(json.dumps(status_json(in_sync())))
    assert checked_services(bare, None) == []

"""What `gitvs status --check` tells a monitoring system: a level, and one line."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gitvs.core.model.history import Outcome, Quarantine
from gitvs.core.model.resources import Key
from gitvs.core.planning.gates import Gate
from gitvs.core.planning.operations import OperationKind, Operations
from gitvs.core.planning.repairs import Unrepairable
from gitvs.core.status.agent_status import AgentStatus, HookStatus, LastPass
from gitvs.report.status.check import CheckLevel, check_line, plugin_line
from gitvs.report.status.status_json import status_json
from tests.support.statuses import (
    NOW,
    A,
    B,
    earlier,
    everything,
    in_sync,
    later,
    said,
    unknown,
)

KEY = Key("tcp 203.0.113.10:80")
GATE = Gate("mass-removal", "9 of 10", "30 %", "9 of 10 VIPs would leave", False)


def checked(status: AgentStatus) -> tuple[CheckLevel, str]:
    return check_line(json.loads(json.dumps(status_json(status))), NOW)


def behind(outcome: Outcome | None, **known: object) -> AgentStatus:
    """A director whose newest commit B is not in force."""
    last = replace(
        LastPass(outcome, earlier(seconds=5), 0.5, B, "new commit"),
        **known,  # type: ignore[arg-type]  # as LastPass wants
    )
    source = replace(in_sync().source, head=B)
    return in_sync(source=source, desired_commit=B, last_pass=last)


def failing(minutes: int, failures: int = 9) -> AgentStatus:
    """A director whose source has not answered for so long."""
    source = replace(
        in_sync().source,
        last_answer_at=earlier(minutes=minutes),
        failure_count=failures,
        error="no route to host",
    )
    last = LastPass(Outcome.CONVERGED, NOW, 0.1, A, "poll timer", ("no route to host",))
    return in_sync(source=source, last_pass=last)


def judging(minutes: int) -> AgentStatus:
    """A director that has judged the newest commit for so long."""
    status = behind(Outcome.CONVERGED)
    source = replace(status.source, judging_since=earlier(minutes=minutes))
    return replace(status, source=source, last_pass=in_sync().last_pass)


def by_hand(kind: OperationKind, subject: str = "") -> AgentStatus:
    return in_sync(
        operations=Operations((said(kind, "why not", later(hours=2), subject=subject),)),
        is_standby=kind is OperationKind.STANDBY,
    )


OK = [in_sync(), in_sync(is_standby=True), failing(4), failing(50, failures=2)]
WORTH_A_LOOK = [
    (in_sync(drifted_keys=(KEY, Key("b"))), "changed by something other than gitvs"),
    (in_sync(unrepairable=(Unrepairable(KEY, "no IPv6 here", NOW),)), "no IPv6 here"),
    (by_hand(OperationKind.DRAIN, "web2"), "drained by hand: web2"),
    (by_hand(OperationKind.PAUSE), "PAUSED by alice"),
    (by_hand(OperationKind.PIN, A.id), "PINNED to aaaaaaaaaaaa by alice"),
    (by_hand(OperationKind.STANDBY), "STANDBY by alice"),
    (failing(6), "no route to host"),
    (failing(-50), "2026-01-02 12:50:00 UTC, which is in the future"),
    (
        in_sync(source=replace(in_sync().source, last_answer_at=later(minutes=50))),
        "the source answered at 2026-01-02 12:50:00 UTC, which is in the future",
    ),
    (judging(6), "commit bbbbbbbbbbbb is not yet judged, begun 6m ago"),
    (judging(-50), "commit bbbbbbbbbbbb is not yet judged"),
    (in_sync(hook=HookStatus("[::1]:9713", None, "port in use")), "port in use"),
    (in_sync(applied_commit=None, is_applied=False, applied_at=None), "nothing is applied yet"),
]
WRONG = [
    (unknown(), "no agent is running"),
    (behind(Outcome.BLOCKED, gates=(GATE,)), "blocked by mass-removal"),
    (behind(Outcome.ROLLED_BACK, failures=("EINVAL",)), "rolled back"),
    (behind(Outcome.STUCK, failures=("EBUSY",)), "STUCK"),
    (in_sync(is_transaction_open=True), "STUCK"),
    (behind(None, problems=("no IPVS in this kernel",)), "no IPVS in this kernel"),
    (behind(Outcome.CONVERGED, problems=("web.yaml:3:1: wrong",)), "web.yaml:3:1: wrong"),
    (
        replace(behind(Outcome.CONVERGED), quarantined=(Quarantine(B.id, "EINVAL", NOW),)),
        "in quarantine",
    ),
    (failing(31), "no route to host"),
    (judging(31), "commit bbbbbbbbbbbb is not yet judged, begun 31m ago"),
    (
        in_sync(source=replace(failing(1).source, last_answer_at=None)),
        "has never answered",
    ),
]


@pytest.mark.parametrize("status", OK)
def test_a_director_in_sync_is_ok(status: AgentStatus) -> None:
    assert checked(status) == (
        CheckLevel.OK,
        f"OK: lb1: in sync with {checked(in_sync())[1].partition('with ')[2]}",
    )


@pytest.mark.parametrize(("status", "words"), WORTH_A_LOOK)
def test_what_is_worth_a_look_is_a_warning(status: AgentStatus, words: str) -> None:
    level, text = checked(status)
    assert (level, text.partition(": ")[0]) == (CheckLevel.WARNING, "WARNING")
    assert words in text


@pytest.mark.parametrize(("status", "words"), WRONG)
def test_what_is_wrong_is_critical(status: AgentStatus, words: str) -> None:
    level, text = checked(status)
    assert (level, text.partition(": ")[0]) == (CheckLevel.CRITICAL, "CRITICAL")
    assert words in text


def test_a_commit_may_be_judged_for_some_minutes() -> None:
    assert checked(judging(4))[0] is CheckLevel.OK


def test_no_text_begins_performance_data_or_a_second_line() -> None:
    assert plugin_line("OK: a | b=1\n|c") == "OK: a \\u007c b=1\\u000a\\u007cc\n"


def test_the_worst_comes_first_and_the_rest_is_named() -> None:
    level, text = checked(everything())
    assert level is CheckLevel.CRITICAL
    assert text == (
        "CRITICAL: lb1: commit bbbbbbbbbbbb is blocked by mass-removal, aaaaaaaaaaaa stays in"
        " force: 9 of 10 VIPs would leave (also: newest commit not applied, cannot be repaired,"
        " pinned, standby by hand, drained by hand, drift, health)"
    )

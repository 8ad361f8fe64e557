"""What becomes of real servers whose checks fail, are new, or come back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitvs.core.health.check_states import Standing
from gitvs.core.health.judgement import Quorum, Reason
from gitvs.core.health.records import RecordedAt, health_from_record, health_record
from gitvs.core.health.tracker import HealthTracker
from gitvs.core.model.health import CheckTimes, Failure, Health, OnFailure, TcpCheck
from gitvs.core.model.resources import Scheduler
from gitvs.core.model.state import State
from tests.support.builders import WEB, WEB6, real_server, virtual_service
from tests.support.health.rounds import HEALTH, Rounds, desired_with, numbered, service_of

ONE, TWO, THREE, FOUR, FIVE = (f"10.0.0.{n}" for n in range(1, 6))


def passing(count: int = 4, health: Health = HEALTH, **more: object) -> Rounds:
    """Return a new virtual service whose real servers have all passed once."""
    rounds = Rounds(desired_with(numbered(count), health, **more))  # type: ignore[arg-type]
    rounds.round()
    return rounds


def test_servers_of_a_new_virtual_service_serve_until_they_are_known() -> None:
    rounds = Rounds(desired_with(numbered(3)))
    assert rounds.up == [ONE, TWO, THREE]
    rounds.round([ONE], count=2)
    assert rounds.up == [ONE, TWO, THREE]


def test_a_server_that_fails_leaves_after_three_failures_and_comes_back_after_two_passes() -> None:
    rounds = passing()
    rounds.round([ONE], count=2)
    assert rounds.weights[ONE] == 10
    rounds.round([ONE])
    assert rounds.weights == {ONE: 0, TWO: 10, THREE: 10, FOUR: 10}
    rounds.round()
    assert rounds.weights[ONE] == 0
    rounds.round()
    assert rounds.weights[ONE] == 10


def test_a_failure_between_passes_changes_nothing() -> None:
    rounds = passing()
    for _ in range(5):
        rounds.round([ONE], count=2)
        rounds.round()
    assert rounds.up == [ONE, TWO, THREE, FOUR]


def test_health_takes_half_of_the_servers_out_at_most_unless_they_refuse() -> None:
    rounds = passing()
    rounds.round(dict.fromkeys((ONE, TWO, THREE), Failure.CONNECT_TIMEOUT), count=3)
    assert rounds.up == [ONE, FOUR]
    assert rounds.reason(ONE) is Reason.KEPT
    rounds = passing()
    rounds.round([ONE, TWO, THREE], count=3)
    assert rounds.up == [FOUR]


def test_servers_that_answered_wrongly_are_kept_before_those_that_did_not_answer() -> None:
    rounds = passing()
    rounds.round(
        {ONE: Failure.CONNECT_TIMEOUT, TWO: Failure.CONNECT_TIMEOUT, THREE: Failure.CONTENT},
        count=3,
    )
    assert rounds.up == [THREE, FOUR]


def test_if_all_are_down_as_many_as_may_be_kept_go_on_serving() -> None:
    rounds = passing()
    rounds.round([ONE, TWO, THREE, FOUR], count=3)
    assert rounds.up, "a virtual service is never empty"
    rounds.round(count=2)
    assert rounds.up == [ONE, TWO, THREE, FOUR]


def test_one_family_may_be_down_alone() -> None:
    v6 = desired_with(numbered(3, WEB6), HEALTH, WEB6)
    both = desired_with(numbered(3))
    both = replace(
        both,
        state=State([*both.state.values(), *v6.state.values()]),
        health=both.health.with_groups(v6.health.groups),  # type: ignore[attr-defined]
    )
    rounds = Rounds(both)
    rounds.round()
    rounds.round([f"2001:db8:1::{n}" for n in (1, 2, 3)], count=3)
    assert set(rounds.up) >= {ONE, TWO, THREE}
    assert rounds.tracker.services[WEB6.key].judgement.quorum is Quorum.LOST
    assert rounds.tracker.services[WEB.key].judgement.quorum is Quorum.HELD


def test_a_check_that_nobody_passes_takes_nobody_out_and_the_former_one_goes_on_counting() -> None:
    rounds = passing()
    wrong = TcpCheck(port=81)
    rounds.define(desired_with(numbered(4), replace(HEALTH, checks=(wrong,))))
    tracked = rounds.tracker.services[WEB.key]
    assert tracked.verdicts.on_trial == {(wrong, CheckTimes())}
    assert {w.probe.port for w in rounds.tracker.wanted_probes().values()} == {8080, 81}
    failing_wrong = {i for i, w in rounds.tracker.wanted_probes().items() if w.probe.port == 81}
    assert len(failing_wrong) == 4


def test_a_wrong_check_of_a_live_virtual_service_takes_nobody_out() -> None:
    rounds = Rounds(desired_with(numbered(2), None))
    rounds.define(desired_with(numbered(2)))
    rounds.round([ONE, TWO], count=20)
    assert rounds.up == [ONE, TWO]
    rounds.round([TWO])
    assert rounds.up == [ONE, TWO]
    rounds.round([TWO], count=2)
    assert rounds.up == [ONE], "the trial is over, and failures count from then on"


def test_a_server_drained_by_hand_while_its_check_is_on_trial_comes_back() -> None:
    rounds = Rounds(desired_with(numbered(2), None))
    desired = desired_with(numbered(2))
    rounds.define(desired)
    rounds.round([ONE, TWO], count=5)
    drained = replace(desired, state=desired.state.with_changes([numbered(2, weight=0)[0]]))
    rounds.define(desired, drained)
    rounds.round([ONE, TWO], count=5)
    rounds.define(desired)
    rounds.round([ONE, TWO], count=5)
    assert rounds.up == [ONE, TWO]


def test_a_server_that_is_down_stays_out_while_its_weight_changes() -> None:
    rounds = passing()
    rounds.round([ONE], count=3)
    heavier = [replace(numbered(4)[0], weight=50), *numbered(4)[1:]]
    rounds.define(desired_with(heavier))
    assert rounds.weights[ONE] == 0
    rounds.round(count=2)
    assert rounds.weights[ONE] == 50


def test_a_server_drained_by_hand_while_it_is_down_stays_out_until_it_is_up() -> None:
    rounds = passing()
    rounds.round([ONE], count=3)
    desired = rounds.desired
    drained = replace(desired, state=desired.state.with_changes([numbered(4, weight=0)[0]]))
    rounds.define(desired, drained)
    rounds.round([ONE], count=2)
    rounds.define(desired)
    assert rounds.weights[ONE] == 0
    rounds.round(count=2)
    assert rounds.weights[ONE] == 10


def test_a_newcomer_waits_for_its_first_pass_while_another_is_up() -> None:
    rounds = passing(2)
    rounds.define(desired_with(numbered(3)))
    assert rounds.reason(THREE) is Reason.WAITING
    assert rounds.up == [ONE, TWO]
    rounds.round([THREE], count=4)
    assert rounds.up == [ONE, TWO]
    rounds.round(count=2)
    assert rounds.up == [ONE, TWO, THREE]


def test_a_newcomer_does_not_wait_where_nobody_is_up() -> None:
    rounds = passing(2)
    rounds.round([ONE, TWO], count=3)
    rounds.define(desired_with(numbered(3)))
    assert THREE in rounds.up


def test_a_server_that_another_virtual_service_checks_already_is_known_at_once() -> None:
    rounds = passing(2)
    other = virtual_service(WEB6)
    wanted = rounds.desired
    servers = [real_server(WEB6, address, 8080, 10) for address in ("10.0.0.1", "10.0.0.2")]
    rounds.round([TWO], count=3)
    rounds.define(
        replace(
            wanted,
            state=State([*wanted.state.values(), other, *servers]),
            health=wanted.health.with_groups({WEB6.key: {WEB6.key: HEALTH}}),  # type: ignore[attr-defined]
        )
    )
    verdicts = rounds.tracker.services[WEB6.key].verdicts.servers
    assert [verdicts[s.key].standing for s in servers] == [Standing.UP, Standing.DOWN]
    assert len(rounds.tracker.wanted_probes()) == 2, "equal probes run once"


def test_a_server_that_falls_again_and_again_comes_back_later() -> None:
    rounds = passing()
    for _ in range(3):
        rounds.round([ONE], count=3)
        rounds.round(count=8)
    rounds.round([ONE], count=3)
    rounds.round(count=15)
    assert ONE not in rounds.up
    rounds.round()
    assert ONE in rounds.up


def test_servers_that_fall_together_come_back_as_soon_as_they_can() -> None:
    rounds = passing(5)
    everybody = [ONE, TWO, THREE, FOUR, FIVE]
    for _ in range(4):
        rounds.round(everybody, count=3)
        rounds.round(count=2)
        assert rounds.up == everybody


def test_the_quorum_is_lost_and_gained_by_weight() -> None:
    rounds = passing(10, replace(HEALTH, lose_percent=30, gain_percent=50))
    everybody = [f"10.0.0.{n}" for n in range(1, 11)]
    quorum = lambda: rounds.tracker.services[service_of(rounds.desired)].judgement.quorum  # noqa: E731
    rounds.round(everybody[:7], count=3)
    assert quorum() is Quorum.HELD
    rounds.round(everybody[:8], count=3)
    assert quorum() is Quorum.LOST
    rounds.round(everybody[:6], count=2)
    assert quorum() is Quorum.LOST, "40 % are not enough to gain it"
    rounds.round(everybody[:5], count=2)
    assert quorum() is Quorum.HELD


def test_the_connections_of_a_dead_server_end_after_the_drain_timeout() -> None:
    rounds = passing()
    rounds.round([ONE], count=3)
    assert rounds.weights[ONE] == 0
    rounds.now = rounds.tracker.next_look_seconds
    rounds.tracker.judge(rounds.now)
    assert rounds.weights[ONE] == -1
    rounds = passing(4, scheduler=Scheduler.SH)
    rounds.round([ONE], count=50)
    assert rounds.weights[ONE] == 0, "under sh, other clients would be moved"
    rounds = passing()
    rounds.round({ONE: Failure.CONTENT}, count=50)
    assert rounds.weights[ONE] == 0, "it answers, so its connections may go on"


def test_a_server_is_removed_where_the_manifests_say_so() -> None:
    rounds = passing(4, replace(HEALTH, on_failure=OnFailure.REMOVE))
    rounds.round([ONE], count=3)
    assert rounds.weights[ONE] == -1
    rounds.round(count=2)
    assert rounds.weights[ONE] == 10


def test_if_nearly_everything_fails_at_once_nothing_is_taken_out_for_a_minute() -> None:
    rounds = passing(12)
    everybody = [f"10.0.0.{n}" for n in range(1, 13)]
    rounds.round(everybody[1:], count=3)
    assert rounds.up == everybody
    assert rounds.reason(TWO) is Reason.FROZEN
    rounds.round(everybody[1:], count=8)
    assert rounds.up == everybody
    rounds.round(everybody[1:], count=5)
    assert rounds.up == [ONE], "a site may really be dead"
    rounds.round(count=2)
    assert rounds.up == everybody


def test_a_restarted_checker_process_changes_nothing() -> None:
    rounds = passing()
    rounds.round([ONE], count=3)
    rounds.round([ONE, TWO], count=2)
    rounds.tracker.restart_runs()
    rounds.runs.clear()
    assert rounds.up == [TWO, THREE, FOUR]
    rounds.round([ONE, TWO])
    assert rounds.up == [THREE, FOUR], "two failures before it and one after it are three"


@pytest.mark.parametrize("count", [1, 3])
def test_judging_twice_changes_nothing(count: int) -> None:
    rounds = passing()
    rounds.round([ONE, TWO], count=count)
    tracked = rounds.tracker.services[WEB.key]
    assert tracked.judged(rounds.now) == tracked


def test_a_virtual_service_without_checks_any_more_is_forgotten() -> None:
    rounds = passing()
    rounds.round([ONE], count=3)
    rounds.define(desired_with(numbered(4), None))
    assert rounds.up == [ONE, TWO, THREE, FOUR]
    assert rounds.tracker.wanted_probes() == {}
    assert rounds.tracker.serving().changed == {numbered(4)[0].key}


def test_a_newcomer_that_waits_goes_on_waiting_after_a_restart() -> None:
    rounds = passing(3)
    rounds.define(desired_with(numbered(4)))
    assert rounds.up == [ONE, TWO, THREE]
    now = RecordedAt(rounds.now, rounds.now, "boot")
    record = health_record(rounds.tracker.troubled, now)
    rounds.tracker = HealthTracker(health_from_record(record, now, rounds.desired.health))
    rounds.define(rounds.desired)
    assert rounds.up == [ONE, TWO, THREE]

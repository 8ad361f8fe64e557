"""What a restart knows of health: as much as was recorded, as long as that is worth something."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gitvs.core.health.records import RecordedAt, health_from_record, health_record, is_recent
from gitvs.core.health.tracker import HealthTracker
from tests.support.health.rounds import Rounds, desired_with, numbered

ONE, TWO, THREE, FOUR = (f"10.0.0.{n}" for n in range(1, 5))
WALL = 1_000_000.0


def with_one_down() -> Rounds:
    rounds = Rounds(desired_with(numbered(4)))
    rounds.round()
    rounds.round([ONE], count=3)
    return rounds


def restarted(rounds: Rounds, before: RecordedAt, now: RecordedAt) -> Rounds:
    """Return the director after a restart at a moment, with what was recorded before."""
    record = json.loads(json.dumps(health_record(rounds.tracker.troubled, before)))
    tracker = HealthTracker(health_from_record(record, now, rounds.desired.health))
    again = replace(rounds, now=now.boottime_seconds, tracker=tracker)
    again.runs.clear()
    again.marks.clear()
    return again


def test_what_is_sound_is_not_recorded() -> None:
    rounds = Rounds(desired_with(numbered(4)))
    assert rounds.tracker.troubled.keys() == rounds.tracker.services.keys(), "still on trial"
    rounds.round()
    assert rounds.tracker.troubled == {}
    rounds.round([ONE], count=3)
    assert rounds.tracker.troubled.keys() == rounds.tracker.services.keys()


def test_a_sound_virtual_service_is_known_to_be_proven_after_a_restart() -> None:
    rounds = Rounds(desired_with(numbered(4)))
    rounds.round()
    at = RecordedAt(WALL, rounds.now, "boot")
    again = restarted(rounds, at, at)
    again.round([ONE, TWO], count=3)
    assert again.up == [THREE, FOUR], "its failures count at once"


@pytest.mark.parametrize(
    ("down_seconds", "is_known"), [(0, True), (299, True), (301, False), (-5, False)]
)
def test_after_a_reboot_it_counts_if_the_host_was_down_shortly(
    down_seconds: float, is_known: bool
) -> None:
    rounds = with_one_down()
    before = RecordedAt(WALL, rounds.now, "boot")
    after = RecordedAt(WALL + down_seconds, 20.0, "another boot")
    again = restarted(rounds, before, after)
    assert (ONE in again.up) is not is_known
    tracked = next(iter(again.tracker.services.values()))
    falls = [fall for verdict in tracked.verdicts.servers.values() for fall in verdict.falls]
    assert falls == ([20.0 - down_seconds] if is_known else [])


def test_within_a_boot_it_counts_however_long_no_agent_ran() -> None:
    rounds = with_one_down()
    before = RecordedAt(WALL, rounds.now, "boot")
    after = RecordedAt(WALL - 9999, rounds.now + 86400, "boot")
    assert restarted(rounds, before, after).up == [TWO, THREE, FOUR]


def test_a_record_is_true_as_long_as_an_agent_was_alive_that_would_have_written_another() -> None:
    rounds = with_one_down()
    before = RecordedAt(WALL, rounds.now, "boot")
    record = health_record(rounds.tracker.troubled, before)
    a_day_later = replace(before, wall_seconds=WALL + 86400)
    assert not is_recent(record, a_day_later)
    alive = replace(a_day_later, alive_seconds=WALL + 86400 - 60)
    assert is_recent(record, alive)
    after = replace(alive, boottime_seconds=20.0, boot_id="another boot")
    assert restarted(rounds, before, after).up == [TWO, THREE, FOUR]

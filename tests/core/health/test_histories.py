"""What holds after each step of any history: results, operators, commits and restarts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gitvs.core.health.check_states import Standing
from gitvs.core.health.judgement import Reason
from gitvs.core.health.records import RecordedAt, health_from_record, health_record
from gitvs.core.health.tracker import HealthTracker
from gitvs.core.model.desired import Desired
from gitvs.core.model.health import Failure, Health, OnFailure, TcpCheck
from gitvs.core.model.resources import RealServer
from tests.support.builders import real_server
from tests.support.effort import examples
from tests.support.health.rounds import Rounds, desired_with

ADDRESSES = [f"10.0.0.{n}" for n in range(1, 6)]
CHECKS = [(TcpCheck(),), (TcpCheck(81),), (TcpCheck(), TcpCheck(81))]
PICKED = st.sampled_from(ADDRESSES)


@dataclass
class History:
    """A director, and what Git and operators say of its one virtual service."""

    health: Health
    weights: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ADDRESSES[:4], 10))
    drained: set[str] = field(default_factory=set)
    rounds: Rounds = field(init=False)

    def __post_init__(self) -> None:
        self.rounds = Rounds(self._desired())

    def _desired(self, drained: frozenset[str] = frozenset()) -> Desired:
        servers = [
            real_server(address=address, weight=0 if address in drained else weight)
            for address, weight in self.weights.items()
        ]
        return desired_with(servers, self.health)

    def take_up(self) -> None:
        """Take up what Git and operators say now."""
        self.rounds.define(self._desired(), self._desired(frozenset(self.drained)))

    def restart(self) -> None:
        """Continue as another process, with what was recorded."""
        before = self.rounds.weights
        now = RecordedAt(self.rounds.now, self.rounds.now, "boot")
        record = json.loads(json.dumps(health_record(self.rounds.tracker.troubled, now)))
        self.rounds.tracker = HealthTracker(
            health_from_record(record, now, self.rounds.desired.health)
        )
        self.rounds.runs.clear()
        self.rounds.marks.clear()
        self.take_up()
        assert self.rounds.weights == before, "a restart takes nobody out, and brings nobody in"


Step = tuple[str, object]
STEPS = st.one_of(
    st.tuples(st.just("results"), st.dictionaries(PICKED, st.sampled_from(Failure))),
    st.tuples(st.just("results"), st.dictionaries(PICKED, st.sampled_from(Failure))),
    st.tuples(st.just("drain"), PICKED),
    st.tuples(st.just("undrain"), PICKED),
    st.tuples(st.just("weight"), st.tuples(PICKED, st.sampled_from([0, 1, 10]))),
    st.tuples(st.just("leave"), PICKED),
    st.tuples(st.just("checks"), st.sampled_from(CHECKS)),
    st.tuples(st.just("keep"), st.sampled_from([0.0, 50.0, 100.0])),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(st.just("new checker"), st.none()),
    st.tuples(st.just("time"), st.sampled_from([1.0, 60.0, 700.0])),
)
HEALTHS = st.builds(
    Health,
    st.sampled_from(CHECKS),
    rise=st.integers(1, 3),
    fall=st.integers(1, 3),
    on_failure=st.sampled_from(OnFailure),
    keep_percent=st.sampled_from([0.0, 50.0, 100.0]),
)


def do(history: History, step: Step) -> None:
    rounds = history.rounds
    match step:
        case ("results", failing):
            assert isinstance(failing, Mapping)
            rounds.round(failing)
        case ("drain", address):
            history.drained.add(str(address))
            history.take_up()
        case ("undrain", address):
            history.drained.discard(str(address))
            history.take_up()
        case ("weight", (str(address), int(weight))):
            history.weights[address] = weight
            history.take_up()
        case ("leave", address):
            if len(history.weights) > 1:
                history.weights.pop(str(address), None)
            history.take_up()
        case ("checks", tuple(checks)):
            history.health = replace(history.health, checks=checks)
            history.take_up()
        case ("keep", float(percent)):
            history.health = replace(history.health, keep_percent=percent)
            history.take_up()
        case ("restart", _):
            history.restart()
        case ("new checker", _):
            rounds.runs.clear()
            rounds.marks.clear()
            rounds.tracker.restart_runs()
        case ("time", float(seconds)):
            rounds.now += seconds
            rounds.tracker.judge(rounds.now)


def look(history: History) -> None:
    """Check what always holds."""
    rounds, tracker = history.rounds, history.rounds.tracker
    (tracked,) = tracker.services.values()
    serving, reasons = tracked.judgement.serving, tracked.judgement.reasons
    assert rounds.operated is not None
    servers = {s.key: s for s in rounds.operated.state.of_type(RealServer)}
    assert reasons.keys() == {key for key, server in servers.items() if server.weight}
    weights = rounds.weights
    assert not reasons or any(weight > 0 for weight in weights.values()), "never empty"
    for key, server in servers.items():
        if not server.weight:
            assert weights[str(server.address)] <= 0, "operators and Git are above health"
            continue
        standing = tracked.verdicts.servers[key].standing
        assert (weights[str(server.address)] > 0) == (key in serving)
        if standing is Standing.UP:
            assert key in serving, "who is up serves"
        if standing is Standing.DOWN and key in serving:
            assert reasons[key] in (Reason.KEPT, Reason.LAST, Reason.FROZEN)
    before = tracker.serving().out
    assert tracker.judge(rounds.now) == frozenset(), "judging twice changes nothing"
    if (quiet_seconds := tracker.next_look_seconds - rounds.now) > 0:
        later = rounds.now + min(0.999 * quiet_seconds, 86400)
        assert tracker.judge(later) == frozenset(), "nothing moves by itself"
        assert tracked.judged(later).out == before, "and nothing would"
    assert tracker.serving().out == before


@settings(max_examples=examples(300))
@given(HEALTHS, st.lists(STEPS, max_size=25))
def test_what_holds_after_each_step_of_any_history(health: Health, steps: list[Step]) -> None:
    history = History(health)
    look(history)
    for step in steps:
        do(history, step)
        look(history)


@given(HEALTHS, st.lists(STEPS, max_size=15), st.sampled_from(Failure))
def test_whatever_was_before_all_serve_again_once_all_pass(
    health: Health, steps: list[Step], failure: Failure
) -> None:
    history = History(health)
    for step in steps:
        do(history, step)
    history.rounds.round(dict.fromkeys(ADDRESSES, failure), count=3)
    history.rounds.round(count=50)
    wanted = {
        address: 0 if address in history.drained else weight
        for address, weight in history.weights.items()
    }
    assert history.rounds.weights == wanted


@given(HEALTHS, st.lists(STEPS, max_size=15))
def test_whatever_was_before_a_dead_one_leaves_while_the_others_are_up(
    health: Health, steps: list[Step]
) -> None:
    history = History(health)
    for step in steps:
        do(history, step)
    history.rounds.round(count=50)
    dead = next(iter(history.weights))
    others = [a for a in history.weights if a != dead and history.rounds.weights[a] > 0]
    history.rounds.round([dead], count=3)
    assert not others or history.rounds.weights[dead] <= 0

"""Passes that read only what may have to change, held against passes that read everything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Outcome
from gitvs.core.model.observation import Observation, Scope
from gitvs.core.model.resources import Key, RealServer, Scheduler
from gitvs.core.model.state import State
from gitvs.core.planning.plan import Change, Phase
from gitvs.reconcile.one_pass import PassResult
from tests.support.builders import endpoint, real_server, virtual_service
from tests.support.effort import examples
from tests.support.memory.kernel import MemoryKernel
from tests.support.strategies import LISTENERS, desired_states
from tests.support.sweep import World

WEB, DNS = endpoint(port=443), endpoint(port=53)
EVERYTHING = Scope(
    frozenset({"gitvs0"}),
    frozenset({"net.ipv4.vs.expire_nodest_conn"}),
    includes_host_settings=False,
)


class Watched(MemoryKernel):
    """A kernel that remembers which virtual services it was asked for."""

    def __init__(self) -> None:
        super().__init__("gitvs:test")
        self.asked: list[set[Key] | None] = []

    def observe(self, scope: Scope) -> Observation:
        """Note what is read; None is everything."""
        self.asked.append(None if scope.listeners is None else {x.key for x in scope.listeners})
        return super().observe(scope)


def two_services(weight: int = 1) -> Desired:
    """A state of which the first service's real server has this weight."""
    resources = [
        virtual_service(WEB),
        real_server(WEB, weight=weight),
        virtual_service(DNS),
        real_server(DNS),
    ]
    return Desired("lb1", "gitvs0", State(resources))


def quick_world(folder: Path) -> tuple[World, Watched]:
    """A director on which two services are in force."""
    kernel = Watched()
    world = World(kernel, folder, has_memory=True, is_quick=True)
    assert world.bring(two_services()).outcome is Outcome.APPLIED
    kernel.asked.clear()
    return world, kernel


def is_whole(done: PassResult) -> bool:
    assert done.planned is not None
    return done.planned.is_full_reading


def test_a_changed_service_alone_is_read_before_and_after(tmp_path: Path) -> None:
    world, kernel = quick_world(tmp_path)
    done = world.bring(two_services(weight=5))
    assert done.outcome is Outcome.APPLIED
    assert not is_whole(done)
    assert kernel.asked == [{WEB.key}, {WEB.key}]
    assert world.state()[real_server(WEB).key] == real_server(WEB, weight=5)


def test_where_something_else_has_written_everything_is_read(tmp_path: Path) -> None:
    world, kernel = quick_world(tmp_path)
    for listener in (WEB, DNS):
        server = real_server(listener)
        kernel.execute([Change(server, replace(server, weight=9), Phase.MODIFY)])
    done = world.bring(two_services(weight=5))
    assert kernel.asked[:2] == [{WEB.key}, None]
    assert is_whole(done)
    assert world.state()[real_server(DNS).key] == real_server(DNS), "its drift was found as well"


def test_a_service_that_somebody_else_made_meanwhile_is_a_conflict(tmp_path: Path) -> None:
    world, kernel = quick_world(tmp_path)
    foreign = virtual_service(endpoint(port=25))
    kernel.execute([Change(None, foreign, Phase.MAKE)])
    state = State([*two_services().state.values(), foreign])
    done = world.bring(replace(two_services(), state=state))
    assert done.outcome is Outcome.BLOCKED
    assert world.last is None, "nothing is built upon a pass that did not come to an end"


def test_drift_of_what_is_not_read_waits_for_a_pass_that_reads_it(tmp_path: Path) -> None:
    world, kernel = quick_world(tmp_path)
    kernel.execute([Change(real_server(DNS), replace(real_server(DNS), weight=9), Phase.MODIFY)])
    assert not is_whole(world.bring(two_services(weight=5)))
    world.last = None
    done = world.bring(two_services(weight=5))
    assert done.outcome is Outcome.APPLIED
    assert world.state()[real_server(DNS).key] == real_server(DNS)


def test_a_drain_is_looked_at_without_reading_the_other_services(tmp_path: Path) -> None:
    world, kernel = quick_world(tmp_path)
    without = two_services().state.with_changes(drop=[real_server(WEB).key])
    kernel.set_connections(real_server(WEB), active=1)
    wanted = replace(two_services(), state=without)
    assert world.bring(wanted).outcome is Outcome.APPLIED
    assert world.bring(wanted).outcome is Outcome.CONVERGED, "its connection is there still"
    kernel.set_connections(real_server(WEB))
    kernel.asked.clear()
    done = world.bring(wanted)
    assert done.outcome is Outcome.APPLIED
    assert kernel.asked == 3 * [{WEB.key}], "before, between and after"
    assert real_server(WEB).key not in world.state()


def test_more_than_half_of_the_services_are_read_as_a_whole_and_fewer_one_by_one(
    tmp_path: Path,
) -> None:
    kernel = Watched()
    world = World(kernel, tmp_path, has_memory=True, is_quick=True)
    services = [virtual_service(endpoint(port=n)) for n in range(1, 41)]
    desired = Desired("lb1", "gitvs0", State(services))
    world.bring(replace(desired, state=State()))

    def asked_for(count: int, scheduler: Scheduler) -> tuple[bool, set[int | None]]:
        """Change some services; return whether all was read for the plan, and what was asked."""
        changed = [virtual_service(s.listener, scheduler) for s in services[:count]]
        kernel.asked.clear()
        done = world.bring(replace(desired, state=State([*changed, *services[count:]])))
        assert done.outcome is Outcome.APPLIED
        return is_whole(done), {None if x is None else len(x) for x in kernel.asked}

    assert asked_for(40, Scheduler.RR) == (True, {None})
    assert asked_for(20, Scheduler.SED) == (True, {None}), "the other half is wlc again"
    assert asked_for(20, Scheduler.NQ) == (False, {20})


@st.composite
def drifts(draw: st.DrawFn) -> tuple[int, int]:
    """Which real server, and the weight that somebody gives it."""
    return draw(st.integers(0, 30)), draw(st.integers(0, 9))


def drift(world: World, which: int, weight: int) -> None:
    """Let somebody change a weight by another program."""
    servers = world.kernel.observe(EVERYTHING).state.of_type(RealServer)
    if servers:
        server = servers[which % len(servers)]
        world.kernel.execute([Change(server, replace(server, weight=weight), Phase.MODIFY)])


@given(st.lists(st.tuples(desired_states(LISTENERS[:4]), st.none() | drifts()), max_size=5))
@settings(max_examples=examples(60))
def test_both_ways_lead_to_the_same_kernel(
    steps: list[tuple[Desired, tuple[int, int] | None]],
) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        worlds = [
            World(MemoryKernel("gitvs:test"), Path(one)),
            World(MemoryKernel("gitvs:test"), Path(other), has_memory=True, is_quick=True),
        ]
        has_drifted, last = False, two_services()
        for desired, somebody in steps:
            results = [world.bring(desired).outcome for world in worlds]
            assert results[0] == results[1] or has_drifted
            if Outcome.BLOCKED not in results:  # a blocked commit repairs nothing by itself
                last = desired
            if somebody is not None:
                has_drifted = True
                for world in worlds:
                    drift(world, *somebody)
        worlds[1].last = None  # as when the drift timer comes
        ends = []
        for world in worlds:
            world.bring(last)
            world.clock.seconds += 3600  # all drains are over
            ends.append((world.bring(last).outcome, world.kernel.observe(EVERYTHING).state))
        assert ends[0] == ends[1]

"""What a repair is, and what every pass promises when something drifted and something is sick."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from gitvs.core.model.desired import Desired
from gitvs.core.model.ledger import Drain, Ledger
from gitvs.core.model.observation import ConnectionCounts, Observation
from gitvs.core.model.resources import (
    DummyInterface,
    Endpoint,
    Key,
    LocalRoute,
    RealServer,
    Resource,
    Scheduler,
    SchedulerFlag,
    Sysctl,
    Timeout,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.core.planning.overlay import with_fallback_flags
from gitvs.core.planning.plan import PHASES, Change
from gitvs.core.planning.proposal import Proposal, propose
from gitvs.core.planning.repairs import Failures, find_repairs, merged_ledger
from tests.core.planning.test_plan_properties import perform, reaches, servers_of, timeouts
from tests.support.builders import (
    create,
    delete,
    dummy,
    endpoint,
    real_server,
    sysctl,
    update,
    vip,
    virtual_service,
)
from tests.support.strategies import transitions

OTHER = endpoint("203.0.113.11")
SERVICE, SERVER = virtual_service(), real_server()


def desired(*resources: Resource) -> Desired:
    return Desired("lb1", "gitvs0", State(resources))


def repairs(before: Desired | None, after: Desired, *changes: Change) -> set[Key]:
    return set(find_repairs(changes, before, after))


def test_what_is_the_same_in_both_states_is_a_repair() -> None:
    before, after = desired(SERVICE, SERVER), desired(SERVICE, replace(SERVER, weight=7))
    changes = (create(SERVICE), create(replace(SERVER, weight=7)))
    assert repairs(before, after, *changes) == {SERVICE.key}
    assert repairs(before, before, *changes) == {SERVICE.key, SERVER.key}
    assert repairs(None, after, *changes) == set()


def test_what_comes_after_a_change_of_the_commit_is_no_repair() -> None:
    vip_, other = vip(), replace(SERVICE, scheduler=Scheduler.WRR)
    before, after = desired(vip_, SERVICE, SERVER), desired(vip_, other, SERVER)
    changes = (create(other), create(SERVER), create(vip_), create(vip("203.0.113.11")))
    assert repairs(before, after, *changes) == {vip("203.0.113.11").key}


def test_a_vip_does_not_wait_for_a_service_that_is_new() -> None:
    before, after = desired(vip()), desired(vip(), SERVICE)
    assert repairs(before, after, create(vip()), create(SERVICE)) == {vip().key}


def test_a_fallback_flag_goes_with_the_real_servers_of_the_commit() -> None:
    plain = virtual_service(scheduler=Scheduler.SH)
    flagged = virtual_service(scheduler=Scheduler.SH, flags=[SchedulerFlag.SH_FALLBACK])
    before, after = desired(plain, SERVER), desired(plain)
    lowered = update(SERVER, replace(SERVER, weight=0))
    assert repairs(before, after, update(plain, flagged), lowered) == set()
    assert repairs(before, after, update(plain, flagged)) == {plain.key}


def test_the_end_of_a_drain_is_a_repair() -> None:
    nothing = desired()
    assert repairs(nothing, nothing, delete(SERVER), delete(SERVICE)) == {SERVER.key, SERVICE.key}


def left_out(present: State, target: State, failed: Resource, *changes: Change) -> set[Key]:
    """What is not done because of something that failed."""
    failures = Failures(present, target, {failed.key: "refused"})
    done = failures.possible(changes)
    assert {c.key for c in changes} - {c.key for c in done} <= failures.reasons.keys()
    return set(failures.reasons) - {failed.key}


def test_what_needs_a_failed_object_is_left_out() -> None:
    target = State([SERVICE, SERVER, dummy(), vip(), virtual_service(OTHER)])
    flag = sysctl("net.ipv4.conf.gitvs0.arp_ignore", "1")
    changes = [create(r) for r in (SERVICE, SERVER, vip(), flag, virtual_service(OTHER))]
    assert left_out(State(), target, SERVICE, *changes) == {SERVER.key, vip().key}
    assert left_out(State(), target, dummy(), *changes) == {vip().key, flag.key}
    assert left_out(State(), target, vip(), *changes) == set()


def test_what_exists_can_be_needed_though_it_is_not_right() -> None:
    target = State([SERVICE, SERVER, dummy(), vip()])
    changes = [create(r) for r in (SERVER, vip())]
    assert left_out(State([SERVICE]), target, SERVICE, *changes) == set()


def test_no_weight_goes_to_0_under_a_service_that_could_not_be_changed() -> None:
    lowered, raised = (update(SERVER, replace(SERVER, weight=w)) for w in (0, 5))
    present = State([SERVICE, SERVER])
    assert left_out(present, present, SERVICE, lowered) == {SERVER.key}
    assert left_out(present, present, SERVICE, raised) == set()


def test_a_vip_is_bound_if_one_of_its_services_is_there() -> None:
    https = virtual_service(endpoint(port=443))
    target = State([SERVICE, https, vip(), dummy()])
    assert left_out(State([dummy()]), target, SERVICE, create(vip())) == set()


def test_the_ledger_of_a_part_keeps_the_rest_as_it_was() -> None:
    a, b, c = Key("a"), Key("b"), Key("c")
    before = Ledger(frozenset({a, b}), {b: Drain(b, 1, 2)}, {c: sysctl()})
    after = Ledger(frozenset({a, c}), {a: Drain(a, 3, 4)}, {})
    assert merged_ledger(before, after, {b, c}) == Ledger(
        frozenset({a, b}), {a: Drain(a, 3, 4), b: Drain(b, 1, 2)}, {c: sysctl()}
    )
    assert merged_ledger(before, after, set()) == after


@dataclass(frozen=True, slots=True)
class World:
    """A director on which something drifted, and one object refuses every change."""

    before: Desired
    after: Desired
    observed: State
    proposal: Proposal
    sick: Key | None


@st.composite
def worlds(draw: st.DrawFn) -> World:
    before, after = draw(transitions())
    former = State([Sysctl("net.ipv4.vs.expire_nodest_conn", "0"), *timeouts()])
    full = former.with_changes(with_fallback_flags(before.state).values())
    removable = [k for k, r in full.items() if not isinstance(r, Sysctl | Timeout)]
    gone = set(draw(st.lists(st.sampled_from(removable), unique=True)))
    gone |= {s.key for s in full.of_type(RealServer) if s.service_key in gone}
    gone |= {v.key for v in full.of_type(Vip) if DummyInterface(v.interface).key in gone}
    observed = full.with_changes(drop=gone)
    connections = {s.key: ConnectionCounts(active=1) for s in observed.of_type(RealServer)}
    owned = frozenset(
        key
        for key, r in before.state.items()
        if not isinstance(r, RealServer | Sysctl | Timeout | LocalRoute)
    )
    ledger = Ledger(owned, {}, {key: former[key] for key in before.state if key in former})
    observation = Observation(observed, connections)
    proposal = propose(after, before, observation, ledger, 1000.0, "gitvs:test")
    keys = [c.key for c in proposal.plan.changes if c.key in proposal.repair_keys]
    sick = draw(st.sampled_from([None, *keys]))
    return World(before, after, observed, proposal, sick)


def states(world: World, failures: Failures) -> Iterator[State]:
    """Every state on the way: first the repairs, then the commit's own changes."""
    state = world.observed
    yield state
    changes, repair_keys = world.proposal.plan.changes, world.proposal.repair_keys
    for is_repair in (True, False):
        part = [c for c in changes if (c.key in repair_keys) is is_repair]
        for phase in PHASES:
            for change in failures.possible(c for c in part if c.phase is phase):
                if change.key == world.sick or not is_possible(change, state):
                    assert is_repair, f"{change.key} of the commit fails"
                    failures.add({change.key: "refused"})
                else:
                    state = perform(state, change)
                    yield state


def is_possible(change: Change, state: State) -> bool:
    """Whether a kernel can do this."""
    match change.after:
        case RealServer() as server:
            return server.service_key in state
        case Vip(interface=interface):
            return DummyInterface(interface).key in state
    return True


def failures_of(world: World) -> Failures:
    return Failures(world.proposal.owned, world.proposal.target, {})


@given(worlds())
def test_all_but_what_is_sick_and_what_needs_it_is_as_it_should_be(world: World) -> None:
    failures = failures_of(world)
    *_, end = states(world, failures)
    target = world.proposal.target
    assert {k for k, r in target.items() if end.get(k) != r} <= failures.reasons.keys()
    assert set(failures.reasons) <= needing(world.sick, target)


def needing(sick: Key | None, target: State) -> set[Key]:
    """What is sick, and what may be left out because of it."""
    if sick is None:
        return set()
    resource = target.get(sick)
    found = {sick}
    if isinstance(resource, VirtualService):
        found |= servers_of(target, sick)
        listener = resource.listener
        if isinstance(listener, Endpoint):
            found |= {v.key for v in target.of_type(Vip) if v.address == listener.address}
    if isinstance(resource, DummyInterface):
        found |= {v.key for v in target.of_type(Vip)}
    return found


@given(worlds())
def test_no_vip_is_bound_before_the_services_that_come_back_are_complete(world: World) -> None:
    failures = failures_of(world)
    changes = world.proposal.plan.changes
    made = {c.key for c in changes if c.before is None}
    remade = [
        s
        for s in world.proposal.target.of_type(VirtualService)
        if s.key in made and s.key in world.before.state
    ]
    for state in states(world, failures):
        exposed = [r for r in state.values() if r.key in made and isinstance(r, Vip | LocalRoute)]
        for resource in exposed:
            for service in remade:
                listener = service.listener
                if isinstance(listener, Endpoint) and not reaches(resource, listener):
                    continue
                present = {service.key, *servers_of(world.proposal.target, service.key)} & made
                missing = present - state.keys() - failures.reasons.keys() - own_servers(world)
                assert not missing, f"{resource.key} before {missing}"


def own_servers(world: World) -> set[Key]:
    """The real servers that the commit brings to a service that is repaired."""
    own = (c for c in world.proposal.plan.changes if c.key not in world.proposal.repair_keys)
    return {
        c.key
        for c in own
        if isinstance(c.resource, RealServer)
        and c.resource.service_key in world.proposal.repair_keys
    }


@given(worlds())
def test_nothing_that_is_wanted_and_there_is_ever_absent(world: World) -> None:
    both = {k for k in world.observed if k in world.before.state and k in world.after.state}
    for state in states(world, failures_of(world)):
        assert both <= set(state)


@given(worlds())
def test_a_server_at_weight_0_never_refuses_its_clients_whatever_is_sick(world: World) -> None:
    rescheduled = {
        c.key
        for c in world.proposal.plan.changes
        if isinstance(c.before, VirtualService) and isinstance(c.after, VirtualService)
        if c.before.scheduler is not c.after.scheduler
    }
    unsafe_at_first = unsafe(world.observed)
    for state in states(world, failures_of(world)):
        assert unsafe(state) <= rescheduled | unsafe_at_first


def unsafe(state: State) -> set[Key]:
    """The services whose fallback flag is missing."""
    safe = with_fallback_flags(state)
    return {key for key in state if state[key] != safe[key]}

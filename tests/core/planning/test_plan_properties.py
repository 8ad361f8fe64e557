"""What every plan promises, whatever the two states are (design sections 3 and 10)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hypothesis import given

from gitvs.core.model.desired import Desired
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.observation import ConnectionCounts, Observation
from gitvs.core.model.resources import (
    Endpoint,
    Key,
    LocalRoute,
    RealServer,
    SyncDaemon,
    Sysctl,
    Timeout,
    TimeoutName,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.core.planning.overlay import removals_after_drains, with_fallback_flags
from gitvs.core.planning.plan import Change, Phase, Plan
from gitvs.core.planning.proposal import Proposal, ledger_after_break, propose
from tests.support.strategies import transitions

NOW = 1000.0
BUSY = ConnectionCounts(active=1)


def proposal_between(before: Desired, after: Desired) -> tuple[State, Proposal]:
    """The proposal for `after` on a director that `before` was applied to."""
    former = State([Sysctl("net.ipv4.vs.expire_nodest_conn", "0"), *timeouts()])
    observed = former.with_changes(with_fallback_flags(before.state).values())
    connections = {s.key: BUSY for s in observed.of_type(RealServer)}
    owned = frozenset(
        key
        for key, r in before.state.items()
        if not isinstance(r, RealServer | Sysctl | Timeout | LocalRoute)
    )
    saved = {key: former[key] for key in before.state if key in former}
    ledger = Ledger(owned, {}, saved)
    observation = Observation(observed, connections)
    return observed, propose(after, before, observation, ledger, NOW, "gitvs:test")


def timeouts() -> list[Timeout]:
    """The kernel's own. Source: include/net/ip_vs.h, tcp_timeouts."""
    return [Timeout(TimeoutName.TCP, 900)]


def perform(state: State, change: Change) -> State:
    """The state after one change, as a kernel would have it."""
    if change.after is None:
        return state.with_changes(drop=[change.key])
    return state.with_changes([change.after])


def prefixes(state: State, plan: Plan) -> Iterator[State]:
    """Every state on the way, both ends included."""
    yield state
    for change in plan.changes:
        state = perform(state, change)
        yield state


@given(transitions())
def test_applying_a_plan_gives_the_target(pair: tuple[Desired, Desired]) -> None:
    observed, proposal = proposal_between(*pair)
    *_, end = prefixes(observed, proposal.plan)
    assert all(end[key] == resource for key, resource in proposal.target.items())
    assert {k for k in end if k not in proposal.target} <= {
        k for k, r in observed.items() if isinstance(r, Sysctl | Timeout)
    }


@given(transitions())
def test_a_second_plan_is_empty(pair: tuple[Desired, Desired]) -> None:
    after = pair[1]
    observed, proposal = proposal_between(*pair)
    *_, end = prefixes(observed, proposal.plan)
    connections = {s.key: BUSY for s in end.of_type(RealServer)}
    ledger = ledger_after_break(proposal.ledger, proposal.plan)
    observation = Observation(end, connections)
    again = propose(after, after, observation, ledger, NOW, "gitvs:test")
    assert again.plan == Plan()
    assert again.ledger == ledger


@given(transitions())
def test_once_drains_are_over_the_kernel_is_as_desired(pair: tuple[Desired, Desired]) -> None:
    after = pair[1]
    observed, proposal = proposal_between(*pair)
    *_, end = prefixes(observed, proposal.plan)
    ledger = ledger_after_break(proposal.ledger, proposal.plan)
    later = propose(after, after, Observation(end), ledger, NOW + 3600, "gitvs:test")
    *_, final = prefixes(end, later.plan)
    settings = {k for k, r in final.items() if isinstance(r, Sysctl | Timeout)}
    assert {k: r for k, r in final.items() if k not in settings - set(later.target)} == dict(
        later.target
    )
    assert not ledger_after_break(later.ledger, later.plan).drains
    servers = {s.key: s for s in final.of_type(RealServer)}
    assert servers == {s.key: s for s in after.state.of_type(RealServer)}


@given(transitions())
def test_no_vip_is_bound_before_its_new_services_are_complete(
    pair: tuple[Desired, Desired],
) -> None:
    observed, proposal = proposal_between(*pair)
    made = {c.key for c in proposal.plan.changes if c.before is None}
    for state in prefixes(observed, proposal.plan):
        exposed = [r for r in state.values() if r.key in made and isinstance(r, Vip | LocalRoute)]
        for resource in exposed:
            for service in made_for(resource, proposal, made):
                assert service.key in state
                missing = servers_of(proposal.target, service.key) - set(state)
                assert not missing, f"{resource.key} bound before {missing}"


def made_for(
    resource: Vip | LocalRoute, proposal: Proposal, made: set[Key]
) -> list[VirtualService]:
    """The services that a plan brings for a VIP or a route."""
    return [
        s
        for s in proposal.target.of_type(VirtualService)
        if s.key in made and (not isinstance(s.listener, Endpoint) or reaches(resource, s.listener))
    ]


def reaches(resource: Vip | LocalRoute, listener: Endpoint) -> bool:
    """Whether a VIP or route makes the address of a listener local."""
    if isinstance(resource, Vip):
        return resource.address == listener.address
    return listener.address in resource.prefix


def servers_of(state: State, service: Key) -> set[Key]:
    """The keys of a service's real servers."""
    return {s.key for s in state.of_type(RealServer) if s.service_key == service}


@given(transitions())
def test_nothing_that_is_in_both_states_is_ever_absent(pair: tuple[Desired, Desired]) -> None:
    before, after = pair
    observed, proposal = proposal_between(*pair)
    both = {k for k in before.state if k in after.state}
    for state in prefixes(observed, proposal.plan):
        assert both <= set(state)


@given(transitions())
def test_a_service_with_active_servers_on_both_sides_always_has_one(
    pair: tuple[Desired, Desired],
) -> None:
    before, after = pair
    observed, proposal = proposal_between(*pair)
    kept = [
        s.key
        for s in before.state.of_type(VirtualService)
        if has_active(before.state, s.key) and has_active(after.state, s.key)
    ]
    for state in prefixes(observed, proposal.plan):
        assert all(has_active(state, key) for key in kept)


def has_active(state: State, service: Key) -> bool:
    """Whether a service has a real server that takes new connections."""
    return any(s.weight for s in state.of_type(RealServer) if s.service_key == service)


@given(transitions())
def test_a_vip_stays_while_any_service_on_it_stays_or_drains(
    pair: tuple[Desired, Desired],
) -> None:
    before, after = pair
    observed, proposal = proposal_between(*pair)
    draining = {s.listener for s in proposal.target.of_type(VirtualService)} - {
        s.listener for s in after.state.of_type(VirtualService)
    }
    held = [
        v.key
        for v in before.state.of_type(Vip)
        if v.key in after.state
        or any(not isinstance(x, Endpoint) or x.address == v.address for x in draining)
    ]
    for state in prefixes(observed, proposal.plan):
        assert set(held) <= set(state)


@given(transitions())
def test_a_server_at_weight_0_under_sh_or_mh_never_refuses_its_clients(
    pair: tuple[Desired, Desired],
) -> None:
    """But for one corner: the scheduler changes, and a server at weight 0 leaves undrained."""
    observed, proposal = proposal_between(*pair)
    rescheduled = {
        c.key
        for c in proposal.plan.changes
        if isinstance(c.before, VirtualService) and isinstance(c.after, VirtualService)
        if c.before.scheduler is not c.after.scheduler
    }
    gone = {s.service_key for s in removed_servers(proposal.plan) if s.weight == 0}
    for state in prefixes(observed, proposal.plan):
        safe = with_fallback_flags(state)
        assert {k for k in state if state[k] != safe[k]} <= rescheduled & gone


def removed_servers(plan: Plan) -> list[RealServer]:
    """The real servers that a plan deletes."""
    gone = [c.before for c in plan.changes if c.after is None]
    return [r for r in gone if isinstance(r, RealServer)]


@given(transitions())
def test_break_takes_away_and_changes_nothing_that_the_kernel_may_refuse(
    pair: tuple[Desired, Desired],
) -> None:
    """What is past the point of no return is never undone: a refusal there would be stuck."""
    _, proposal = proposal_between(*pair)
    for change in proposal.plan.in_phase(Phase.BREAK):
        before, after = change.before, change.after
        if isinstance(before, VirtualService) and isinstance(after, VirtualService):
            assert replace(after, flags=before.flags) == before
        else:
            assert after is None or isinstance(after, Sysctl | Timeout)


@given(transitions())
def test_break_comes_last_and_holds_every_removal(pair: tuple[Desired, Desired]) -> None:
    _, proposal = proposal_between(*pair)
    phases = [c.phase for c in proposal.plan.changes]
    assert phases == sorted(phases, key=list(Phase).index)
    assert all(c.phase is Phase.BREAK for c in proposal.plan.changes if c.after is None)
    assert not any(isinstance(c.resource, SyncDaemon) for c in proposal.plan.changes)


@given(transitions())
def test_whatever_a_plan_and_its_later_passes_remove_was_named(
    pair: tuple[Desired, Desired],
) -> None:
    observed, proposal = proposal_between(*pair)
    later = removals_after_drains(proposal.target, proposal.desired.state)
    named = {c.key for c in (*proposal.plan.changes, *later) if c.after is None}
    *_, at_first = prefixes(observed, proposal.plan)
    ledger = ledger_after_break(proposal.ledger, proposal.plan)
    idle = Observation(at_first, {s.key: ConnectionCounts() for s in at_first.of_type(RealServer)})
    second = propose(pair[1], pair[1], idle, ledger, NOW + 100_000, "gitvs:test")
    *_, at_last = prefixes(at_first, second.plan)
    settings = {key for key, r in observed.items() if isinstance(r, Sysctl | Timeout)}
    assert observed.keys() - at_last.keys() - settings == named - settings


@given(transitions())
def test_later_removals_are_in_the_order_of_a_break(pair: tuple[Desired, Desired]) -> None:
    _, proposal = proposal_between(*pair)
    later = removals_after_drains(proposal.target, proposal.desired.state)
    assert {c.phase for c in later} <= {Phase.BREAK}
    keys = [c.key for c in later]
    for server in (c.before for c in later if isinstance(c.before, RealServer)):
        if server.service_key in keys:
            assert keys.index(server.key) < keys.index(server.service_key)

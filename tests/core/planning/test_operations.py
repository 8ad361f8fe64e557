"""What operators say on top of Git, and what that makes of desired state and of a plan."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitvs.core.model.desired import Desired
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.observation import Observation
from gitvs.core.model.resources import Key, LocalRoute, RealServer, Vip
from gitvs.core.model.state import State
from gitvs.core.planning.operations import (
    Moment,
    Operation,
    OperationKind,
    Operations,
    affected_keys,
    canonical_server,
    obsolete_drains,
    removed_at_once,
    with_operations,
)
from gitvs.core.planning.proposal import ledger_after_break, propose
from gitvs.report.text.operations import operation_text
from tests.support.builders import WEB6, dummy, local_route, real_server, vip, virtual_service
from tests.support.strategies import desired_states

AT = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
NAMED = real_server(address="10.0.0.2", weight=7)


def said(kind: OperationKind, subject: str = "", **fields: object) -> Operation:
    return replace(Operation(kind, "ada", "why not", AT, subject=subject), **fields)  # type: ignore[arg-type]  # the fields of an operation


def drain(subject: str, **fields: object) -> Operation:
    return said(OperationKind.DRAIN, subject, **fields)


def desired() -> Desired:
    resources = [
        dummy(),
        vip(),
        local_route(),
        virtual_service(),
        real_server(weight=3),
        NAMED,
        virtual_service(WEB6),
        real_server(WEB6),
    ]
    return Desired("lb1", "gitvs0", State(resources), server_names={NAMED.key: "web2"})


def weights(state: State) -> dict[str, int]:
    return {str(s.address): s.weight for s in state.of_type(RealServer)}


def test_a_drained_server_gets_weight_0_and_no_other_does() -> None:
    after = with_operations(desired(), Operations((drain("web2"),)))
    assert weights(after.state) == {"10.0.0.1": 3, "10.0.0.2": 0, "2001:db8:1::1": 1}


def test_a_server_drained_now_is_gone() -> None:
    operations = Operations((drain("10.0.0.2"), drain("web2", is_immediate=True)))
    assert weights(with_operations(desired(), operations).state) == {
        "10.0.0.1": 3,
        "2001:db8:1::1": 1,
    }
    assert removed_at_once(desired(), operations) == {NAMED.key}


def test_standby_leaves_neither_vips_nor_routes_and_all_rules() -> None:
    after = with_operations(desired(), Operations((said(OperationKind.STANDBY),)))
    assert after.state.of_type(Vip) == []
    assert after.state.of_type(LocalRoute) == []
    assert weights(after.state) == weights(desired().state)
    assert after.is_standby


def test_a_pause_and_a_pin_change_no_state() -> None:
    operations = Operations((said(OperationKind.PAUSE), said(OperationKind.PIN, "abc")))
    assert with_operations(desired(), operations) == desired()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("10.0.0.2", "10.0.0.2"),
        ("10.0.0.2:8080", "10.0.0.2:8080"),
        ("2001:DB8:1:0::1", "2001:db8:1::1"),
        ("[2001:DB8:1:0::1]:8080", "[2001:db8:1::1]:8080"),
        ("web2", "web2"),
        ("web:two", "web:two"),
    ],
)
def test_addresses_are_told_apart_from_names(text: str, written: str) -> None:
    assert canonical_server(text) == written


def test_a_drain_of_another_port_or_service_is_about_nothing() -> None:
    for operation in (drain("10.0.0.2:1"), drain("web2", service="mail")):
        assert affected_keys(desired(), [operation]) == frozenset()


def test_git_ends_a_drain_by_weight_0_or_by_no_place() -> None:
    operations = Operations((drain("web2"), drain("10.0.0.1")))
    assert obsolete_drains(desired(), operations) == []
    idle = replace(desired(), state=desired().state.with_changes([replace(NAMED, weight=0)]))
    assert obsolete_drains(idle, operations) == [operations.all[0]]
    gone = replace(desired(), state=desired().state.with_changes(drop=[NAMED.key]))
    assert obsolete_drains(gone, operations) == [operations.all[0]]


def test_a_time_that_is_over_ends_an_operation() -> None:
    operation = drain("web2", expires_at=AT + timedelta(hours=1))
    operations = Operations((operation,))
    assert operations.in_force(Moment(AT, 0.0, "boot")) == operations
    assert operations.in_force(Moment(AT + timedelta(hours=1), 0.0, "boot")) == Operations()


@given(
    wall_seconds=st.floats(-1e9, 1e9), ran_seconds=st.floats(0, 7200), is_same_boot=st.booleans()
)
def test_within_a_boot_the_wall_clock_ends_and_prolongs_nothing(
    wall_seconds: float, ran_seconds: float, is_same_boot: bool
) -> None:
    operation = drain(
        "web2",
        expires_at=AT + timedelta(hours=1),
        expires_boottime_seconds=100.0 + 3600.0,
        boot_id="boot",
    )
    now = AT + timedelta(seconds=wall_seconds)
    moment = Moment(now, 100.0 + ran_seconds, "boot" if is_same_boot else "other")
    elapsed_seconds = ran_seconds if is_same_boot else wall_seconds
    assert operation.is_expired(moment) == (elapsed_seconds >= 3600)
    [shown] = Operations((operation,)).shown_at(moment).all
    assert shown.expires_at is not None
    left_seconds = (shown.expires_at - now).total_seconds()
    assert left_seconds == pytest.approx(3600 - elapsed_seconds, abs=0.001)


def test_a_later_word_on_the_same_server_replaces_the_earlier_one() -> None:
    assert drain("web2").identity == drain("web2", is_immediate=True, why="again").identity
    assert drain("web2").identity != drain("web1").identity
    one, two = (said(OperationKind.PIN, commit) for commit in ("abc", "def"))
    assert one.identity == two.identity


def test_an_operation_reads_as_one_line_that_no_terminal_obeys() -> None:
    text = operation_text(
        drain("web2", why="disk\x1b[2J", expires_at=AT, service="web", is_immediate=True)
    )
    assert text == (
        "drain web2 at once in service web, by ada since 2026-01-02 12:00:00 UTC,"
        " until 2026-01-02 12:00:00 UTC: disk\\u001b[2J"
    )


DRAINS = [drain("10.0.0.1"), drain("10.0.0.2", is_immediate=True), said(OperationKind.STANDBY)]


@given(desired_states(), desired_states(), st.sets(st.sampled_from([0, 1, 2])))
def test_while_paused_nothing_changes_but_what_operations_are_about(
    applied: Desired, found: Desired, chosen: set[int]
) -> None:
    """Whatever the kernel has drifted to, a pause leaves it so."""
    operations = Operations(tuple(DRAINS[n] for n in sorted(chosen)))
    only = affected_keys(applied, operations.all)
    owned = frozenset(k for k, r in found.state.items() if not isinstance(r, RealServer))
    proposal = propose(
        applied,
        applied,
        Observation(found.state),
        Ledger(owned | frozenset(applied.state)),
        1000.0,
        "gitvs:test",
        operations=operations,
        only_keys=only,
    )
    changed = {c.key for c in proposal.plan.changes}
    not_wanted = {k for k in found.state if k not in applied.state}
    servers: set[Key] = {s.key for s in found.state.of_type(RealServer)}
    assert changed - only <= not_wanted - servers, "at most what only drains had kept goes"


@given(desired_states(), st.data(), st.sets(st.sampled_from([0, 1, 2])))
def test_while_paused_what_somebody_removes_and_puts_back_stays_gitvss(
    applied: Desired, data: st.DataObject, chosen: set[int]
) -> None:
    """As with `ipvsadm -C`, then any pass, then `ipvsadm -R`."""
    operations = Operations(tuple(DRAINS[n] for n in sorted(chosen)))
    only = affected_keys(applied, operations.all)
    left = data.draw(
        st.sets(st.sampled_from(sorted(applied.state))) if applied.state else st.just(set())
    )
    ledger = Ledger(frozenset(k for k, r in applied.state.items() if not isinstance(r, RealServer)))
    paused = propose(
        applied,
        applied,
        Observation(State(r for k, r in applied.state.items() if k in left)),
        ledger,
        1000.0,
        "gitvs:test",
        operations=operations,
        only_keys=only,
    )
    kept = ledger_after_break(paused.ledger, paused.plan)
    assert ledger.owned - only <= kept.owned
    resumed = propose(applied, applied, Observation(applied.state), kept, 1000.0, "gitvs:test")
    assert set(resumed.unrepairable) <= only

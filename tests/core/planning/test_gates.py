"""The gates: rule, measured, limit, where it is set, how to lift it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitvs.core.allowances import Allowance, parse_allowances
from gitvs.core.model.desired import Desired, Policy
from gitvs.core.model.resources import (
    Endpoint,
    LocalRoute,
    Protocol,
    RealServer,
    Resource,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.core.planning.gates import (
    MAX_LIFTING_COMMITS,
    Gate,
    Lift,
    evaluate_gates,
    find_lifts,
    stricter_policy,
    unknown_gate_text,
    unknown_gate_warnings,
)

VIP = ip_address("203.0.113.10")
WEB = Endpoint(Protocol.TCP, VIP, 443)


def desired(*resources: Resource, policy: Policy = Policy()) -> Desired:
    """A desired state of one director."""
    return Desired("lb1", "gitvs0", State(resources), policy=policy)


def web(*weights: int, listener: Endpoint = WEB) -> list[Resource]:
    """A service with a real server of each weight."""
    servers = [
        RealServer(listener, ip_address(f"10.0.0.{n}"), 80, weight)
        for n, weight in enumerate(weights, 1)
    ]
    return [VirtualService(listener), *servers]


def many(count: int) -> list[Resource]:
    """Virtual services on as many ports."""
    return [VirtualService(Endpoint(Protocol.TCP, VIP, 1000 + n)) for n in range(count)]


def met(before: Desired, after: Desired) -> dict[str, Gate]:
    """The gates met, by name."""
    return {g.name: g for g in evaluate_gates(before, after, ())}


def test_nothing_applied_yet_meets_no_gate() -> None:
    assert evaluate_gates(None, desired(), ()) == []


def test_an_empty_state_is_refused_outright() -> None:
    gate = met(desired(*web(1)), desired())["empty-state"]
    assert (gate.measured, gate.is_allowed) == ("1 → 0", False)


def test_an_empty_state_after_an_empty_state_is_no_loss() -> None:
    assert met(desired(), desired()) == {}


@pytest.mark.parametrize(("left", "is_met"), [(7, False), (6, True)])
def test_mass_removal_begins_over_the_limit(left: int, is_met: bool) -> None:
    gates = met(desired(*many(10)), desired(*many(left)))
    assert ("mass-removal" in gates) is is_met


def test_mass_removal_says_rule_measured_limit_place_and_remedy() -> None:
    gate = met(desired(*many(10)), desired(*many(6)))["mass-removal"]
    assert gate.measured == "4 of 10 virtual services (40 %)"
    assert gate.limit == "30 %"
    for part in ("maxRemovedPercent", "Policy", "Gitvs-Allow: mass-removal", "--allow"):
        assert part in gate.message


def test_mass_removal_ignores_few_objects() -> None:
    assert "mass-removal" not in met(desired(*many(9)), desired(*many(1)))


def test_mass_removal_counts_vips_and_routes_too() -> None:
    vips = [Vip(ip_address(f"203.0.113.{n}"), "gitvs0", 32) for n in range(10)]
    routes = [LocalRoute(ip_network(f"198.51.{n}.0/24")) for n in range(10)]
    gates = evaluate_gates(desired(*vips, *routes), desired(*vips[:5], *routes[:5]), ())
    assert [g.measured for g in gates] == ["5 of 10 VIPs (50 %)", "5 of 10 local routes (50 %)"]


def test_a_vip_that_moves_to_another_interface_is_not_removed() -> None:
    def vips(interface: str) -> list[Resource]:
        return [Vip(ip_address(f"203.0.113.{n}"), interface, 32) for n in range(10)]

    assert met(desired(*vips("gitvs0")), desired(*vips("gitvs1"))) == {}


@pytest.mark.parametrize("after", [web(), web(0, 0)])
def test_a_service_that_stays_keeps_an_active_real_server(after: list[Resource]) -> None:
    gates = met(desired(*web(1, 0)), desired(*after))
    assert gates["last-real-server"].measured == "1 → 0"


def test_a_service_without_active_servers_has_no_last_one() -> None:
    assert met(desired(*web(0)), desired(*web())) == {}


def test_a_service_that_leaves_meets_no_last_real_server() -> None:
    assert "last-real-server" not in met(desired(*web(1), *many(1)), desired(*many(1)))


@pytest.mark.parametrize(
    ("before", "after", "is_met"),
    [
        (web(1, 1), web(1), False),
        (web(1, 1, 1), web(1), True),
        (web(1, 9), web(1, 0), True),
        (web(10, 10), web(1, 1), False),
    ],
)
def test_capacity_counts_the_old_weight_of_servers_that_leave_or_go_to_0(
    before: list[Resource], after: list[Resource], is_met: bool
) -> None:
    assert ("capacity-drop" in met(desired(*before), desired(*after))) is is_met


def test_a_protected_vip_may_not_be_unbound() -> None:
    policy = Policy(protected_vips=frozenset({VIP}))
    before = desired(Vip(VIP, "gitvs0", 32), *many(2), policy=policy)
    gates = met(before, desired(*many(2)))
    assert "no longer bound" in gates["protected-vip"].message


def test_a_protected_vip_may_move_to_a_local_route() -> None:
    policy = Policy(protected_vips=frozenset({VIP}))
    before = desired(Vip(VIP, "gitvs0", 32), *many(2), policy=policy)
    after = desired(LocalRoute(ip_network("203.0.113.0/24")), *many(2), policy=policy)
    assert met(before, after) == {}


def test_a_protected_vip_may_not_lose_a_virtual_service() -> None:
    policy = Policy(protected_vips=frozenset({VIP}))
    gates = met(desired(*many(2)), desired(*many(1), policy=policy))
    assert "lose tcp 203.0.113.10:1001" in gates["protected-vip"].message


def test_another_director_is_refused_where_something_would_leave() -> None:
    before, after = desired(*many(2)), replace(desired(*many(1)), director="lb3")
    gate = met(before, after)["other-director"]
    assert gate.measured == "lb1 → lb3"
    assert "--allow other-director" in gate.message


def test_a_director_that_is_renamed_and_keeps_everything_passes() -> None:
    assert met(desired(*many(2)), replace(desired(*many(3)), director="lb3")) == {}


def test_the_stricter_of_two_policies_holds_limit_by_limit() -> None:
    loose = Policy(90, 20, 5, frozenset({VIP}))
    assert stricter_policy(loose, Policy()) == Policy(30, 20, 5, frozenset({VIP}))


def test_an_allowed_gate_is_shown_as_lifted() -> None:
    [gate] = evaluate_gates(desired(*web(1)), desired(), {"empty-state"})
    assert gate.is_allowed


def allowed_gates(messages: Iterable[str], director: str) -> frozenset[str]:
    """The gates that messages lift on a director."""
    given = (allowance for message in messages for allowance in parse_allowances(message))
    return frozenset(a.gate for a in given if a.applies_to(director))


def test_any_line_of_any_message_lifts_a_gate() -> None:
    messages = [
        "Merge\n\nGitvs-Allow: mass-removal\n\nmore text",
        "x\n  gitvs-allow: empty-state lb1",
    ]
    assert allowed_gates(messages, "lb1") == {"mass-removal", "empty-state"}


def test_a_line_may_name_the_directors_it_is_for() -> None:
    assert allowed_gates(["Gitvs-Allow: mass-removal lb3, lb4"], "lb1") == frozenset()
    assert allowed_gates(["Gitvs-Allow: mass-removal lb3, lb4"], "lb4") == {"mass-removal"}


def unknown_gates(message: str) -> list[tuple[int, str]]:
    """Return the lines that are warned about, each with the name that it quotes."""
    warnings = list(unknown_gate_warnings([("a" * 40, list(parse_allowances(message)))]))
    assert {w.file for w in warnings} <= {"commit aaaaaaaaaaaa"}
    return [(w.line, w.message.split('"')[1]) for w in warnings]


def test_a_list_of_gates_lifts_nothing_and_is_told() -> None:
    assert unknown_gates("Gitvs-Allow: mass-removal, empty-state") == [(1, "mass-removal,")]
    assert list(parse_allowances("Gitvs-Allow:")) == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mass-removal,", '"mass-removal," is no gate that can be lifted; write mass-removal, one'),
        ("Mass-Removal", '"Mass-Removal" is no gate that can be lifted; write mass-removal, one'),
        ("mass-removals", "did you mean mass-removal?"),
        ("conflict", "; empty-state, mass-removal, "),
    ],
)
def test_the_name_of_a_gate_that_is_none_is_quoted_with_a_hint(name: str, hint: str) -> None:
    assert hint in unknown_gate_text(name)


def test_a_gate_that_is_lifted_does_not_say_how_to_lift_it() -> None:
    applied, empty = desired(*web(1)), desired()
    for allowed, says_how in ((frozenset[str](), True), (frozenset({"empty-state"}), False)):
        gate = next(g for g in evaluate_gates(applied, empty, allowed) if g.name == "empty-state")
        assert ("To allow it once" in gate.message) is says_how


def test_a_comma_at_the_end_names_no_director() -> None:
    [said] = parse_allowances("Gitvs-Allow: mass-removal lb3,\r")
    assert said.directors == ("lb3",)


def test_a_line_of_nothing_but_spaces_takes_no_time() -> None:
    spaces = " " * 1_000_000
    assert allowed_gates([f"Gitvs-Allow: mass-removal{spaces}lb4"], "lb1") == frozenset()


def test_a_mention_in_running_text_lifts_nothing() -> None:
    assert allowed_gates(["do not write Gitvs-Allow: mass-removal here"], "lb1") == frozenset()


def test_a_name_that_is_no_gate_is_told() -> None:
    lines = "x\nGitvs-Allow: mass-removals\nGitvs-Allow: mass-removal\nGitvs-Allow: conflict"
    assert unknown_gates(lines) == [(2, "mass-removals"), (4, "conflict")]


def test_thousands_of_lines_that_name_no_gate_are_one_warning_that_counts_them() -> None:
    lines = "".join(f"\nGitvs-Allow: gate-{n}" for n in range(3000))
    [warning] = unknown_gate_warnings([("a" * 40, list(parse_allowances(lines)))])
    assert (warning.file, warning.line) == ("commit aaaaaaaaaaaa", 2)
    assert warning.message.startswith(
        "Gitvs-Allow: 3000 lines, this one the first, name no gate that can be lifted:"
        ' "gate-0", "gate-1", "gate-2", …; empty-state, mass-removal, '
    )
    assert len(unknown_gates("\nGitvs-Allow: same" * 3)) == 3
    assert len(unknown_gates("\nGitvs-Allow: same" * 4)) == 1


# Lines of commit messages


def said(*gates: str) -> list[Allowance]:
    """What a message with these lines allows."""
    return list(parse_allowances("".join(f"Gitvs-Allow: {gate}\n" for gate in gates)))


def lifted(
    applied: Desired, steps: dict[str, tuple[Desired | str, list[Allowance]]]
) -> dict[str, bool]:
    """Whether each gate of the step to the last commit is lifted by the lines of these commits."""
    newest_first = list(reversed(steps.items()))
    head = newest_first[0][1][0]
    assert isinstance(head, Desired)
    commits = [(commit_id, allowances) for commit_id, (_, allowances) in newest_first]
    found = find_lifts(applied, head, (), commits, lambda commit_id: steps[commit_id][0])
    gates = evaluate_gates(applied, head, (), found.lifts)
    return {f"{g.name} {g.key or g.measured}": g.is_allowed for g in gates}


DNS = Endpoint(Protocol.UDP, VIP, 53)
BOTH = desired(*web(1), *web(1, listener=DNS))
WEB_OFF = desired(*web(0), *web(1, listener=DNS))
ALL_OFF = desired(*web(0), *web(0, listener=DNS))
LINES = said("last-real-server", "capacity-drop")


def test_a_line_lifts_a_gate_up_to_its_commit() -> None:
    assert set(lifted(BOTH, {"a": (WEB_OFF, LINES)}).values()) == {True}
    assert set(lifted(BOTH, {"a": (WEB_OFF, LINES), "b": (WEB_OFF, [])}).values()) == {True}


def test_an_empty_commit_with_a_line_lifts_what_came_before_it() -> None:
    assert set(lifted(BOTH, {"a": (WEB_OFF, []), "b": (WEB_OFF, LINES)}).values()) == {True}


def test_a_line_never_covers_what_comes_after_it() -> None:
    gates = lifted(BOTH, {"a": (WEB_OFF, LINES), "b": (ALL_OFF, [])})
    assert gates == {
        f"last-real-server {WEB}": True,
        f"capacity-drop {WEB}": True,
        f"last-real-server {DNS}": False,
        f"capacity-drop {DNS}": False,
    }


def test_a_line_of_an_unrelated_commit_before_lifts_nothing() -> None:
    assert set(lifted(BOTH, {"a": (BOTH, LINES), "b": (WEB_OFF, [])}).values()) == {False}


def test_one_of_several_lines_is_enough() -> None:
    """What an older line lifted stays lifted, even if a newer line is about another step."""
    steps = {"a": (WEB_OFF, LINES), "b": (BOTH, LINES), "c": (WEB_OFF, [])}
    assert set(lifted(BOTH, steps).values()) == {True}


def test_a_commit_that_could_not_be_applied_lifts_nothing() -> None:
    steps: dict[str, tuple[Desired | str, list[Allowance]]] = {
        "a": ("it is not signed", LINES),
        "b": (WEB_OFF, []),
    }
    assert set(lifted(BOTH, steps).values()) == {False}
    commits = [("b", []), ("a", LINES)]
    found = find_lifts(BOTH, WEB_OFF, (), commits, lambda commit_id: steps[commit_id][0])
    assert found.uncounted == {"a": "it is not signed"}


def test_an_address_that_is_lost_after_the_line_is_not_lifted() -> None:
    other = ip_address("203.0.113.11")
    policy = Policy(protected_vips=frozenset({VIP, other}))
    before = replace(desired(Vip(VIP, "gitvs0", 32), Vip(other, "gitvs0", 32)), policy=policy)
    one = replace(desired(Vip(other, "gitvs0", 32)), policy=policy)
    none = replace(desired(*web(1)), policy=policy)
    gates = lifted(before, {"a": (one, said("protected-vip")), "b": (none, [])})
    assert gates == {f"protected-vip {VIP}": True, f"protected-vip {other}": False}


def test_only_commits_with_a_line_for_an_open_gate_are_rendered_and_ten_at_most() -> None:
    rendered = []

    def render(commit_id: str) -> Desired:
        rendered.append(commit_id)
        return BOTH

    commits = [(str(n), LINES if n % 2 else said("empty-state")) for n in range(40)]
    found = find_lifts(BOTH, WEB_OFF, (), commits, render)
    assert rendered == [str(n) for n in range(1, 2 * MAX_LIFTING_COMMITS, 2)]
    assert list(found.uncounted) == [str(n) for n in range(21, 40, 2)]
    rendered.clear()
    assert find_lifts(BOTH, BOTH, (), commits, render).lifts == ()
    assert find_lifts(BOTH, WEB_OFF, ["last-real-server", "capacity-drop"], commits, render)
    assert rendered == []


@given(st.lists(st.tuples(st.sampled_from([BOTH, WEB_OFF, ALL_OFF]), st.booleans()), min_size=1))
def test_what_is_lifted_was_lifted_at_a_commit_after_which_it_is_not_triggered(
    history: list[tuple[Desired, bool]],
) -> None:
    steps: dict[str, tuple[Desired | str, list[Allowance]]] = {
        str(number): (state, LINES * has_line) for number, (state, has_line) in enumerate(history)
    }
    head = history[-1][0]
    for name, is_allowed in lifted(BOTH, steps).items():
        sound = [
            name not in {f"{g.name} {g.key}" for g in evaluate_gates(state, head)}
            for state, has_line in history[::-1]
            if has_line
        ]
        assert is_allowed == any(sound[:MAX_LIFTING_COMMITS])


def test_a_lift_is_about_its_own_gates_alone() -> None:
    lift = Lift(frozenset({"capacity-drop"}), WEB_OFF)
    gates = evaluate_gates(BOTH, WEB_OFF, (), [lift])
    assert {g.name: g.is_allowed for g in gates} == {
        "last-real-server": False,
        "capacity-drop": True,
    }

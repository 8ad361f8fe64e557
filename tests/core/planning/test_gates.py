"""The gates: rule, measured, limit, where it is set, how to lift it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

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
    Gate,
    allowed_gates,
    evaluate_gates,
    parse_allowances,
    stricter_policy,
    unknown_gate_names,
)

VIP = ip_address("203.0.113.10")
WEB = Endpoint(Protocol.TCP, VIP, 443)


def desired(*resources: Resource, policy: Policy = Policy()) -> Desired:
    """A desired state of one director."""
    return Desired("lb1", "gitvs0", State(resources), policy=policy)


def web(*weights: int) -> list[Resource]:
    """A service with a real server of each weight."""
    servers = [
        RealServer(WEB, ip_address(f"10.0.0.{n}"), 80, weight)
        for n, weight in enumerate(weights, 1)
    ]
    return [VirtualService(WEB), *servers]


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


def test_any_line_of_any_message_lifts_a_gate() -> None:
    messages = [
        "Merge\n\nGitvs-Allow: mass-removal\n\nmore text",
        "x\n  gitvs-allow: empty-state lb1",
    ]
    assert allowed_gates(messages, "lb1") == {"mass-removal", "empty-state"}


def test_a_line_may_name_the_directors_it_is_for() -> None:
    assert allowed_gates(["Gitvs-Allow: mass-removal lb3, lb4"], "lb1") == frozenset()
    assert allowed_gates(["Gitvs-Allow: mass-removal lb3, lb4"], "lb4") == {"mass-removal"}


def test_a_list_of_gates_lifts_nothing_and_is_told() -> None:
    said = list(parse_allowances("Gitvs-Allow: mass-removal, empty-state"))
    assert unknown_gate_names(a.gate for a in said) == ["mass-removal,"]
    assert list(parse_allowances("Gitvs-Allow:")) == []


def test_a_comma_at_the_end_names_no_director() -> None:
    [said] = parse_allowances("Gitvs-Allow: mass-removal lb3,\r")
    assert said.directors == ("lb3",)


def test_a_line_of_nothing_but_spaces_takes_no_time() -> None:
    spaces = " " * 1_000_000
    assert allowed_gates([f"Gitvs-Allow: mass-removal{spaces}lb4"], "lb1") == frozenset()


def test_a_mention_in_running_text_lifts_nothing() -> None:
    assert allowed_gates(["do not write Gitvs-Allow: mass-removal here"], "lb1") == frozenset()


def test_a_name_that_is_no_gate_is_told() -> None:
    assert unknown_gate_names(["mass-removal", "mass-removals", "conflict"]) == [
        "conflict",
        "mass-removals",
    ]

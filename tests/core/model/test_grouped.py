"""Values in groups, held against plain dicts; and what one change among many groups costs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gitvs.core.model.desired import Desired
from gitvs.core.model.grouped import Grouped, changed_groups, differences, group_of
from gitvs.core.model.resources import Key, Resource
from gitvs.core.model.state import State, group_of_resource
from gitvs.core.planning.plan import diff
from tests.support.builders import endpoint, real_server, virtual_service
from tests.support.strategies import any_resources, desired_states
from tests.support.work import work_of


def plain(state: State) -> dict[Key, Resource]:
    return dict(state.items())


def plain_differences(
    before: dict[Key, Resource], after: dict[Key, Resource]
) -> set[tuple[Key, Resource | None, Resource | None]]:
    keys = before.keys() | after.keys()
    pairs = {(key, before.get(key), after.get(key)) for key in keys}
    return {(key, one, other) for key, one, other in pairs if one != other}


@given(any_resources())
def test_a_key_tells_the_group_that_its_resource_is_in(resource: Resource) -> None:
    assert group_of(resource.key) == group_of_resource(resource)


@given(st.lists(any_resources()))
def test_a_state_has_what_a_dict_of_the_same_resources_has(resources: list[Resource]) -> None:
    state, expected = State(resources), {r.key: r for r in resources}
    assert plain(state) == expected == {key: state[key] for key in state}
    assert sorted(state.values(), key=str) == sorted(expected.values(), key=str)
    assert len(state) == len(expected)
    assert all(key in state and state.get(key) == r for key, r in expected.items())
    for resource_type in {type(r) for r in resources}:
        wanted = [r for r in expected.values() if type(r) is resource_type]
        assert sorted(state.of_type(resource_type), key=str) == sorted(wanted, key=str)


@given(desired_states(), st.lists(any_resources()), st.data())
def test_changing_a_state_changes_it_as_a_dict(
    desired: Desired, put: list[Resource], data: st.DataObject
) -> None:
    before = desired.state
    drop = data.draw(st.lists(st.sampled_from([*before, *(r.key for r in put), Key("none")])))
    expected = {k: r for k, r in plain(before).items() if k not in drop} | {r.key: r for r in put}
    kept = plain(before)
    changed = before.with_changes(put, drop)
    assert plain(changed) == expected
    assert changed == State(expected.values())
    assert plain(before) == kept, "the former version is as it was"
    assert all(changed.groups.values()), "no group is empty"


@given(desired_states(), desired_states())
def test_differences_are_those_of_the_plain_values(one: Desired, other: Desired) -> None:
    before, after = one.state, other.state
    expected = plain_differences(plain(before), plain(after))
    for newer in (after, after.sharing(before)):
        assert newer == after
        assert set(differences(before, newer)) == expected
        assert {(b, a) for b, a in diff(before, newer)} == {(b, a) for _, b, a in expected}


@given(desired_states())
def test_an_equal_state_shares_everything_from_then_on(desired: Desired) -> None:
    before: State = desired.state
    again = State(before.values()).sharing(before)
    assert changed_groups(before, again) == []


def test_a_changed_server_is_in_the_only_group_that_is_not_shared() -> None:
    listeners = [endpoint(port=port) for port in range(1, 50)]
    rules = [r for x in listeners for r in (virtual_service(x), real_server(x))]
    before = State(rules)
    after = before.with_changes([real_server(listeners[7], weight=9)])
    assert changed_groups(before, after) == [listeners[7].key]


def test_comparing_costs_the_same_among_twice_as_many_services() -> None:
    def cost(count: int) -> int:
        listeners = [endpoint(port=port) for port in range(1, count)]
        before = State([virtual_service(x) for x in listeners])
        after = before.with_changes([real_server(listeners[7])])
        return work_of(lambda: differences(before, after)).calls

    assert cost(200) == cost(100)


def test_values_by_key_are_put_into_groups_once() -> None:
    server = real_server()
    values = {server.service_key: 1, server.key: 2, Key("net.ipv4.ip_forward"): 3}
    grouped = Grouped.of(values)
    assert grouped == values
    assert Grouped.of(grouped) is grouped
    assert len(grouped.groups) == 2

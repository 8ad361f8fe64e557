"""The one `State` type: the resources that a director has or should have, by key."""

from __future__ import annotations

from collections.abc import Iterable

from gitvs.core.model.grouped import OTHERS, Grouped, group_of
from gitvs.core.model.resources import Key, R, RealServer, Resource, VirtualService


class State(Grouped[Resource]):
    """Resources by key: what a director has (observed) or should have (desired, target).

    A group has a virtual service with its real servers.
    """

    __slots__ = ()

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        groups: dict[Key, dict[Key, Resource]] = {}
        for resource in resources:
            group = groups.get(group_key := group_of_resource(resource))
            if group is None:
                groups[group_key] = {resource.key: resource}
            else:
                group[resource.key] = resource
        super().__init__(groups)

    @classmethod
    def of_groups(cls, groups: dict[Key, dict[Key, Resource]]) -> State:
        """Return the state that has these groups, of which none is empty."""
        state = cls()
        state.groups = groups
        return state

    def of_type(self, resource_type: type[R]) -> list[R]:
        """Return the resources of one class, group by group."""
        groups = self.groups
        if not issubclass(resource_type, VirtualService | RealServer):
            return [r for r in groups.get(OTHERS, {}).values() if type(r) is resource_type]
        if issubclass(resource_type, VirtualService):
            found = [groups[key][key] for key in self.service_keys()]
            return [r for r in found if type(r) is resource_type]
        return [r for group in groups.values() for r in group.values() if type(r) is resource_type]

    def service_keys(self) -> list[Key]:
        """Return the keys of the virtual services, which are those of their groups."""
        return [key for key, group in self.groups.items() if key in group]

    def with_changes(self, put: Iterable[Resource] = (), drop: Iterable[Key] = ()) -> State:
        """Return a copy without `drop` and with `put`; this state itself if both are empty."""
        changed: dict[Key, dict[Key, Resource]] = {}
        for key in drop:
            self._copied_group(changed, group_of(key)).pop(key, None)
        for resource in put:
            self._copied_group(changed, group_of_resource(resource))[resource.key] = resource
        return self.with_groups(changed) if changed else self

    def _copied_group(
        self, copies: dict[Key, dict[Key, Resource]], group_key: Key
    ) -> dict[Key, Resource]:
        copy = copies.get(group_key)
        if copy is None:
            copy = copies[group_key] = dict(self.groups.get(group_key, ()))
        return copy


def group_of_resource(resource: Resource) -> Key:
    """Return the group of a resource, as `group_of` returns it of its key."""
    if isinstance(resource, VirtualService | RealServer):
        return resource.listener.key
    return OTHERS

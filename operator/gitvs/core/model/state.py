"""The one `State` type: the resources that a director has or should have, by key."""

from __future__ import annotations

from collections.abc import (
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    ValuesView,
)
from typing import Any, overload

from gitvs.core.model.resources import D, Key, R, Resource


class State(Mapping[Key, Resource]):
    """Resources by key: what a director has (observed) or should have (desired, target)."""

    __slots__ = ("_by_class", "_resources")

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        self._resources: dict[Key, Resource] = {r.key: r for r in resources}
        self._by_class: dict[type, list[Any]] | None = None

    def __getitem__(self, key: Key) -> Resource:
        return self._resources[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._resources)

    def __len__(self) -> int:
        return len(self._resources)

    @property
    def by_key(self) -> Mapping[Key, Resource]:
        """The resources as a plain dict, which is faster for thousands of look-ups."""
        return self._resources

    # Same results as the methods of Mapping, without a Python call for each key.

    def __contains__(self, key: object) -> bool:
        return key in self._resources

    def keys(self) -> KeysView[Key]:
        return self._resources.keys()

    def values(self) -> ValuesView[Resource]:
        return self._resources.values()

    def items(self) -> ItemsView[Key, Resource]:
        return self._resources.items()

    @overload
    def get(self, key: Key, /) -> Resource | None: ...
    @overload
    def get(self, key: Key, /, default: D) -> Resource | D: ...
    def get(self, key: Key, /, default: object = None) -> object:
        return self._resources.get(key, default)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and self._resources == other._resources

    __hash__ = None  # type: ignore[assignment]  # a State is compared, never a key

    def __repr__(self) -> str:
        return f"State({sorted(self._resources)})"

    def of_type(self, resource_type: type[R]) -> list[R]:
        """Return the resources of one class, in insertion order."""
        by_class = self._by_class
        if by_class is None:
            by_class = {}
            for resource in self._resources.values():
                by_class.setdefault(type(resource), []).append(resource)
            self._by_class = by_class  # complete, because other threads may read it meanwhile
        return by_class.get(resource_type, []).copy()

    def with_changes(self, put: Iterable[Resource] = (), drop: Iterable[Key] = ()) -> State:
        """Return a copy without `drop` and with `put`; this state itself if both are empty."""
        dropped, new = list(drop), {r.key: r for r in put}
        if not dropped and not new:
            return self
        changed = State()
        changed._resources = self._resources.copy()
        for key in dropped:
            changed._resources.pop(key, None)
        changed._resources.update(new)
        return changed

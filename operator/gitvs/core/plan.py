"""From one state to another: the changes, and the one order in which they are safe.

`diff` finds what differs, `order` sorts it: make, then modify, then bind, then break
(design section 3). Both are pure and serve the plan, the verification (an empty diff),
drift, undo and crash recovery alike. What the target is, is the business of `overlay`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import ip_address
from typing import assert_never

from gitvs.core.documents import document_of
from gitvs.core.model import (
    AddressFamily,
    Drain,
    DummyInterface,
    Endpoint,
    Key,
    Kind,
    Listener,
    LocalRoute,
    RealServer,
    Resource,
    SchedulerFlag,
    State,
    SyncDaemon,
    Sysctl,
    Timeout,
    Vip,
    VirtualService,
    kind_of,
)

FORMAT_VERSION = "1.0"

FALLBACK_FLAGS = frozenset({SchedulerFlag.SH_FALLBACK, SchedulerFlag.MH_FALLBACK})


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    DRAIN = "drain"
    REPLACE = "replace"
    """Stopped and started: the one thing that cannot change in place, a sync daemon."""


class Phase(StrEnum):
    """The phases in their order. All but the last are undone if they fail; the last is finished."""

    PREPARE = "prepare"
    MAKE = "make"
    MODIFY = "modify"
    BIND = "bind"
    BREAK = "break"


PHASES = tuple(Phase)


@dataclass(frozen=True, slots=True)
class Change:
    """One object before and after; None is absence. `drain` marks a real server on its way out."""

    before: Resource | None
    after: Resource | None
    phase: Phase
    drain: Drain | None = None

    @property
    def resource(self) -> Resource:
        """The object that changes: as it will be, or as it was if it goes."""
        resource = self.after if self.after is not None else self.before
        assert resource is not None, "a change has a before or an after"
        return resource

    @property
    def key(self) -> Key:
        return self.resource.key

    @property
    def kind(self) -> Kind:
        return kind_of(self.resource)

    @property
    def action(self) -> Action:
        if self.drain is not None:
            return Action.DRAIN
        if self.before is None:
            return Action.CREATE
        if self.after is None:
            return Action.DELETE
        return Action.REPLACE if isinstance(self.after, SyncDaemon) else Action.UPDATE


@dataclass(frozen=True, slots=True)
class Plan:
    """Changes in the order of execution. No changes is a plan like any other."""

    changes: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes)

    def of(self, phase: Phase) -> tuple[Change, ...]:
        """Return the changes of one phase, in order."""
        return tuple(c for c in self.changes if c.phase is phase)

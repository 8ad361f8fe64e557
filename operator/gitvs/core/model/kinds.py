"""The table of resource kinds: what is true of every resource of a kind.

Each fact about a kind is written here once; other modules ask for the fact, not for the kind.
CONTRIBUTING.md lists what else a new kind needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeGuard

from gitvs.core.model.resources import (
    DummyInterface,
    Kind,
    LocalRoute,
    RealServer,
    Resource,
    SyncDaemon,
    Sysctl,
    Timeout,
    Vip,
    VirtualService,
)


class Role(Enum):
    """What resources are for. It decides the phase in which a plan makes and removes them."""

    SETTING = auto()
    """It always has a value; gitvs records the original one, and restores it later."""
    HOST = auto()
    """Other resources need it."""
    RULE = auto()
    """An IPVS rule."""
    ADDRESS = auto()
    """It makes addresses local, so that their packets reach the rules."""


@dataclass(frozen=True, slots=True)
class KindFacts:
    """What is true of every resource of one kind."""

    kind: Kind
    resource_class: type[Resource]
    noun: str
    """Its name in messages, in the singular; the plural adds an s."""
    role: Role
    make_rank: int
    """The order in which they are made in one phase, and listed; equal ones by address."""
    break_rank: int
    """The order in which a plan removes them."""
    label: str = ""
    """The word before its key in a message, if the key does not name the kind."""
    is_noticed: bool = False
    """Whether clients notice when it is gone; such objects are what gates count."""
    shows_maker: bool = False
    """Whether a value that gitvs did not write means that somebody else re-created the object."""
    is_restarted: bool = False
    """Whether a change requires a stop and a start."""
    only_drains_keep_it: bool = True
    """Whether only a drain keeps an object that is no longer desired."""

    @property
    def is_setting(self) -> bool:
        return self.role is Role.SETTING

    @property
    def is_owned_by_itself(self) -> bool:
        """Whether the ledger names it as owned: a real server belongs to its virtual service."""
        return not self.is_setting and self.kind is not Kind.REAL_SERVER


_TABLE = (
    KindFacts(
        Kind.VIRTUAL_SERVICE,
        VirtualService,
        "virtual service",
        Role.RULE,
        make_rank=4,
        break_rank=3,
        label="virtual service",
        is_noticed=True,
        shows_maker=True,
    ),
    KindFacts(
        Kind.VIP,
        Vip,
        "VIP",
        Role.ADDRESS,
        make_rank=6,
        break_rank=0,
        label="VIP",
        is_noticed=True,
    ),
    KindFacts(
        Kind.LOCAL_ROUTE,
        LocalRoute,
        "local route",
        Role.ADDRESS,
        make_rank=5,
        break_rank=1,
        label="route",
        is_noticed=True,
    ),
    KindFacts(
        Kind.REAL_SERVER,
        RealServer,
        "real server",
        Role.RULE,
        make_rank=4,
        break_rank=2,
        label="real server",
    ),
    KindFacts(
        Kind.SYNC_DAEMON,
        SyncDaemon,
        "sync daemon",
        Role.HOST,
        make_rank=3,
        break_rank=4,
        shows_maker=True,
        is_restarted=True,
        only_drains_keep_it=False,
    ),
    KindFacts(
        Kind.DUMMY_INTERFACE,
        DummyInterface,
        "dummy interface",
        Role.HOST,
        make_rank=2,
        break_rank=5,
        label="interface",
    ),
    KindFacts(
        Kind.TIMEOUTS,
        Timeout,
        "timeout",
        Role.SETTING,
        make_rank=1,
        break_rank=6,
        shows_maker=True,
        only_drains_keep_it=False,
    ),
    KindFacts(
        Kind.SYSCTL,
        Sysctl,
        "sysctl",
        Role.SETTING,
        make_rank=0,
        break_rank=7,
        label="sysctl",
        shows_maker=True,
        only_drains_keep_it=False,
    ),
)

KINDS: Mapping[Kind, KindFacts] = {facts.kind: facts for facts in _TABLE}
"""The facts of each kind. The kinds whose loss is the most serious come first."""

_BY_CLASS: Mapping[type, KindFacts] = {facts.resource_class: facts for facts in _TABLE}


def facts_of(resource: Resource) -> KindFacts:
    """Return what is true of every resource of this one's kind."""
    return _BY_CLASS[type(resource)]


def kind_of(resource: Resource) -> Kind:
    """Return the kind of a resource."""
    return _BY_CLASS[type(resource)].kind


def is_setting(resource: Resource | None) -> TypeGuard[Sysctl | Timeout]:
    """Whether something is a setting; None is not."""
    return resource is not None and facts_of(resource).is_setting


def is_local_address(resource: Resource) -> TypeGuard[Vip | LocalRoute]:
    """Whether a resource makes addresses local."""
    return facts_of(resource).role is Role.ADDRESS

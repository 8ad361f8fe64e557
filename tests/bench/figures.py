"""From samples to figures: what gitvs takes, what its peers take, growth, and targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median

from tests.bench.samples import Cost, Row, Sample, Who

DRIFT_INTERVAL_SECONDS = 60.0
"""Source: gitvs.core.settings, the default of `drift`."""

TARGET_SERVICES = 10_000
"""Targets hold for so many services."""

LINEAR = 1.1
"""How much more than in proportion something may grow to count as linear."""

_USER_SECONDS, _KERNEL_SECONDS = 0.075, 0.48
"""What 10^9 instructions of Python and of the kernel's netlink take natively, at most."""


class Unit(StrEnum):
    """What a row is counted in."""

    INSTRUCTIONS = "10^9 instructions"
    SECONDS = "processor seconds"
    MEGABYTES = "MB"


@dataclass(frozen=True, slots=True)
class Goal:
    """What a row is, the most that it may take, and which row of the peers it is compared with."""

    row: Row
    what: str
    limit: float | None = None
    peers_row: Row | None = None
    unit: Unit = Unit.INSTRUCTIONS


GOALS = (
    Goal(Row.APPLY, "write planned changes to an empty kernel", 2.2, Row.APPLY),
    Goal(Row.TRANSACTION, "the same, recorded, read back, undoable", 8.5, Row.APPLY),
    Goal(Row.BOOT, "gitvs restore after a boot, cold", 7, Row.APPLY),
    Goal(Row.COMMIT, "start of an agent that has nothing, to applied", 35, Row.APPLY),
    Goal(Row.CHANGE, "change one real server, agent running, with fetch", 0.65, Row.CHANGE),
    Goal(Row.OBSERVE, "observe the whole kernel, first time", 2.57, Row.OBSERVE),
    Goal(Row.OBSERVE_AGAIN, "observe it again", 1.6, Row.OBSERVE),
    Goal(Row.FOREIGN_ROUTES, "observe it beside 20 foreign routes a service"),
    Goal(Row.DRIFT, "drift pass of an idle agent, with fetch", 1.6),
    Goal(Row.STATUS, "gitvs status beside a running agent"),
    Goal(Row.BOUND_VIPS, "transaction that binds a VIP for each service"),
    Goal(Row.MEMORY, "memory of the agent", 220, unit=Unit.MEGABYTES),
    Goal(Row.PEAK, "the most that it had", unit=Unit.MEGABYTES),
    Goal(Row.LOAD, "here: first load, validation and render", 4, unit=Unit.SECONDS),
    Goal(Row.RELOAD, "here: the same after a one-file commit", unit=Unit.SECONDS),
    Goal(Row.PREVIEW, "here: preview of it, 200 directors, no cache", 4.5, unit=Unit.SECONDS),
    Goal(Row.NEXT_PREVIEW, "here: the same, the base in the cache", 1, unit=Unit.SECONDS),
    Goal(Row.STATUS_HERE, "here: gitvs status beside a running agent", 0.2, unit=Unit.SECONDS),
    Goal(Row.MEMORY_HERE, "here: memory of the agent", 220, unit=Unit.MEGABYTES),
    Goal(Row.PEAK_HERE, "here: the most that it had", unit=Unit.MEGABYTES),
)


class Verdict(StrEnum):
    """What became of a target."""

    MET = "met"
    MISSED = "MISSED"
    NO_TARGET = ""
    NOT_MEASURED = "NOT MEASURED"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table; `value` is None where nothing was measured."""

    goal: Goal
    services: int
    value: float | None
    cost: Cost | None = None
    peers: dict[Who, float] = field(default_factory=dict)

    @property
    def limit(self) -> float | None:
        return self.goal.limit if self.services == TARGET_SERVICES else None

    @property
    def verdict(self) -> Verdict:
        if self.value is None:
            return Verdict.NOT_MEASURED
        if self.limit is None:
            return Verdict.NO_TARGET
        return Verdict.MET if self.value <= self.limit else Verdict.MISSED


@dataclass(frozen=True, slots=True)
class Growth:
    """How many times more a row of gitvs takes with `services` than with `fewer`."""

    row: Row
    fewer: int
    services: int
    factor: float
    user_factor: float | None

    @property
    def verdict(self) -> Verdict:
        """Whether that is linear or better."""
        is_linear = self.factor <= LINEAR * self.services / self.fewer
        return Verdict.MET if is_linear else Verdict.MISSED


def figures_of(samples: Sequence[Sample], sizes: Sequence[int]) -> list[Figure]:
    """Return a figure for each row at each size; medians where there are several runs."""
    return [_figure(goal, size, samples) for goal in GOALS for size in sizes]


def growths_of(figures: Sequence[Figure]) -> list[Growth]:
    """Return how each row grows from the smallest size to each of the others."""
    return list(_growths(figures))


def drift_percent(cost: Cost) -> float:
    """Return at most how much of a processor drift passes take natively."""
    seconds = cost.user * _USER_SECONDS + cost.kernel * _KERNEL_SECONDS
    return 100 * seconds / DRIFT_INTERVAL_SECONDS


def _growths(figures: Sequence[Figure]) -> Iterator[Growth]:
    for goal in GOALS:
        measured = [figure for figure in figures if figure.goal is goal and figure.value]
        for figure in measured[1:]:
            first = measured[0]
            user = figure.cost.user / first.cost.user if figure.cost and first.cost else None
            factor = (figure.value or 0) / (first.value or 1)
            yield Growth(goal.row, first.services, figure.services, factor, user)


def _figure(goal: Goal, services: int, samples: Sequence[Sample]) -> Figure:
    ours = _samples_of(samples, goal.row, Who.GITVS, services)
    if not ours:
        return Figure(goal, services, None)
    peers = {}
    for who in (Who.IPVSADM, Who.KEEPALIVED):
        if goal.peers_row and (theirs := _samples_of(samples, goal.peers_row, who, services)):
            peers[who] = median(sample.value for sample in theirs)
    return Figure(goal, services, median(s.value for s in ours), ours[-1].cost, peers)


def _samples_of(samples: Sequence[Sample], row: Row, who: Who, services: int) -> list[Sample]:
    wanted = (row, who, services)
    return [sample for sample in samples if (sample.row, sample.who, sample.services) == wanted]

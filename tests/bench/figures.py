"""From samples to figures: medians and spreads, ratios to the peers, growth, against targets."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import linear_regression, median

from tests.bench.samples import Row, Sample, Who

DRIFT_INTERVAL_SECONDS = 60.0
"""Source: gitvs.core.settings, the default of `drift`."""

LINEAR = 1.1
"""The largest exponent that counts as linear: a tenth is what measuring twice differs by."""


@dataclass(frozen=True, slots=True)
class Goal:
    """How fast or small gitvs has to be: than a peer, or by itself.

    With a peer, `limit` is how many times faster at least; without, the most that it may be, for
    10,000 services and for fewer.
    """

    row: Row
    what: str
    limit: float
    peer: Who | None = None
    unit: str = ""


GOALS = (
    Goal(Row.APPLY, "apply a plan to an empty kernel", 10, Who.IPVSADM),
    Goal(Row.APPLY, "apply a plan to an empty kernel", 10, Who.KEEPALIVED),
    Goal(Row.TRANSACTION, "the same, recorded and read back twice", 4, Who.IPVSADM),
    Goal(Row.TRANSACTION, "the same, recorded and read back twice", 4, Who.KEEPALIVED),
    Goal(Row.CHANGE, "change one real server, agent running", 10, Who.KEEPALIVED),
    Goal(Row.OBSERVE, "observe the whole kernel, for the first time", 1, Who.IPVSADM),
    Goal(Row.OBSERVE_AGAIN, "observe it again, as an agent does", 1, Who.IPVSADM),
    Goal(Row.LOAD, "first load and render", 10, unit="s"),
    Goal(Row.RELOAD, "load and render after a one-file commit", 0.3, unit="s"),
    Goal(Row.PREVIEW, "preview of it, 200 directors, no cache yet", 15, unit="s"),
    Goal(Row.NEXT_PREVIEW, "the same, the base in the cache", 2, unit="s"),
    Goal(Row.MEMORY_HERE, "memory of the agent, here, kernel in memory", 250, unit="MB"),
    Goal(Row.PEAK_HERE, "the most that it had, here", 250, unit="MB"),
    Goal(Row.MEMORY, "memory of the agent, in the guest", 250, unit="MB"),
    Goal(Row.PEAK, "the most that it had, in the guest", 250, unit="MB"),
    Goal(Row.DRIFT_HERE, "processor time of drift passes, here, kernel in memory", 1, unit="%"),
    Goal(Row.DRIFT, "processor time of drift passes, in the guest", 1, unit="%"),
)
_MEASURED_AGAINST = {Row.TRANSACTION: Row.APPLY, Row.OBSERVE_AGAIN: Row.OBSERVE}
"""Whose samples a peer's are, where it does not do the same."""


class Verdict(StrEnum):
    """What became of a target. Nobody knows of one whose peer was given up too early."""

    MET = "met"
    MISSED = "MISSED"
    UNKNOWN = "not known"
    NOT_MEASURED = "NOT MEASURED"


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some values, and how far they lie apart."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `ours` and `theirs` are what `value` is made of.

    Each is None where it was not measured. A peer that was not done would have taken more than
    `theirs`, and `value` is more than it says.
    """

    goal: Goal
    services: int
    runs: int
    value: Spread | None
    ours: Spread | None
    theirs: Spread | None = None
    is_done: bool = True

    @property
    def verdict(self) -> Verdict:
        """Whether the target is met by the median."""
        if self.value is None:
            return Verdict.NOT_MEASURED
        if _is_met(self.goal, self.value.median):
            return Verdict.MET
        return Verdict.MISSED if self.is_done else Verdict.UNKNOWN


@dataclass(frozen=True, slots=True)
class Growth:
    """How a row of gitvs grows: with services to the power of `exponent`."""

    row: Row
    sizes: tuple[int, ...]
    exponent: float

    @property
    def verdict(self) -> Verdict:
        """Whether that is linear or better."""
        return Verdict.MET if self.exponent <= LINEAR else Verdict.MISSED


def figures_of(samples: Sequence[Sample], sizes: Sequence[int]) -> list[Figure]:
    """Return a figure for each target at each size; no warm-up counts."""
    counted = [sample for sample in samples if sample.run > 0]
    return [_figure(goal, size, counted) for goal in GOALS for size in sizes]


def growths_of(samples: Sequence[Sample]) -> list[Growth]:
    """Return how each row of gitvs grows; nothing where there is one size alone."""
    counted = [sample for sample in samples if sample.run > 0 and sample.who is Who.GITVS]
    return list(_growths(counted))


def _growths(samples: Sequence[Sample]) -> Iterator[Growth]:
    for row in Row:
        sizes = sorted({sample.services for sample in samples if sample.row is row})
        if len(sizes) < 2:
            continue
        medians = [median(_values(samples, row, Who.GITVS, size).values()) for size in sizes]
        slope, _ = linear_regression([*map(math.log, sizes)], [*map(math.log, medians)])
        yield Growth(row, tuple(sizes), slope)


def _figure(goal: Goal, services: int, samples: Sequence[Sample]) -> Figure:
    ours = _values(samples, goal.row, Who.GITVS, services)
    if goal.peer is None:
        values = [_alone(goal, value) for value in ours.values()]
        return Figure(goal, services, len(ours), _spread_of(values), _spread_of(ours.values()))
    row = _MEASURED_AGAINST.get(goal.row, goal.row)
    theirs = _values(samples, row, goal.peer, services)
    both = ours.keys() & theirs.keys()
    return Figure(
        goal,
        services,
        len(both),
        _spread_of([theirs[run] / ours[run] for run in both]),
        _spread_of(ours.values()),
        _spread_of(theirs.values()),
        all(s.is_done for s in samples if _is_of(s, row, goal.peer, services)),
    )


def _spread_of(values: Collection[float]) -> Spread | None:
    return Spread(median(values), min(values), max(values)) if values else None


def _alone(goal: Goal, value: float) -> float:
    return 100 * value / DRIFT_INTERVAL_SECONDS if goal.unit == "%" else value


def _values(samples: Sequence[Sample], row: Row, who: Who, services: int) -> dict[int, float]:
    """Return values by run."""
    return {s.run: s.value for s in samples if _is_of(s, row, who, services)}


def _is_of(sample: Sample, row: Row, who: Who, services: int) -> bool:
    return (sample.row, sample.who, sample.services) == (row, who, services)


def _is_met(goal: Goal, value: float) -> bool:
    return value <= goal.limit if goal.peer is None else value >= goal.limit

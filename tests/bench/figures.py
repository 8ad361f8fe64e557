"""From samples to figures: medians and spreads, ratios to the peers, growth, against targets."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from statistics import linear_regression, median

from tests.bench.samples import Row, Sample, Who

DRIFT_INTERVAL_SECONDS = 60.0
"""Source: gitvs.adapters.settings, the default of `drift`."""

LINEAR = 1.1
"""The largest exponent that counts as linear: a tenth is what measuring twice differs by."""


@dataclass(frozen=True, slots=True)
class Goal:
    """How fast or small gitvs has to be: than a peer, or by itself.

    With a peer, `limit` is how many times faster at least; without, the most that it may be.
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
    Goal(Row.OBSERVE, "observe the whole kernel", 1, Who.IPVSADM),
    Goal(Row.MEMORY, "memory of the agent", 250, unit="MB"),
    Goal(Row.DRIFT, "processor time of drift passes", 1, unit="%"),
)
_MEASURED_AGAINST = {Row.TRANSACTION: Row.APPLY}
"""Whose samples a peer's are, where it does not do the same."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some values, and how far they lie apart."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `ours` and `theirs` are what `value` is made of."""

    goal: Goal
    services: int
    runs: int
    value: Spread
    ours: Spread
    theirs: Spread | None

    @property
    def is_met(self) -> bool:
        """Whether the target is met by the median."""
        return _is_met(self.goal, self.value.median)


@dataclass(frozen=True, slots=True)
class Growth:
    """How a row of gitvs grows: with services to the power of `exponent`."""

    row: Row
    sizes: tuple[int, ...]
    exponent: float

    @property
    def is_met(self) -> bool:
        """Whether that is linear or better."""
        return self.exponent <= LINEAR


def spread_of(values: Collection[float]) -> Spread:
    """Return the median of values, and the least and the greatest of them."""
    return Spread(median(values), min(values), max(values))


def figures_of(samples: Sequence[Sample]) -> list[Figure]:
    """Return every figure that samples make, in the order of the targets; no warm-up counts."""
    counted = [sample for sample in samples if sample.run > 0]
    sizes = sorted({sample.services for sample in counted})
    found = (_figure(goal, size, counted) for goal in GOALS for size in sizes)
    return [figure for figure in found if figure is not None]


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


def _figure(goal: Goal, services: int, samples: Sequence[Sample]) -> Figure | None:
    ours = _values(samples, goal.row, Who.GITVS, services)
    if not ours:
        return None
    if goal.peer is None:
        values = [_alone(goal, value) for value in ours.values()]
        return Figure(goal, services, len(ours), spread_of(values), spread_of(ours.values()), None)
    row = _MEASURED_AGAINST.get(goal.row, goal.row)
    theirs = _values(samples, row, goal.peer, services)
    both = ours.keys() & theirs.keys()
    if not both:
        return None
    ratios = [theirs[run] / ours[run] for run in both]
    return Figure(
        goal,
        services,
        len(both),
        spread_of(ratios),
        spread_of(ours.values()),
        spread_of(theirs.values()),
    )


def _alone(goal: Goal, value: float) -> float:
    return 100 * value / DRIFT_INTERVAL_SECONDS if goal.row is Row.DRIFT else value


def _values(samples: Sequence[Sample], row: Row, who: Who, services: int) -> dict[int, float]:
    """Return values by run."""
    return {s.run: s.value for s in samples if (s.row, s.who, s.services) == (row, who, services)}


def _is_met(goal: Goal, value: float) -> bool:
    return value <= goal.limit if goal.peer is None else value >= goal.limit

"""The committed figures, accepted.json, and what is worse than they are.

They hold for the versions of everything that runs in the guest; with others they are shown, and
decide nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.samples import Row, Sample, Who
from tests.bench.table import number

FILE = Path(__file__).with_name("accepted.json")
TOLERANCE_PERCENT = 5.0

_KEPT_DIGITS = 4
_COMPARED_MEMORY = (Row.MEMORY, Row.PEAK)

Figures = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Values by unit, by row, by the number of services."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that differs from the committed one by more than is tolerated."""

    row: str
    services: str
    unit: str
    accepted: float
    measured: float

    @property
    def percent(self) -> float:
        """How much more it is."""
        if self.accepted == 0:
            return float("inf") if self.measured else 0.0
        return 100 * (self.measured / self.accepted - 1)

    def __str__(self) -> str:
        place = f"{self.row} at {int(self.services):,} services"
        values = f"{number(self.measured)} {self.unit}, accepted are {number(self.accepted)}"
        return f"{place}: {values} ({self.percent:+.1f} %)"


def values_of(samples: Sequence[Sample]) -> Figures:
    """Return what of gitvs is compared: what is counted in the guest, and its memory there."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for sample in samples:
        if sample.who is Who.GITVS and (values := dict(_values(sample))):
            found.setdefault(str(sample.services), {})[sample.row] = values
    return found


def differences(measured: Figures, accepted: Figures) -> list[Difference]:
    """Return every value that is worse or better by more than is tolerated, as far as known."""
    both = [
        Difference(row, services, unit, accepted[services][row][unit], value)
        for services, rows in measured.items()
        for row, values in rows.items()
        for unit, value in values.items()
        if unit in accepted.get(services, {}).get(row, {})
    ]
    return [difference for difference in both if abs(difference.percent) > TOLERANCE_PERCENT]


def report_text(found: Sequence[Difference], other_versions: Sequence[str]) -> str:
    """Return what there is to say about differences, and what to do."""
    worse = [difference for difference in found if difference.percent > 0]
    lines = [f"{'WORSE' if d in worse else 'better'}: {d}" for d in found]
    if other_versions:
        lines.append(f"The committed figures hold for other versions: {', '.join(other_versions)}.")
        lines.append("So nothing fails here; `make bench-accept` commits to these versions.")
    elif worse:
        lines.append(f"More than {TOLERANCE_PERCENT:g} % worse than tests/bench/accepted.json.")
        lines.append("Find the cause, or accept what was measured last: make bench-accept")
    elif found:
        lines.append("Keep what was won: make bench-accept")
    return "".join(f"{line}\n" for line in lines)


def other_versions(here: Mapping[str, str], accepted: Mapping[str, str]) -> list[str]:
    """Return which versions differ from those that the committed figures hold for."""
    return [
        f"{name} {accepted.get(name, 'none')} (here {here.get(name, 'none')})"
        for name in sorted(here.keys() | accepted.keys())
        if here.get(name) != accepted.get(name)
    ]


def load_accepted(file: Path = FILE) -> dict[str, Any]:
    """Return versions and figures; empty ones before any were accepted."""
    if not file.exists():
        return {"versions": {}, "figures": {}}
    document: dict[str, Any] = json.loads(file.read_text())
    return document


def accept(measured: Figures, versions: Mapping[str, str], file: Path = FILE) -> None:
    """Commit to what was measured; of the same versions, other sizes and rows are kept."""
    document = load_accepted(file)
    kept = document["figures"] if document["versions"] == versions else {}
    sizes = sorted({*kept, *measured}, key=int)
    figures = {size: {**kept.get(size, {}), **measured.get(size, {})} for size in sizes}
    text = json.dumps({"versions": versions, "figures": figures}, indent=1, sort_keys=True)
    file.write_text(f"{text}\n")


def _values(sample: Sample) -> Iterator[tuple[str, float]]:
    cost = sample.cost
    if cost is None:
        if sample.row in _COMPARED_MEMORY:
            yield "MB", round(sample.value, 1)
        return
    yield "10^9 instructions", round(cost.total, _KEPT_DIGITS)
    if cost.written_bytes is not None:
        yield "kB written", round(cost.written_bytes / 1000, 1)
    if cost.syncs is not None:
        yield "syncs", cost.syncs

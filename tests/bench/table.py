"""The tables that `make bench` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.bench.figures import Figure, Growth, Unit, Verdict
from tests.bench.samples import Sample, Who

_HEADINGS = (
    *("what", "services", "gitvs", "user", "kernel", "kB written", "syncs"),
    *("ipvsadm", "keepalived", "at most", ""),
)
_GROWTH_HEADINGS = ("growth", "services", "factor", "user alone", "")


def table_text(figures: Sequence[Figure]) -> str:
    """Return figures as aligned lines; without a unit they are 10^9 instructions."""
    return _aligned([_HEADINGS, *map(_figure_row, figures)])


def growth_text(growths: Sequence[Growth]) -> str:
    """Return growths as aligned lines; nothing where there is one size alone."""
    return _aligned([_GROWTH_HEADINGS, *map(_growth_row, growths)]) if growths else ""


def seconds_text(samples: Sequence[Sample]) -> str:
    """Return what a clock said of the same work, where KVM boots."""
    rows = [
        (str(s.row), str(s.who), f"{s.services:,}", f"{s.cost.seconds:.3f} s")
        for s in samples
        if s.cost is not None
    ]
    return _aligned([("by the clock", "of", "services", ""), *rows])


def number(value: float) -> str:
    """Return a number with three digits that count."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(f"{line}\n" for line in _lines(rows, widths))


def _lines(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    for place, row in enumerate(rows):
        yield "  ".join(map(str.ljust, row, widths)).rstrip()
        if place == 0:
            yield "  ".join("-" * width for width in widths).rstrip()


def _figure_row(figure: Figure) -> tuple[str, ...]:
    unit = {Unit.SECONDS: " s", Unit.MEGABYTES: " MB"}.get(figure.goal.unit, "")
    cost = figure.cost
    syncs = "" if cost is None or cost.syncs is None else str(cost.syncs)
    has_bytes = cost is not None and cost.written_bytes is not None
    return (
        figure.goal.what,
        f"{figure.services:,}",
        "" if figure.value is None else f"{number(figure.value)}{unit}",
        number(cost.user) if cost else "",
        number(cost.kernel) if cost else "",
        f"{(cost.written_bytes or 0) / 1000:,.0f}" if cost and has_bytes else "",
        syncs,
        _peer(figure, Who.IPVSADM),
        _peer(figure, Who.KEEPALIVED),
        "" if figure.limit is None else f"{figure.limit:g}{unit}",
        figure.verdict,
    )


def _peer(figure: Figure, who: Who) -> str:
    """Return what a peer takes, and how many times more than gitvs that is."""
    value = figure.peers.get(who)
    if value is None or not figure.value:
        return ""
    return f"{number(value)} ({number(value / figure.value)}x)"


def _growth_row(growth: Growth) -> tuple[str, ...]:
    return (
        str(growth.row),
        f"{growth.fewer:,} to {growth.services:,}",
        f"{number(growth.factor)}x",
        "" if growth.user_factor is None else f"{number(growth.user_factor)}x",
        "linear" if growth.verdict is Verdict.MET else "MORE THAN LINEAR",
    )

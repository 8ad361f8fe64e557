"""The table that `make bench` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.bench.figures import Figure, Growth, Spread

_HEADINGS = ("what", "services", "runs", "gitvs", "peer", "result", "spread", "target", "")


def table_text(figures: Sequence[Figure], growths: Sequence[Growth]) -> str:
    """Return figures and growths as aligned lines."""
    rows = [_HEADINGS, *map(_figure_row, figures), *map(_growth_row, growths)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return "".join(f"{line}\n" for line in _lines(rows, widths))


def _lines(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    for number, row in enumerate(rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
        if number == 0:
            yield "  ".join("-" * width for width in widths).rstrip()


def _figure_row(figure: Figure) -> tuple[str, ...]:
    goal = figure.goal
    unit = f" {goal.unit}" if goal.unit else "x"
    own_unit = " MB" if goal.unit == "MB" else " s"
    return (
        goal.what,
        f"{figure.services:,}",
        str(figure.runs),
        _median(figure.ours, own_unit),
        _peer(figure),
        f"{'' if figure.is_done else 'more than '}{_median(figure.value, unit)}",
        _range(figure.value),
        f"{'at most' if goal.peer is None else 'at least'} {goal.limit:g}{unit}",
        figure.verdict,
    )


def _peer(figure: Figure) -> str:
    if figure.theirs is None:
        return str(figure.goal.peer or "")
    how = "" if figure.is_done else "not done within "
    return f"{figure.goal.peer} {how}{_median(figure.theirs, ' s')}"


def _growth_row(growth: Growth) -> tuple[str, ...]:
    sizes = f"{growth.sizes[0]:,} to {growth.sizes[-1]:,}"
    exponent = f"n^{growth.exponent:.2f}"
    what = f"growth: {growth.row}"
    return what, sizes, "", "", "", exponent, "", "linear", growth.verdict


def _median(spread: Spread | None, unit: str) -> str:
    return "" if spread is None else f"{_number(spread.median)}{unit}"


def _range(spread: Spread | None) -> str:
    return "" if spread is None else f"{_number(spread.low)} to {_number(spread.high)}"


def _number(value: float) -> str:
    """Return a number with three digits that count."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"

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
    own_unit = "MB" if goal.unit == "MB" else "s"
    peer = "" if figure.theirs is None else f"{goal.peer} {_number(figure.theirs.median)} s"
    return (
        goal.what,
        f"{figure.services:,}",
        str(figure.runs),
        f"{_number(figure.ours.median)} {own_unit}",
        peer,
        f"{_number(figure.value.median)}{unit}",
        _range(figure.value),
        f"{'at most' if goal.peer is None else 'at least'} {goal.limit:g}{unit}",
        _verdict(figure.is_met),
    )


def _growth_row(growth: Growth) -> tuple[str, ...]:
    sizes = f"{growth.sizes[0]:,} to {growth.sizes[-1]:,}"
    exponent = f"n^{growth.exponent:.2f}"
    return (
        f"growth: {growth.row}",
        sizes,
        "",
        "",
        "",
        exponent,
        "",
        "linear",
        _verdict(growth.is_met),
    )


def _verdict(is_met: bool) -> str:
    return "met" if is_met else "MISSED"


def _range(spread: Spread) -> str:
    return f"{_number(spread.low)} to {_number(spread.high)}"


def _number(value: float) -> str:
    """Return a number with three digits that count."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"

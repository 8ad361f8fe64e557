"""How a pass ended, in words."""

from __future__ import annotations

import pytest

from gitvs.core.model.history import Outcome
from gitvs.report.plan.pass_text import pass_text


@pytest.mark.parametrize("result", list(Outcome))
def test_every_result_has_its_words(result: Outcome) -> None:
    assert pass_text(result).plain.count("\n") == 1


def test_the_reasons_stand_below_the_result() -> None:
    text = pass_text(Outcome.ROLLED_BACK, ["tcp 203.0.113.10:80: no memory (ENOMEM)"]).plain
    assert text.splitlines() == [
        "failed and rolled back: read back, everything is as it was",
        "  tcp 203.0.113.10:80: no memory (ENOMEM)",
    ]


def test_a_rollback_that_left_something_does_not_claim_that_all_is_as_it_was() -> None:
    text = pass_text(Outcome.ROLLED_BACK, ["not undone: x"], is_undone=False).plain
    assert text.splitlines() == [
        "failed and rolled back, but not all of it could be undone",
        "  not undone: x",
    ]


def test_an_apply_with_a_remark_does_not_claim_to_be_as_planned() -> None:
    assert "as planned" not in pass_text(Outcome.APPLIED, ["x; left as it is"]).plain


def test_thousands_of_reasons_are_cut_short_and_counted() -> None:
    lines = pass_text(Outcome.STUCK, [f"reason {n}" for n in range(3000)]).plain.splitlines()
    assert len(lines) == 22
    assert lines[-1] == "  and 2980 more"


def test_what_an_earlier_run_had_left_is_told_first() -> None:
    assert pass_text(Outcome.ROLLED_BACK, prefix="left open: ").plain.startswith(
        "left open: failed"
    )

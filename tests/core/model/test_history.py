"""Commits as they are shown: one short line, wherever they come from."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gitvs.adapters.git.parse_commit import parse_commit
from gitvs.adapters.store.small_records import commit_from_record
from gitvs.core.allowances import parse_allowances
from gitvs.core.model.history import Commit, one_line

HUGE = "x" * 1_000_000
SHORT = "x" * 119 + "…"


def test_a_subject_of_a_megabyte_is_shortened() -> None:
    commit = Commit("a" * 40, HUGE, HUGE)
    assert (commit.author, commit.subject) == (SHORT, SHORT)


def test_a_commit_of_an_older_record_is_shortened_too() -> None:
    record = {"id": "a" * 40, "author": "Ada", "subject": HUGE, "committedAt": None}
    assert commit_from_record(record) == Commit("a" * 40, "Ada", SHORT)


def test_a_commit_object_is_shown_short() -> None:
    data = f"tree {'0' * 40}\nauthor {HUGE} <a@x> 1 +0000\n\n{HUGE}\nmore\n".encode()
    commit = parse_commit("a" * 40, data)
    assert (commit.author, commit.subject) == (SHORT, SHORT)


def test_a_gate_of_a_megabyte_is_shortened() -> None:
    [allowance] = parse_allowances(f"Gitvs-Allow: {HUGE} {HUGE}")
    assert (allowance.gate, allowance.directors) == (SHORT, (SHORT,))


@given(st.text())
def test_any_text_is_one_short_line(text: str) -> None:
    line = one_line(text)
    assert len(line) <= 120
    assert len(line.splitlines()) <= 1
    assert one_line(line) == line

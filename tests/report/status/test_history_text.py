"""The history as a table and as JSON, and one transaction with its plan."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from rich.cells import cell_len

from gitvs.core.manifests.schema import schema_for
from gitvs.core.model.history import Cause, HistoryEntry, Outcome
from gitvs.core.model.ledger import Drain
from gitvs.core.planning.plan import Change, build_plan, diff
from gitvs.report.status.history_json import history_json, transaction_json
from gitvs.report.status.history_text import history_text, transaction_text
from tests.support import paths, scenario
from tests.support.builders import real_server
from tests.support.statuses import A, commit, earlier

GOLDEN = paths.GOLDEN / "transaction.txt"


def entry(id_: int = 17, result: Outcome = Outcome.APPLIED, **known: Any) -> HistoryEntry:
    """A transaction of commit A that took 312 ms."""
    at = earlier(minutes=2)
    summary = {"create": 3, "update": 1, "replace": 1, "drain": 2}
    found = HistoryEntry(id_, at, at + timedelta(milliseconds=312), result, A, summary, "")
    return replace(found, **known)


def changes() -> tuple[Change, ...]:
    """A plan with something of everything."""
    going = real_server(address="10.0.0.9", weight=0)
    pairs = [
        *diff(scenario.before().state, scenario.after().state),
        (real_server(address="10.0.0.9", weight=4), going),
    ]
    return build_plan(pairs, {going.key: Drain(going.key, 120, 1120)}).changes


def lines(*entries: HistoryEntry) -> list[str]:
    return history_text(entries).plain.splitlines()


def test_each_transaction_is_a_line_in_the_order_given() -> None:
    undone = entry(16, Outcome.ROLLED_BACK, commit=None, message="EINVAL: one\nEINVAL: two")
    head, done, *rest = lines(entry(), undone)
    assert re.split(r" {2,}", head) == [
        *("Id", "When (UTC)", "Result", "Changes", "Took", "Commit", "Author", "Subject"),
    ]
    assert re.split(r" {2,}", done) == [
        *("17", "2026-01-02 11:58:00", "applied", "+3 ~2 ↓2", "0.312s"),
        *("aaaaaaaaaaaa", "Ada Lovelace", "Add web3"),
    ]
    assert re.split(r" {2,}", rest[0])[-1] == "work tree"
    assert rest[1:] == ["      EINVAL: one", "      EINVAL: two"]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_list_fits_the_terminal(width: int) -> None:
    subject = "Weigh the canary of the shop up to a tenth, and take web2-ams out for its new disks"
    long = commit("b", subject)
    entries = [
        entry(512, cause=Cause.DRAIN_END, summary={"delete": 2}),
        entry(511, cause=Cause.UPKEEP, summary={"update": 12}),
        entry(510, Outcome.ROLLED_BACK, commit=long, message=f"{'tcp 192.0.2.1:80 ' * 6}: EINVAL"),
        entry(509, Outcome.CONVERGED, commit=long, summary={}),
    ]
    text = history_text(entries, width).plain
    assert text == (paths.GOLDEN / f"history-{width}.txt").read_text()
    assert max(map(cell_len, text.splitlines())) <= width


def test_a_host_without_transactions_says_so() -> None:
    assert lines() == ["no transaction is finished yet"]


def test_a_transaction_shows_its_plan_in_the_order_of_execution() -> None:
    text = transaction_text(entry(message="drift: tcp x"), changes(), 50).plain
    assert text == GOLDEN.read_text()


def test_a_forgotten_plan_is_called_so() -> None:
    text = transaction_text(entry(), None, 50).plain
    assert text.splitlines()[-1] == "the plan is forgotten: only the newest 50 are kept"


def test_a_work_tree_has_neither_author_nor_subject() -> None:
    text = transaction_text(entry(commit=None), (), 50).plain
    assert "commit   work tree" in text
    assert "author" not in text


def test_a_clock_that_was_set_back_makes_no_negative_time() -> None:
    back = entry(finished_at=earlier(hours=3))
    assert " 0.000s " in lines(back)[1]
    assert history_json([back])["transactions"][0]["durationSeconds"] == 0


@pytest.mark.parametrize("evil", ["[red]x[/red]", "x\x1b[31m\ty", "x\r\x9b2J"])
def test_what_comes_from_git_and_the_kernel_does_nothing_to_a_terminal(evil: str) -> None:
    spoilt = entry(commit=replace(commit("a", evil), author=evil), message=evil)
    for text in (history_text([spoilt]), transaction_text(spoilt, None, 50)):
        assert all(line.isprintable() for line in text.plain.split("\n"))
        assert "red]" not in "".join(str(span.style) for span in text.spans)
        if evil.startswith("["):
            assert text.plain.count(evil) == 3


def test_the_list_is_as_its_schema_says() -> None:
    document = json.loads(json.dumps(history_json([entry(), entry(16, commit=None)])))
    Draft202012Validator(schema_for("history")).validate(document)
    assert [t["id"] for t in document["transactions"]] == [17, 16]
    assert document["transactions"][0]["summary"] == {
        "create": 3,
        "update": 2,
        "delete": 0,
        "drain": 2,
    }


@pytest.mark.parametrize("plan", [None, (), changes()], ids=["forgotten", "empty", "everything"])
def test_a_transaction_is_as_its_schema_says(plan: tuple[Change, ...] | None) -> None:
    document = json.loads(json.dumps(transaction_json(entry(), plan)))
    Draft202012Validator(schema_for("transaction")).validate(document)
    assert (document["changes"] is None) is (plan is None)


def test_the_plan_stands_in_the_document_in_its_order_with_its_drains() -> None:
    found = transaction_json(entry(), changes())["changes"]
    assert [c["key"] for c in found] == [c.key for c in changes()]
    (drain,) = (c for c in found if c["action"] == "drain")
    assert drain["drainTimeoutSeconds"] == 120
    assert (drain["before"]["weight"], drain["after"]["weight"]) == (4, 0)


def test_the_schemas_share_their_words_with_the_others() -> None:
    transaction, observation = schema_for("transaction"), schema_for("observation")
    for name in transaction["$defs"].keys() & observation["$defs"].keys():
        assert transaction["$defs"][name] == observation["$defs"][name]
    one = schema_for("history")["$defs"]["transaction"]["properties"]
    assert {**one, "formatVersion": 0, "changes": 0}.keys() == transaction["properties"].keys()
    assert schema_for("history")["$defs"]["commit"] == schema_for("status")["$defs"]["commit"]


def test_a_commit_that_converged_says_that_nothing_had_to_change() -> None:
    converged = entry(18, Outcome.CONVERGED, summary={})
    [_, done] = lines(converged)
    assert re.split(r" {2,}", done)[:3] == ["18", "2026-01-02 11:58:00", "converged"]
    text = transaction_text(converged, [], 50).plain
    assert text.endswith("\nnothing had to change on this director\n")

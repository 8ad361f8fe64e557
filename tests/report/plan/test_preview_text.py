"""A preview at a terminal: who changes, what there is to know, and the verdict as its end."""

from __future__ import annotations

from dataclasses import replace

from gitvs.core.planning.plan import Plan
from gitvs.core.problems import Problem
from gitvs.report.plan.plan_view import DirectorPlan, Presence
from gitvs.report.plan.preview_text import preview_text
from gitvs.report.plan.preview_view import Preview
from tests.support import paths
from tests.support.html_preview import BASE, HEAD, realistic

GOLDEN = paths.GOLDEN / "preview.txt"


def text_of(preview: Preview) -> str:
    return preview_text(preview).plain


def last_line(preview: Preview) -> str:
    return text_of(preview).splitlines()[-1]


def ungated() -> list[DirectorPlan]:
    return [replace(plan, gates=()) for plan in realistic().plans]


def test_a_realistic_preview_reads_as_approved() -> None:
    assert text_of(realistic()) == GOLDEN.read_text()


def test_the_last_line_is_the_verdict() -> None:
    assert last_line(Preview(BASE, HEAD, unchanged=3)) == "nothing would change"
    assert last_line(realistic()).startswith("blocked by ")
    assert last_line(Preview(BASE, HEAD, tuple(ungated()))) == (
        "changes on 7 directors; removes 4 virtual services, 4 VIPs and 1 local route"
    )
    problem = Problem("web.yaml", 3, 5, "", "unknown-field", "no field x")
    invalid = Preview(BASE, HEAD, problems=(problem,))
    assert last_line(invalid) == "invalid: 1 problem"
    assert "  web.yaml:3:5: no field x [unknown-field]\n" in text_of(invalid)


def test_directors_are_counted_by_what_becomes_of_them() -> None:
    plan = ungated()[0]
    preview = Preview(
        BASE,
        HEAD,
        (
            plan,
            replace(plan, director="lb8", presence=Presence.APPEARS),
            replace(plan, director="lb9", presence=Presence.DISAPPEARS, plan=Plan()),
        ),
        unchanged=2,
    )
    assert (
        "5 directors: 1 to change, 1 new, 1 left the manifests, 2 unchanged; in all 2"
        in text_of(preview)
    )
    assert "lb9: left the manifests; the agent there keeps what is applied" in text_of(preview)
    assert "lb8 (new): " in text_of(preview)


def test_many_alike_directors_are_one_section() -> None:
    plan = ungated()[0]
    many = tuple(replace(plan, director=f"lb{n}") for n in range(15))
    text = text_of(Preview(BASE, HEAD, many))
    assert "lb0, lb1, lb2, lb3, lb4, lb5, lb6, lb7, lb8, lb9, lb10, lb11 and 3 more: " in text
    assert text.count("digest") == 0


def test_remarks_come_first() -> None:
    text = text_of(replace(realistic(), remarks=("commit a is invalid",)))
    assert text.splitlines()[1] == "note: commit a is invalid"

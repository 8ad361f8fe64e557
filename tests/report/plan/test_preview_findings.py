"""What a forge shows beside the diff: problems, gates and risks, each at its place."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator

from gitvs.core.model.desired import Desired, ManifestLocation
from gitvs.core.model.state import State
from gitvs.core.planning.gates import UNKNOWN_GATE_RULE, Gate
from gitvs.core.planning.risks import Risk
from gitvs.core.problems import Problem
from gitvs.report.plan.plan_view import DirectorPlan
from gitvs.report.plan.preview_findings import findings_of, report_findings
from gitvs.report.plan.preview_view import Preview
from gitvs.report.text.findings import FindingLevel
from gitvs.report.text.problems import ProblemFormat
from tests.report.text.test_problems import SARIF_SHAPE
from tests.support.builders import vip, virtual_service
from tests.support.html_preview import BASE, HEAD, realistic

WEB = virtual_service()
NOTHING = Desired("lb1", "lb", State())
GATE = Gate("capacity-drop", "3 of 4", "50 %", "web loses too much", is_allowed=False, key=WEB.key)
REMOVAL = Gate("mass-removal", "9 of 10", "30 %", "9 of 10 leave", is_allowed=True)


def plan(director: str = "lb1", *gates: Gate, risks: tuple[Risk, ...] = ()) -> DirectorPlan:
    return DirectorPlan(
        director,
        replace(realistic().plans[0]).plan,
        Desired("lb1", "lb", State([WEB])),
        State(),
        gates=gates,
        locations={WEB.key: ManifestLocation("web", "web.yaml", 7)},
        risks=risks,
        policy_location=ManifestLocation(None, "policy.yaml", 3),
    )


def preview(*plans: DirectorPlan, folder: str = "lb", **rest: object) -> Preview:
    return replace(Preview(BASE, HEAD, plans, folder=folder), **rest)  # type: ignore[arg-type]


def test_a_gate_is_at_its_object_and_one_about_many_at_the_policy() -> None:
    first, second = findings_of(preview(plan("lb1", GATE, REMOVAL)))
    assert (first.level, first.rule, first.path, first.line) == (
        FindingLevel.ERROR,
        "capacity-drop",
        "lb/web.yaml",
        7,
    )
    assert (second.level, second.path, second.line) == (FindingLevel.WARNING, "lb/policy.yaml", 3)


def test_what_many_directors_have_alike_is_said_once() -> None:
    plans = [plan(f"lb{n}", GATE) for n in range(7)]
    [finding] = findings_of(preview(*plans))
    assert finding.message == "web loses too much (on lb0, lb1, lb2, lb3, lb4 and 2 more)"


def test_what_left_the_manifests_is_at_no_place() -> None:
    gone = replace(plan("lb1", GATE), desired=NOTHING)
    assert findings_of(preview(gone))[0].path is None


def test_a_gate_about_what_leaves_is_where_that_was_or_its_service_is() -> None:
    gone, kept = (vip(f"203.0.113.{n}") for n in (20, 21))
    locations = {
        gone.key: ManifestLocation("shop", "shop.yaml", 4),
        kept.key: ManifestLocation("mail", "mail.yaml", 5),
    }
    leaving = replace(
        plan("lb1", REMOVAL),
        state_before=State([kept, gone]),
        desired=Desired("lb1", "lb", State([kept])),
    )
    [found] = findings_of(preview(replace(leaving, locations=locations)))[:1]
    assert (found.rule, found.path, found.line) == ("mass-removal", "lb/shop.yaml", 4)
    locations[kept.key] = ManifestLocation("shop", "new/shop.yaml", 9)
    [found] = findings_of(preview(replace(leaving, locations=locations)))[:1]
    assert (found.path, found.line) == ("lb/new/shop.yaml", 9)
    protected = Gate("protected-vip", "203.0.113.21", "protected", "it would leave", False)
    leaving = replace(leaving, gates=(protected,), desired=NOTHING, locations=locations)
    [found] = findings_of(preview(leaving))[:1]
    assert (found.path, found.line) == ("lb/new/shop.yaml", 9)


def test_risks_are_notices() -> None:
    risk = Risk("scheduler-with-persistence", "clients stay", WEB.key)
    own, over_all = findings_of(
        preview(plan(risks=(risk,)), risks=(Risk("vip-moves", "from lb1 to lb2"),))
    )
    assert (own.level, own.path, own.line) == (FindingLevel.NOTICE, "lb/web.yaml", 7)
    assert (over_all.level, over_all.path) == (FindingLevel.NOTICE, None)


def test_problems_come_first_and_one_in_a_message_is_in_no_file() -> None:
    wrong = Problem("web.yaml", 3, 5, "/spec", "unknown-field", "no field x")
    unknown = Problem("commit 0123456789ab", 3, 1, "", UNKNOWN_GATE_RULE, "x is no gate")
    first, second, *_ = findings_of(
        preview(plan("lb1", GATE), problems=(wrong,), warnings=(unknown,))
    )
    assert (first.path, first.line, first.column) == ("lb/web.yaml", 3, 5)
    assert (second.path, second.message) == (None, "commit 0123456789ab: x is no gate")
    assert (first.level, second.level) == (FindingLevel.ERROR, FindingLevel.WARNING)


def test_paths_are_right_for_a_repository_of_manifests_alone() -> None:
    assert findings_of(preview(plan("lb1", GATE), folder=""))[0].path == "web.yaml"


def everything() -> Preview:
    risks = (Risk("vip-moves", "from lb1\n::error::to lb2"),)
    return preview(plan("lb1", GATE, REMOVAL), risks=risks)


def test_github_gets_annotations_with_and_without_a_place() -> None:
    assert report_findings(everything(), ProblemFormat.GITHUB) == (
        "::error file=lb/web.yaml,line=7,title=gitvs%3A capacity-drop::web loses too much (on lb1)"
        "\n::warning file=lb/policy.yaml,line=3,title=gitvs%3A mass-removal::9 of 10 leave (on lb1)"
        "\n::notice title=gitvs%3A vip-moves::from lb1%0A::error::to lb2\n"
    )


def test_gitlab_gets_a_place_for_everything() -> None:
    issues = json.loads(report_findings(everything(), ProblemFormat.GITLAB))
    assert [(i["severity"], i["location"]["path"]) for i in issues] == [
        ("blocker", "lb/web.yaml"),
        ("major", "lb/policy.yaml"),
        ("info", "."),
    ]
    assert len({issue["fingerprint"] for issue in issues}) == 3


def test_sarif_has_the_shape_of_2_1_0() -> None:
    log = json.loads(report_findings(everything(), ProblemFormat.SARIF, "1.2"))
    assert [e.message for e in Draft202012Validator(SARIF_SHAPE).iter_errors(log)] == []
    results = log["runs"][0]["results"]
    assert [r["level"] for r in results] == ["error", "warning", "note"]
    places = [r["locations"][0]["physicalLocation"]["artifactLocation"] for r in results]
    assert [place["uri"] for place in places] == ["lb/web.yaml", "lb/policy.yaml", "."]


@pytest.mark.parametrize("form", [ProblemFormat.GITHUB, ProblemFormat.GITLAB, ProblemFormat.SARIF])
def test_a_preview_without_findings_is_a_report_too(form: ProblemFormat) -> None:
    text = report_findings(Preview(BASE, HEAD), form)
    assert text in ("", "[]\n") or json.loads(text)["runs"][0]["results"] == []

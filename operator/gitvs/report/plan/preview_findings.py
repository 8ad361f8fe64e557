"""A preview as findings: problems, gates and risks, each at its place in the manifests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gitvs.core.model.desired import Source
from gitvs.core.model.resources import Key
from gitvs.core.planning.gates import UNKNOWN_GATE, Gate
from gitvs.core.planning.risks import Risk
from gitvs.core.planning.risks.risk import some
from gitvs.core.problems import Problem
from gitvs.report.plan.plan_view import DirectorPlan
from gitvs.report.plan.preview_view import Preview
from gitvs.report.plan.preview_words import with_directors
from gitvs.report.text.findings import Finding, ForgeFormat, Level, forge_report, in_repository
from gitvs.report.text.problems import ProblemFormat, finding_of


def findings_of(preview: Preview) -> list[Finding]:
    """Return problems, gates and risks; what several directors have alike is one finding."""
    found = [_problem(problem, preview.folder) for problem in preview.problems]
    met = with_directors((p.director, _of_plan(p, preview.folder)) for p in preview.plans)
    levels = list(Level)
    for finding in sorted(met, key=lambda f: levels.index(f.level)):
        where = some(met[finding], 5)
        found.append(replace(finding, message=f"{finding.message} (on {where})"))
    return [*found, *(_risk(risk, None, "") for risk in preview.risks)]


def report_findings(preview: Preview, form: ProblemFormat, version: str = "") -> str:
    """Return a preview's findings in a forge's format."""
    return forge_report(findings_of(preview), ForgeFormat(form.value), version)


def _problem(problem: Problem, folder: str) -> Finding:
    if problem.rule != UNKNOWN_GATE:
        return finding_of(problem, folder)
    return Finding(Level.ERROR, problem.rule, f"{problem.file}: {problem.message}")


def _of_plan(plan: DirectorPlan, folder: str) -> Iterator[Finding]:
    for gate in plan.gates:
        yield _gate(gate, plan, folder)
    for risk in plan.risks:
        yield _risk(risk, _source(plan, risk.key), folder)


def _gate(gate: Gate, plan: DirectorPlan, folder: str) -> Finding:
    level = Level.WARNING if gate.allowed else Level.ERROR
    source = plan.policy_source if gate.key is None else _source(plan, gate.key)
    return _at(Finding(level, gate.name, gate.message), source, folder)


def _risk(risk: Risk, source: Source | None, folder: str) -> Finding:
    return _at(Finding(Level.NOTICE, risk.name, risk.message), source, folder)


def _source(plan: DirectorPlan, key: Key | None) -> Source | None:
    """Return where an object stands in the head; what left the manifests stands nowhere."""
    return plan.sources.get(key) if key is not None and key in plan.desired else None


def _at(finding: Finding, source: Source | None, folder: str) -> Finding:
    if source is None:
        return finding
    return replace(finding, path=in_repository(source.file, folder), line=source.line)

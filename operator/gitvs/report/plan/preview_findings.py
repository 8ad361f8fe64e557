"""A preview as findings: problems, gates and risks, each at its location in the manifests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

from gitvs.core.model.desired import ManifestLocation
from gitvs.core.model.kinds import facts_of, is_local_address
from gitvs.core.model.resources import (
    Endpoint,
    Key,
    Resource,
    VirtualService,
)
from gitvs.core.planning.gates import UNKNOWN_GATE_RULE, Gate
from gitvs.core.planning.risks import Risk
from gitvs.core.planning.risks.risk import names_text
from gitvs.core.problems import Problem
from gitvs.report.plan.plan_view import DirectorPlan
from gitvs.report.plan.preview_view import Preview
from gitvs.report.plan.preview_words import directors_by_item
from gitvs.report.plan.removals import removals_text
from gitvs.report.text.findings import (
    Finding,
    FindingLevel,
    ForgeFormat,
    findings_text,
)
from gitvs.report.text.places import Places
from gitvs.report.text.problems import ProblemFormat, finding_of


def findings_of(preview: Preview) -> list[Finding]:
    """Return problems, gates and risks; what several directors share is one finding."""
    findings = [finding_of(problem, preview.folder) for problem in preview.problems]
    findings += [_warning_finding(warning, preview.folder) for warning in preview.warnings]
    directors_by_finding = directors_by_item(
        (p.director, _plan_findings(p, preview.folder)) for p in preview.plans
    )
    levels = list(FindingLevel)
    for finding in sorted(directors_by_finding, key=lambda f: levels.index(f.level)):
        directors_text = names_text(directors_by_finding[finding], 5)
        findings.append(replace(finding, message=f"{finding.message} (on {directors_text})"))
    return [*findings, *(_risk_finding(risk, None, "") for risk in preview.risks)]


def report_findings(
    preview: Preview, problem_format: ProblemFormat, gitvs_version: str = ""
) -> str:
    """Return a preview's findings in a forge's format."""
    return findings_text(findings_of(preview), ForgeFormat(problem_format.value), gitvs_version)


def _warning_finding(warning: Problem, folder: str) -> Finding:
    if warning.rule != UNKNOWN_GATE_RULE:
        return finding_of(warning, folder, FindingLevel.WARNING)
    return Finding(FindingLevel.WARNING, warning.rule, f"{warning.file}: {warning.message}")


def _plan_findings(plan: DirectorPlan, folder: str) -> Iterator[Finding]:
    for gate in plan.gates:
        yield _gate_finding(gate, plan, folder)
    if text := removals_text([plan]):
        yield Finding(FindingLevel.NOTICE, "removals", f"this change {text}")
    for risk in plan.risks:
        yield _risk_finding(risk, _location(plan, risk.key), folder)


def _gate_finding(gate: Gate, plan: DirectorPlan, folder: str) -> Finding:
    level = FindingLevel.WARNING if gate.is_allowed else FindingLevel.ERROR
    return _with_location(Finding(level, gate.name, gate.message), _cause(plan, gate), folder)


def _cause(plan: DirectorPlan, gate: Gate) -> ManifestLocation | None:
    """Return where the manifests trigger a gate: its object, or the first that leaves.

    What left the manifests is where its Service is now, or else where it was. A limit alone, the
    Policy, is where nothing else is known.
    """
    if gate.key is not None:
        return _location(plan, gate.key)
    remaining = {
        loc.service: loc for key, loc in plan.locations.items() if key in plan.desired.state
    }
    for key, resource in plan.state_before.items():
        is_counted = facts_of(resource).is_noticed
        if key in plan.desired.state or not is_counted or not _is_about(gate, resource):
            continue
        if (location := plan.locations.get(key)) is not None:
            return remaining.get(location.service, location)
    return plan.policy_location


def _is_about(gate: Gate, resource: Resource) -> bool:
    """Whether a gate is about a removed object; only a protected VIP names one."""
    if gate.name != "protected-vip":
        return True
    address = ip_address(gate.measured)
    if is_local_address(resource):
        return resource.makes_local(address)
    listener = resource.listener if isinstance(resource, VirtualService) else None
    return isinstance(listener, Endpoint) and listener.address == address


def _risk_finding(risk: Risk, location: ManifestLocation | None, folder: str) -> Finding:
    return _with_location(Finding(FindingLevel.NOTICE, risk.name, risk.message), location, folder)


def _location(plan: DirectorPlan, key: Key | None) -> ManifestLocation | None:
    """Return the location of an object in the head; None if it left the manifests."""
    return plan.locations.get(key) if key is not None and key in plan.desired.state else None


def _with_location(finding: Finding, location: ManifestLocation | None, folder: str) -> Finding:
    if location is None:
        return finding
    return replace(finding, path=Places(folder).path(location.file), line=location.line)

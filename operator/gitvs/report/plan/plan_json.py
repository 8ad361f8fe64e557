"""A plan as the JSON of the public contract (`schemas/plan.schema.json`)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gitvs.core.model.desired import Source
from gitvs.core.model.resource_json import Document, document_of
from gitvs.core.planning.gates import Gate
from gitvs.core.planning.plan import FORMAT_VERSION, Change
from gitvs.core.planning.risks import Risk
from gitvs.report.plan.plan_view import DirectorPlan, Side
from gitvs.report.plan.preview_view import Preview
from gitvs.report.text.operations import operation_document


def plan_document(preview: Preview) -> Document:
    """Return plans as JSON types; changes stand in the order of execution."""
    return {
        "formatVersion": FORMAT_VERSION,
        "base": _side_document(preview.base),
        "head": _side_document(preview.head),
        "verdict": str(preview.verdict),
        "plans": [_director_document(plan) for plan in preview.plans],
        "unchanged": preview.unchanged,
        "risks": [_risk_document(risk) for risk in preview.risks],
        "remarks": list(preview.remarks),
        "problems": [asdict(problem) for problem in preview.problems],
    }


def _side_document(side: Side) -> Document:
    return {"kind": str(side.kind), "commit": side.commit}


def _director_document(plan: DirectorPlan) -> Document:
    return {
        "director": plan.director,
        "digest": plan.digest,
        "desiredDigest": plan.desired_digest,
        "presence": str(plan.presence),
        "outcome": str(plan.outcome),
        "summary": plan.summary,
        "changes": [_change_document(plan, change) for change in plan.plan.changes],
        "gates": [_gate_document(gate) for gate in plan.gates],
        "foreign": [str(name) for name in plan.foreign],
        "risks": [_risk_document(risk) for risk in plan.risks],
        "repairs": [_change_document(plan, change) for change in plan.repairs],
        "operations": [operation_document(o) for o in plan.operations.all],
    }


def _change_document(plan: DirectorPlan, change: Change) -> Document:
    source = plan.source_of(change.resource)
    document: dict[str, Any] = {
        "phase": str(change.phase),
        "action": str(change.action),
        "kind": str(change.kind),
        "key": str(change.key),
        "service": None if source is None else source.service,
        "before": None if change.before is None else document_of(change.before),
        "after": None if change.after is None else document_of(change.after),
        "source": _source_document(source),
    }
    if change.drain is not None:
        document["drainTimeoutSeconds"] = change.drain.timeout_seconds
    if change.key in plan.drift:
        document["drift"] = True
    return document


def _source_document(source: Source | None) -> Document | None:
    return None if source is None else {"file": source.file, "line": source.line}


def _gate_document(gate: Gate) -> Document:
    return {
        "name": gate.name,
        "measured": gate.measured,
        "limit": gate.limit,
        "message": gate.message,
        "allowed": gate.allowed,
        "key": None if gate.key is None else str(gate.key),
    }


def _risk_document(risk: Risk) -> Document:
    key = None if risk.key is None else str(risk.key)
    return {"name": risk.name, "message": risk.message, "key": key}

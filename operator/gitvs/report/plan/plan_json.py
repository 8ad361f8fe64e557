"""A plan as the JSON of the public contract (`schemas/plan.schema.json`)."""

from __future__ import annotations

from typing import Any

from gitvs.core.model.desired import ManifestLocation
from gitvs.core.model.health_json import health_json
from gitvs.core.model.resource_json import JsonObject, resource_json
from gitvs.core.planning.gates import Gate
from gitvs.core.planning.plan import PLAN_FORMAT_VERSION, Change
from gitvs.core.planning.risks import Risk
from gitvs.report.plan.health_view import HealthChange, ProbeLoad
from gitvs.report.plan.plan_view import DirectorPlan, PlanSide
from gitvs.report.plan.preview_view import Preview
from gitvs.report.plan.removals import removal_counts, removed_at_once
from gitvs.report.text.operations import operation_json


def plan_json(preview: Preview) -> JsonObject:
    """Return plans as JSON types; changes are in the order of execution."""
    return {
        "formatVersion": PLAN_FORMAT_VERSION,
        "base": _side_json(preview.base),
        "head": _side_json(preview.head),
        "folder": preview.folder,
        "verdict": str(preview.verdict),
        "plans": [_director_plan_json(plan) for plan in preview.plans],
        "unchanged": preview.unchanged,
        "risks": [_risk_json(risk) for risk in preview.risks],
        "remarks": list(preview.remarks),
        "problems": [problem.as_json() for problem in preview.problems],
        "warnings": [warning.as_json() for warning in preview.warnings],
    }


def _side_json(side: PlanSide) -> JsonObject:
    return {"kind": str(side.kind), "commit": side.commit}


def _director_plan_json(plan: DirectorPlan) -> JsonObject:
    return {
        "director": plan.director,
        "digest": plan.digest,
        "desiredDigest": plan.desired_digest,
        "presence": str(plan.presence),
        "outcome": str(plan.outcome),
        "summary": plan.summary,
        "changes": [_change_json(plan, change) for change in plan.plan.changes],
        "gates": [_gate_json(gate) for gate in plan.gates],
        "foreign": [str(name) for name in plan.foreign_names],
        "risks": [_risk_json(risk) for risk in plan.risks],
        "repairs": [_change_json(plan, change) for change in plan.repairs],
        "unrepairable": [
            {"key": str(key), "reason": reason} for key, reason in plan.unrepairable.items()
        ],
        "operations": [operation_json(o) for o in plan.operations.all],
        "removals": {
            "atOnce": removal_counts(removed_at_once(plan)),
            "afterDrains": removal_counts(plan.after_drains),
            "drainSeconds": plan.longest_drain_seconds,
        },
        "afterDrains": [_removal_json(plan, change) for change in plan.after_drains],
        "health": [_health_change_json(plan, change) for change in plan.health.changes],
        "probes": {
            "before": _probes_json(plan.health.probes_before),
            "after": _probes_json(plan.health.probes_after),
        },
    }


def _change_json(plan: DirectorPlan, change: Change) -> JsonObject:
    location = plan.location_of(change.resource)
    json_object: dict[str, Any] = {
        "phase": str(change.phase),
        "action": str(change.action),
        "kind": str(change.kind),
        "key": str(change.key),
        "service": None if location is None else location.service,
        "before": None if change.before is None else resource_json(change.before),
        "after": None if change.after is None else resource_json(change.after),
        "source": _location_json(location),
    }
    if change.drain is not None:
        json_object["drainTimeoutSeconds"] = change.drain.timeout_seconds
    if change.key in plan.repair_keys:
        json_object["cause"] = "repair"
    if change.key in plan.drift:
        json_object["drift"] = True
    return json_object


def _removal_json(plan: DirectorPlan, change: Change) -> JsonObject:
    location = plan.location_of(change.resource)
    return {
        "kind": str(change.kind),
        "key": str(change.key),
        "service": None if location is None else location.service,
    }


def _health_change_json(plan: DirectorPlan, change: HealthChange) -> JsonObject:
    location = plan.locations.get(change.key)
    return {
        "key": str(change.key),
        "service": None if location is None else location.service,
        "before": None if change.before is None else health_json(change.before),
        "after": None if change.after is None else health_json(change.after),
        "source": _location_json(location),
    }


def _probes_json(load: ProbeLoad) -> JsonObject:
    return {"count": load.count, "perSecond": round(load.per_second, 3)}


def _location_json(location: ManifestLocation | None) -> JsonObject | None:
    return None if location is None else {"file": location.file, "line": location.line}


def _gate_json(gate: Gate) -> JsonObject:
    return {
        "name": gate.name,
        "measured": gate.measured,
        "limit": gate.limit,
        "message": gate.message,
        "allowed": gate.is_allowed,
        "key": None if gate.key is None else str(gate.key),
    }


def _risk_json(risk: Risk) -> JsonObject:
    key = None if risk.key is None else str(risk.key)
    return {"name": risk.name, "message": risk.message, "key": key}

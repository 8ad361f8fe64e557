"""The words for a preview, the same in every report; text between backticks is code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypeVar

from gitvs.core.planning.gates import LIFTABLE_GATES, Gate
from gitvs.core.planning.risks import Risk
from gitvs.core.planning.risks.risk import names_text
from gitvs.report.plan.health_view import health_counts_text
from gitvs.report.plan.plan_view import (
    DirectorPlan,
    PlanOutcome,
    Presence,
    summary_of,
    summary_text,
)
from gitvs.report.plan.preview_view import Preview, Verdict
from gitvs.report.plan.removals import removals_text, service_removals_text
from gitvs.report.text.changes import location_text
from gitvs.report.text.counts import count_text

_T = TypeVar("_T")

LEFT_MANIFESTS_NOTE = (
    "the agent there keeps what is applied, and reports an error until `gitvs teardown` is run"
)
GATE_COLUMNS = ("Gate", "Directors", "Measured", "Limit", "What it means, and how to allow it")
_BLOCKED_DESCRIPTION = "Nothing is changed on these directors until every gate is allowed."
_ALLOWED_DESCRIPTION = "Over a limit, and let through by `Gitvs-Allow` or `--allow`."
_MAX_FULL_MESSAGES = 3


def verdict_text(preview: Preview) -> str:
    """Return the verdict of a preview, in a few words."""
    match preview.verdict:
        case Verdict.INVALID:
            return f"invalid: {count_text(len(preview.problems), 'problem')}"
        case Verdict.BLOCKED:
            blocked = [p for p in preview.plans if p.outcome is PlanOutcome.BLOCKED]
            gates = dict.fromkeys(g.name for p in blocked for g in p.gates if not g.is_allowed)
            return f"blocked by {', '.join(gates)} on {count_text(len(blocked), 'director')}"
        case Verdict.CHANGES:
            changes = (
                f"changes on {count_text(sum(p.is_notable for p in preview.plans), 'director')}"
            )
            return "; ".join(filter(None, (changes, service_removals_text(preview.plans))))
        case Verdict.NONE:
            return "nothing would change"


def counts_text(preview: Preview) -> str:
    """Return how many directors change, are new, removed or unchanged, and the total changes."""
    if preview.problems and not preview.plans:
        return "The manifests cannot be compared before these problems are solved."
    presence_counts = Counter(plan.presence for plan in preview.plans if plan.is_notable)
    total = len(preview.plans) + preview.unchanged
    director_counts = {
        "to change": presence_counts[Presence.STAYS],
        "new": presence_counts[Presence.APPEARS],
        "left the manifests": presence_counts[Presence.DISAPPEARS],
        "unchanged": total - presence_counts.total(),
    }
    directors = ", ".join(
        f"{number} {label}" for label, number in director_counts.items() if number
    )
    changes = [change for plan in preview.plans for change in plan.plan.changes]
    parts = (
        f"{count_text(total, 'director')}: {directors or 'none'}",
        f"in all {summary_text(summary_of(changes))}" if changes else "",
        removals_text(preview.plans),
        health_counts_text([plan.health for plan in preview.plans]),
    )
    return "; ".join(filter(None, parts))


def gates_description(preview: Preview, *, is_allowed: bool) -> str:
    """Return what blocking or allowed gates mean, and where their limits are set."""
    description = _ALLOWED_DESCRIPTION if is_allowed else _BLOCKED_DESCRIPTION
    locations = {plan.policy_location for plan in preview.plans if plan.gates}
    location_texts = sorted(
        f"`{location_text(preview.places.location(location))}`"
        for location in locations
        if location is not None
    )
    return description + (
        f" The Policy is in {names_text(location_texts, 10)}." if location_texts else ""
    )


def gates_with_directors(
    preview: Preview, *, is_allowed: bool
) -> Iterator[tuple[Gate, list[str], str]]:
    """Yield gates that block, or are allowed, each with its directors and its message."""
    directors_by_gate = directors_by_item((plan.director, plan.gates) for plan in preview.plans)
    for gate, message in gate_messages(
        gate for gate in directors_by_gate if gate.is_allowed is is_allowed
    ):
        yield gate, directors_by_gate[gate], message


def gate_messages(gates: Iterable[Gate]) -> Iterator[tuple[Gate, str]]:
    """Yield gates with their messages, those of one name together.

    If many services meet one gate, only the first has the full message.
    """
    by_name: dict[str, list[Gate]] = {}
    for gate in gates:
        by_name.setdefault(gate.name, []).append(gate)
    for same_name_gates in by_name.values():
        is_shortened = (
            len(same_name_gates) > _MAX_FULL_MESSAGES and same_name_gates[0].name in LIFTABLE_GATES
        )
        for number, gate in enumerate(same_name_gates):
            is_like_first = is_shortened and number > 0 and gate.key is not None
            yield gate, f"likewise {gate.key}" if is_like_first else gate.message


def risks_with_directors(preview: Preview) -> dict[Risk, list[str]]:
    """Return risks with the directors that they are about; an empty list means several."""
    directors_by_risk = directors_by_item((plan.director, plan.risks) for plan in preview.plans)
    return {**{risk: [] for risk in preview.risks}, **directors_by_risk}


def directors_by_item(items_by_director: Iterable[tuple[str, Iterable[_T]]]) -> dict[_T, list[str]]:
    """Return the items of directors, each once, with all directors that have it."""
    directors: dict[_T, list[str]] = {}
    for director, items in items_by_director:
        for item in items:
            directors.setdefault(item, []).append(director)
    return directors


def greatest_risk_text(plan: DirectorPlan) -> str:
    """Return the greatest risk of a plan: a gate, else its director's removal, else a risk."""
    for is_allowed, word in ((False, "blocked"), (True, "allowed")):
        gates = dict.fromkeys(f"`{g.name}`" for g in plan.gates if g.is_allowed is is_allowed)
        if gates:
            return f"{word}: {', '.join(gates)}"
    if plan.presence is Presence.DISAPPEARS:
        return "left the manifests"
    risks = dict.fromkeys(f"`{risk.name}`" for risk in plan.risks)
    return names_text(list(risks), 1) or "drift that the next sync repairs" * bool(plan.repairs)

"""The words of a preview, alike in every report; what stands between backticks is code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypeVar

from gitvs.core.planning.gates import LIFTABLE, Gate
from gitvs.core.planning.risks import Risk
from gitvs.core.planning.risks.risk import some
from gitvs.report.plan.plan_view import (
    DirectorPlan,
    PlanOutcome,
    Presence,
    summary_of,
    summary_text,
)
from gitvs.report.plan.preview_view import Preview, Verdict
from gitvs.report.text.change_words import place_text
from gitvs.report.text.problems import counted

_T = TypeVar("_T")

LEAVES = "the agent there keeps what is applied, and reports an error until `gitvs teardown` is run"
GATE_COLUMNS = ("Gate", "Directors", "Measured", "Limit", "What it means, and how to allow it")
_BLOCKED = "Nothing is changed on these directors until every gate is allowed."
_ALLOWED = "Over a limit, and let through by `Gitvs-Allow` or `--allow`."
_MOST_WHOLE = 3


def verdict_text(preview: Preview) -> str:
    """Return what a preview comes to, in a few words."""
    match preview.verdict:
        case Verdict.INVALID:
            return f"invalid: {counted(len(preview.problems), 'problem')}"
        case Verdict.BLOCKED:
            blocked = [p for p in preview.plans if p.outcome is PlanOutcome.BLOCKED]
            gates = dict.fromkeys(g.name for p in blocked for g in p.gates if not g.allowed)
            return f"blocked by {', '.join(gates)} on {counted(len(blocked), 'director')}"
        case Verdict.CHANGES:
            return f"changes on {counted(sum(p.is_news for p in preview.plans), 'director')}"
        case Verdict.NONE:
            return "nothing would change"


def counts_text(preview: Preview) -> str:
    """Return how many directors change, come, go and stay, and all changes together."""
    if preview.problems and not preview.plans:
        return "The manifests cannot be compared before these problems are solved."
    presence = Counter(plan.presence for plan in preview.plans if plan.is_news)
    total = len(preview.plans) + preview.unchanged
    numbers = {
        "to change": presence[Presence.STAYS],
        "new": presence[Presence.APPEARS],
        "left the manifests": presence[Presence.DISAPPEARS],
        "unchanged": total - presence.total(),
    }
    directors = ", ".join(f"{number} {what}" for what, number in numbers.items() if number)
    changes = [change for plan in preview.plans for change in plan.plan.changes]
    summed = f"; in all {summary_text(summary_of(changes))}" if changes else ""
    return f"{counted(total, 'director')}: {directors or 'none'}{summed}"


def gates_about(preview: Preview, *, is_allowed: bool) -> str:
    """Return what it means that gates block, or are allowed, and where their limits are set."""
    about = _ALLOWED if is_allowed else _BLOCKED
    sources = {plan.policy_source for plan in preview.plans if plan.gates}
    where = sorted(f"`{place_text(source)}`" for source in sources if source is not None)
    return about + (f" The Policy is in {some(where, 10)}." if where else "")


def gates_told(preview: Preview, *, is_allowed: bool) -> Iterator[tuple[Gate, list[str], str]]:
    """Yield gates that block, or are allowed, each with its directors and what to say of it."""
    met = with_directors((plan.director, plan.gates) for plan in preview.plans)
    for gate, message in gate_messages(gate for gate in met if gate.allowed is is_allowed):
        yield gate, met[gate], message


def gate_messages(gates: Iterable[Gate]) -> Iterator[tuple[Gate, str]]:
    """Yield gates with what to say of each, those of one name together.

    Of many services that meet one gate, the message of the first stands for all.
    """
    by_name: dict[str, list[Gate]] = {}
    for gate in gates:
        by_name.setdefault(gate.name, []).append(gate)
    for alike in by_name.values():
        is_short = len(alike) > _MOST_WHOLE and alike[0].name in LIFTABLE
        for number, gate in enumerate(alike):
            is_like_first = is_short and number > 0 and gate.key is not None
            yield gate, f"likewise {gate.key}" if is_like_first else gate.message


def risks_told(preview: Preview) -> dict[Risk, list[str]]:
    """Return what is good to know, with the directors that it is about; none: several."""
    own = with_directors((plan.director, plan.risks) for plan in preview.plans)
    return {**{risk: [] for risk in preview.risks}, **own}


def with_directors(told: Iterable[tuple[str, Iterable[_T]]]) -> dict[_T, list[str]]:
    """Return what is told of directors, each once, with all of whom it is told."""
    found: dict[_T, list[str]] = {}
    for director, items in told:
        for item in items:
            found.setdefault(item, []).append(director)
    return found


def greatest_risk(plan: DirectorPlan) -> str:
    """Return what stands most against a plan: a gate, that its director leaves, a risk."""
    for is_allowed, word in ((False, "blocked"), (True, "allowed")):
        gates = dict.fromkeys(f"`{g.name}`" for g in plan.gates if g.allowed is is_allowed)
        if gates:
            return f"{word}: {', '.join(gates)}"
    if plan.presence is Presence.DISAPPEARS:
        return "left the manifests"
    risks = dict.fromkeys(f"`{risk.name}`" for risk in plan.risks)
    return some(list(risks), 1) or "drift that the next sync repairs" * bool(plan.repairs)

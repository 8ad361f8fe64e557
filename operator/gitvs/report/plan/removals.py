"""What leaves a director: at once, and once its drains are over.

A reviewer approves by this: a Service that is deleted has no delete in the plan itself, since it
drains first, and its VIP is unbound by a later pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from math import ceil

from gitvs.core.durations import duration_text
from gitvs.core.model.kinds import KINDS, facts_of, is_setting
from gitvs.core.planning.plan import Change
from gitvs.report.plan.health_view import health_counts_text
from gitvs.report.plan.plan_view import DirectorPlan, summary_text
from gitvs.report.text.counts import count_text

AFTER_DRAINS_TITLE = "After the drains, by later passes"


def removed_at_once(plan: DirectorPlan) -> Iterable[Change]:
    """Return the deletes of the plan itself."""
    return (c for c in plan.plan.changes if c.after is None and not is_setting(c.before))


def changes_text(plan: DirectorPlan) -> str:
    """Return the counts of a plan's changes, what leaves, and how many checks change."""
    more = removals_text([plan]), health_counts_text([plan.health])
    return "; ".join([summary_text(plan.summary), *filter(None, more)])


def removals_text(plans: Iterable[DirectorPlan]) -> str:
    """Return `removes 1 virtual service and 1 VIP after drains of at most 1m`; empty if none."""
    plan_list = list(plans)
    at_once = _counts_text(c for plan in plan_list for c in removed_at_once(plan))
    later = _counts_text(c for plan in plan_list for c in plan.after_drains)
    parts = [f"{at_once} at once"] if at_once else []
    if later:
        longest = max(plan.longest_drain_seconds for plan in plan_list)
        parts.append(f"{later} after drains of at most {duration_text(ceil(longest))}")
    return f"removes {', and '.join(parts)}" if parts else ""


def service_removals_text(plans: Iterable[DirectorPlan]) -> str:
    """Return `removes 1 virtual service and 1 VIP`: what clients notice, now or later."""
    changes = (c for p in plans for c in (*removed_at_once(p), *p.after_drains))
    text = _counts_text(c for c in changes if facts_of(c.resource).is_noticed)
    return f"removes {text}" if text else ""


def removal_counts(changes: Iterable[Change]) -> Mapping[str, int]:
    """Return how many objects of each kind are removed, by the kinds of the plan JSON."""
    counts = Counter(change.kind for change in changes)
    return {str(kind): counts[kind] for kind in KINDS if counts[kind]}


def _counts_text(changes: Iterable[Change]) -> str:
    counts = Counter(change.kind for change in changes)
    texts = [count_text(counts[kind], f.noun) for kind, f in KINDS.items() if counts[kind]]
    return " and ".join((", ".join(texts[:-1]), texts[-1])) if len(texts) > 1 else "".join(texts)

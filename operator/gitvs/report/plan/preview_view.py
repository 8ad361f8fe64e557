"""The view of a change to several directors: a pull request, from base to head."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from gitvs.core.errors import ExitCode
from gitvs.core.planning.risks import Risk
from gitvs.core.problems import Problem
from gitvs.report.plan.plan_view import DirectorPlan, PlanOutcome, PlanSide, Presence
from gitvs.report.text.places import NO_PLACES, Forge, Places


class Verdict(StrEnum):
    """The result of a change as a whole, the worst first."""

    INVALID = "invalid"
    BLOCKED = "blocked"
    CHANGES = "changes"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Preview:
    """A change, for every director that it concerns.

    With `problems` there are no `plans`.

    `folder` is where the manifests are in the repository; `unchanged` counts the directors that
    do not change; `risks` are about several directors at once, those of one are in its plan.
    """

    base: PlanSide
    head: PlanSide
    plans: tuple[DirectorPlan, ...] = ()
    unchanged: int = 0
    risks: tuple[Risk, ...] = ()
    remarks: tuple[str, ...] = ()
    """Notes on how base and head were chosen, if they are not what was asked for."""
    problems: tuple[Problem, ...] = ()
    folder: str = ""
    warnings: tuple[Problem, ...] = ()
    places: Places = NO_PLACES
    """How places in the manifests are written."""

    @property
    def verdict(self) -> Verdict:
        if self.problems:
            return Verdict.INVALID
        if any(plan.outcome is PlanOutcome.BLOCKED for plan in self.plans):
            return Verdict.BLOCKED
        return Verdict.CHANGES if any(plan.is_notable for plan in self.plans) else Verdict.NONE

    @property
    def exit_code(self) -> ExitCode:
        """The exit code with `--detailed-exitcode`."""
        return {
            Verdict.INVALID: ExitCode.INVALID,
            Verdict.BLOCKED: ExitCode.BLOCKED,
            Verdict.CHANGES: ExitCode.CHANGES,
            Verdict.NONE: ExitCode.DONE,
        }[self.verdict]

    def directors_with(self, presence: Presence) -> tuple[str, ...]:
        """Return the directors that appear, or disappear."""
        return tuple(plan.director for plan in self.plans if plan.presence is presence)


def with_places(preview: Preview, forge: Forge | None) -> Preview:
    """Return a preview whose places are from the repository's root, with links to a forge."""
    commit_id = preview.head.commit or ("" if forge is None else forge.commit_id)
    places = Places(preview.folder, forge, commit_id)
    plans = tuple(replace(plan, places=places) for plan in preview.plans)
    return replace(preview, plans=plans, places=places)


@dataclass(frozen=True, slots=True)
class DirectorGroup:
    """Directors with the same changes, and the plan of the first."""

    directors: tuple[str, ...]
    plan: DirectorPlan


def director_groups(plans: Iterable[DirectorPlan]) -> list[DirectorGroup]:
    """Return equal plans as groups: blocked ones first, then in the given order.

    Equal plans have the same changes in the same order, the same gates, risks, repairs, drains,
    health checks and connections, and the same presence.
    """
    groups: dict[object, list[DirectorPlan]] = {}
    for plan in plans:
        connections = tuple((c.key, plan.connections.get(c.key)) for c in plan.plan.changes)
        gates = tuple((g.name, g.message, g.is_allowed) for g in plan.gates)
        unrepairable = tuple(plan.unrepairable.items())
        notes = (plan.risks, plan.repairs, unrepairable, plan.after_drains, plan.health)
        group_key = (
            plan.presence,
            plan.plan,
            gates,
            notes,
            tuple(sorted(plan.drains)),
            connections,
        )
        groups.setdefault(group_key, []).append(plan)
    unsorted_groups = [
        DirectorGroup(tuple(p.director for p in plans), plans[0]) for plans in groups.values()
    ]
    return sorted(unsorted_groups, key=lambda group: group.plan.outcome is not PlanOutcome.BLOCKED)

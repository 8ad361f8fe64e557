"""What a new desired state would change on a director that has another one in force.

Pure, and without access to the host: its kernel is assumed to match the state in force, without
foreign objects. So a preview and the agent propose the same, except for what only the host
knows: the values of settings before gitvs, and what its kernel lacks.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from gitvs.core.model.desired import Desired
from gitvs.core.model.kinds import facts_of, is_setting
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.observation import Observation
from gitvs.core.model.resources import Key, Resource
from gitvs.core.model.state import State
from gitvs.core.planning.gates import Lift
from gitvs.core.planning.overlay import with_fallback_flags
from gitvs.core.planning.plan import Plan, build_plan, is_forwarding_sysctl
from gitvs.core.planning.proposal import Proposal, propose

_PREVIEW_OWNER_ALIAS = "gitvs:preview"


def propose_preview(
    applied: Desired | None,
    desired: Desired,
    allowed: Collection[str] = (),
    lifts: Sequence[Lift] = (),
) -> Proposal:
    """Return the plan from `applied` to `desired`; `applied` is None if nothing is in force yet.

    A setting that is no longer named goes back to its value before gitvs, which is unknown
    here: its change has no `after`. For the same reason a new setting has no `before`.
    """
    state = State() if applied is None else with_fallback_flags(applied.state)
    proposal = propose(
        desired,
        applied,
        Observation(state),
        Ledger(_owned_keys(state)),
        0.0,
        _PREVIEW_OWNER_ALIAS,
        allowed=allowed,
        lifts=lifts,
        is_host_known=False,
    )
    changes = proposal.plan.changes
    changed_keys = {change.key for change in changes}
    put_back = [
        r for key, r in state.items() if key not in changed_keys and _is_put_back(r, desired.state)
    ]
    if not put_back:
        return proposal
    pairs = [(r, None) for r in put_back]
    plan = Plan((*changes, *build_plan(pairs, restored_keys={r.key for r in put_back}).changes))
    return replace(proposal, plan=plan)


def _owned_keys(state: State) -> frozenset[Key]:
    return frozenset(r.key for r in state.values() if facts_of(r).is_owned_by_itself)


def _is_put_back(resource: Resource, desired_state: State) -> bool:
    """Whether a setting goes back to its value before gitvs; forwarding sysctls never do."""
    if not is_setting(resource) or resource.key in desired_state:
        return False
    return not is_forwarding_sysctl(resource.key)

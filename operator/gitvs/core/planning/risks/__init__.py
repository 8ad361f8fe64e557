"""What a reviewer should know of a change, though no gate stops it. Pure.

Each rule is about what a plan changes, never about what stays, and says what, with which
values, and what to do. What is alike on one director is one note.
"""

from __future__ import annotations

from gitvs.core.model.desired import Desired
from gitvs.core.model.observation import Observation
from gitvs.core.planning.plan import Plan
from gitvs.core.planning.risks import addresses, connections, real_servers
from gitvs.core.planning.risks.context import risk_context
from gitvs.core.planning.risks.risk import Risk as Risk
from gitvs.core.planning.risks.vips import vip_risks as vip_risks

_RULES = (*addresses.RULES, *real_servers.RULES, *connections.RULES)


def director_risks(
    applied: Desired | None,
    desired: Desired,
    plan: Plan,
    observation: Observation | None = None,
) -> tuple[Risk, ...]:
    """Return what to know of one director's plan; more where its host was observed."""
    context = risk_context(applied, desired, plan, observation)
    return tuple(risk for rule in _RULES for risk in rule(context))

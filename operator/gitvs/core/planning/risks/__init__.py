"""What a reviewer should know about a change although no gate blocks it. Pure.

Each rule is about what a plan changes, never about what is unchanged. It says what the risk is,
with which values, and what to do. Objects of one director with the same risk share one note.

The rules are in `addresses`, `connections`, `real_servers` and `vips`; `context` is what each rule
looks at, `host_settings` what is read for them, `tunnel_overhead` how much longer packets become,
`risk` the note.
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
    """Return the risks of one director's plan; with an observation of its host it finds more."""
    context = risk_context(applied, desired, plan, observation)
    return tuple(risk for rule in _RULES for risk in rule(context))

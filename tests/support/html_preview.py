"""A preview that has something of everything, for pages: made from manifests, as people do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gitvs.core.manifests.render import render_director
from gitvs.core.model.desired import Desired, ManifestLocation
from gitvs.core.planning.offline_proposal import propose_preview as proposed
from gitvs.core.planning.risks import director_risks, vip_risks
from gitvs.core.problems import Problem
from gitvs.report.plan.plan_view import (
    DirectorPlan,
    PlanSide,
    PlanSideKind,
    Presence,
    director_plan,
)
from gitvs.report.plan.preview_view import Preview
from tests.support.builders import sysctl, update
from tests.support.manifests.writing import Doc, director, loaded, server, service

HOSTILE = (
    "<script>document.title = 'owned'</script>\"><img src=x onerror=\"document.title = 'owned'\">"
    "'&amp;</style></td></details>@team"
)
"""What a manifest or a commit might bring to take over a page."""

BASE = PlanSide(PlanSideKind.COMMIT, "4be1c07f93d2" + "0" * 28, "Add the second site")
HEAD = PlanSide(
    PlanSideKind.COMMIT, "9d20e5aa17c4" + "0" * 28, "Move web to wrr, retire the old API"
)
PROBLEM = Problem(
    "team-a/web.yaml", 14, 3, "/spec", "unknown-field", "shceduler is no `Service` field"
)

_EDGES = ("ams1", "ams2", "lax1", "lax2")


def _servers(prefix: str, weights: Iterable[int]) -> list[Doc]:
    return [
        server(f"{prefix}.{last}", name=f"app-{prefix[-1]}-{last}", weight=weight)
        for last, weight in enumerate(weights, start=5)
    ]


def _before() -> list[Doc]:
    return [
        *(director(name, {"role": "edge"}, timeouts={"tcp": "15m"}) for name in _EDGES),
        director("lab1", {"role": "lab"}, localRoutes=["198.51.100.0/24"]),
        director("old1", {"role": "old"}),
        service(
            "web",
            directors={"matchLabels": {"role": "edge"}},
            vips=["203.0.113.10", "2001:db8::10"],
            ports=[{"port": 443, "targetPort": 8443}],
            realServers=[*_servers("10.0.3", (10, 10, 30)), server("2001:db8:3::5", weight=4)],
        ),
        service(
            "api",
            directors={"matchLabels": {"role": ["edge", "old"]}},
            vips=["203.0.113.20"],
            ports=[{"port": 80, "targetPort": 8080}],
            realServers=_servers("10.0.4", (1, 1)),
        ),
        service(
            "dns",
            directors={"names": ["lab1"]},
            vips=["203.0.113.53"],
            ports=[{"port": 53, "protocol": "udp", "onePacket": True}],
            scheduler="rr",
            realServers=_servers("10.0.5", (1, 1, 1)),
        ),
        service(
            "sticky",
            directors={"names": ["lab1"]},
            vips=["203.0.113.30"],
            persistence={"timeout": "5m"},
            realServers=_servers("10.0.6", (1, 2)),
        ),
    ]


def _after() -> list[Doc]:
    lab = {"names": ["lab1"]}
    return [
        *(director(name, {"role": "edge"}, timeouts={"tcp": "20m"}) for name in _EDGES),
        director("lab1", {"role": "lab"}, localRoutes=["198.51.100.0/25"]),
        director("sea1", {"role": "lab"}),
        service(
            "web",
            directors={"matchLabels": {"role": "edge"}},
            vips=["203.0.113.10", "2001:db8::10"],
            ports=[{"port": 443, "targetPort": 8443}],
            scheduler="wrr",
            realServers=[
                *_servers("10.0.3", (10, 30)),
                server("10.0.3.9", name="canary", weight=5, upperThreshold=1000),
                server("2001:db8:3::5", weight=4),
            ],
        ),
        service(
            "api",
            directors={"names": ["sea1"]},
            vips=["203.0.113.20"],
            ports=[{"port": 80, "targetPort": 8080}],
            realServers=_servers("10.0.4", (1, 1)),
        ),
        service(
            "dns",
            directors=lab,
            vips=["203.0.113.53"],
            ports=[{"port": 53, "protocol": "udp", "onePacket": True}],
            scheduler="rr",
            realServers=_servers("10.0.5", (1,)),
            drain={"timeout": "0s"},
        ),
        service(
            "sticky",
            directors=lab,
            vips=["203.0.113.30"],
            persistence={"timeout": "10m"},
            realServers=_servers("10.0.6", (1, 2, 1)),
        ),
    ]


def _states(documents: list[Doc]) -> dict[str, Desired]:
    manifests = loaded(*documents)
    return {name: render_director(manifests, name) for name in manifests.director_names}


def _plan(name: str, before: Desired | None, after: Desired | None) -> DirectorPlan:
    if after is None:
        assert before is not None, "a director is on one side at least"
        gone = director_plan(proposed(before, before), applied=before)
        return replace(gone, presence=Presence.DISAPPEARS)
    proposal = proposed(before, after)
    return replace(
        director_plan(proposal, applied=before),
        presence=Presence.APPEARS if before is None else Presence.STAYS,
        risks=director_risks(before, after, proposal.plan),
        policy_location=ManifestLocation(None, "policy.yaml", 3),
    )


def _changed_by_hand(plan: DirectorPlan) -> DirectorPlan:
    """Somebody changed a setting on the host, and a commit allows what the plan takes away."""
    drifted = update(sysctl("net.ipv4.vs.conntrack", "0"), sysctl("net.ipv4.vs.conntrack", "1"))
    gates = tuple(replace(gate, is_allowed=True) for gate in plan.gates)
    return replace(plan, repairs=(drifted,), gates=gates)


def realistic() -> Preview:
    """Return seven directors: four are alike, one comes, one leaves, one has drifted."""
    before, after = _states(_before()), _states(_after())
    plans = [_plan(n, before.get(n), after.get(n)) for n in sorted({*before, *after})]
    plans = [_changed_by_hand(p) if p.director == "lab1" else p for p in plans]
    remarks = ("the branch parted from `main` at 4be1c07f93d2: compared from there",)
    risks_of_all = vip_risks(before, after)
    return Preview(BASE, HEAD, tuple(plans), 12, risks_of_all, remarks, folder="lb")


def dressed(text: str) -> Preview:
    """Return the same, in which everything that comes from elsewhere is this text."""
    made = realistic()
    return replace(
        made,
        base=replace(BASE, name=text),
        head=replace(HEAD, name=text),
        plans=tuple(_dressed_plan(plan, text) for plan in made.plans),
        remarks=(text,),
        folder=text,
        risks=tuple(replace(risk, message=text) for risk in made.risks),
        problems=(replace(PROBLEM, file=text, rule=text, message=text),),
        warnings=(replace(PROBLEM, file=text, rule=text, message=text),),
    )


def _dressed_plan(plan: DirectorPlan, text: str) -> DirectorPlan:
    told = {"name": text, "message": text}
    sources = {key: replace(s, file=text, service=text) for key, s in plan.locations.items()}
    return replace(
        plan,
        director=plan.director + text,
        gates=tuple(replace(g, measured=text, limit=text, **told) for g in plan.gates),
        risks=tuple(replace(risk, **told) for risk in plan.risks),
        server_names=dict.fromkeys(plan.server_names, text),
        locations=sources,
        foreign_names=(text,),
        policy_location=ManifestLocation(None, text, 1),
    )

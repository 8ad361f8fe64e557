"""What a plan changes about health checks, in words: the checks, and the probes they cause."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gitvs.core.durations import duration_text
from gitvs.core.model.desired import Desired
from gitvs.core.model.grouped import Grouped, differences
from gitvs.core.model.health import Check, CheckTimes, Health, OnFailure
from gitvs.core.model.resources import IPAddress, Key, RealServer
from gitvs.core.planning.plan import natural_sort_key
from gitvs.core.planning.risks.risk import names_text
from gitvs.core.problems import printable
from gitvs.report.text.counts import count_text

HEALTH_TITLE = "Health checks"
_MAX_NAMES = 5


@dataclass(frozen=True, slots=True)
class HealthChange:
    """The checks of a virtual service before and after; None means none."""

    key: Key
    before: Health | None
    after: Health | None


@dataclass(frozen=True, slots=True)
class ProbeLoad:
    """How many different probes run on a director, and how many start a second."""

    count: int = 0
    per_second: float = 0.0

    def __str__(self) -> str:
        digits = 1 if self.per_second >= 1 else 3
        return f"{self.count}, {round(self.per_second, digits):.12g} a second"


@dataclass(frozen=True, slots=True)
class HealthPlan:
    """What a plan changes about health checks, apart from those of virtual services that leave."""

    changes: tuple[HealthChange, ...] = ()
    probes_before: ProbeLoad = ProbeLoad()
    probes_after: ProbeLoad = ProbeLoad()

    def __bool__(self) -> bool:
        return bool(self.changes)


NO_HEALTH_PLAN = HealthPlan()


def health_plan(applied: Desired | None, desired: Desired) -> HealthPlan:
    """Return what changes about health checks; `applied` is None if nothing is in force."""
    return HealthPlan(
        health_changes(applied, desired),
        ProbeLoad() if applied is None else probe_load(applied),
        probe_load(desired),
    )


def health_changes(applied: Desired | None, desired: Desired) -> tuple[HealthChange, ...]:
    """Return the virtual services whose checks change, in the order of their addresses."""
    before: Mapping[Key, Health] = {} if applied is None else applied.health
    found = differences(Grouped.of(before), Grouped.of(desired.health))
    changes = [HealthChange(key, old, new) for key, old, new in found if key in desired.state]
    return tuple(sorted(changes, key=lambda c: natural_sort_key(desired.state[c.key])))


def probe_load(desired: Desired) -> ProbeLoad:
    """Return the probes of a desired state: equal ones of several virtual services run once."""
    seen: dict[tuple[Check, CheckTimes], set[tuple[IPAddress, int]]] = {}
    for key, health in desired.health.items():
        servers = [r for r in desired.state.groups.get(key, {}).values() if type(r) is RealServer]
        for check in health.checks:
            targets = seen.setdefault((check, health.times), set())
            targets.update(
                (s.address, s.port if check.port is None else check.port) for s in servers
            )
    return ProbeLoad(
        sum(map(len, seen.values())),
        sum(len(targets) / times.interval_seconds for (_, times), targets in seen.items()),
    )


def health_lines(plan: HealthPlan) -> Iterator[str]:
    """Yield the changes in words, virtual services with the same one together, and the probes."""
    keys: dict[tuple[Health | None, Health | None], list[Key]] = {}
    for change in plan.changes:
        keys.setdefault((change.before, change.after), []).append(change.key)
    for (before, after), same in keys.items():
        text = f"{health_text(before)} → {health_text(after)}"
        yield f"health checks of {names_text(same, _MAX_NAMES)}: {text}"
    if plan.probes_before != plan.probes_after:
        yield f"probes: {plan.probes_before} → {plan.probes_after}"


def health_counts_text(plans: Sequence[HealthPlan]) -> str:
    """Return `changes the health checks of 3 virtual services`; empty if none change."""
    count = sum(len(plan.changes) for plan in plans)
    return f"changes the health checks of {count_text(count, 'virtual service')}" if count else ""


def health_text(health: Health | None) -> str:
    """Return `tcp port 8080 every 2s, fall 2`: the checks, and what is not the default."""
    if health is None:
        return "none"
    times, standard = health.times, Health(health.checks)
    interval = times.interval_seconds
    checks = " and ".join(printable(check.words) for check in health.checks)
    parts = {
        f"timeout {duration_text(times.timeout_seconds)}": times.timeout_seconds
        != min(standard.times.timeout_seconds, interval),
        f"retryInterval {duration_text(times.retry_seconds)}": times.retry_seconds
        != max(interval / 3, 0.5),
        f"rise {health.rise}": health.rise != standard.rise,
        f"fall {health.fall}": health.fall != standard.fall,
        f"onFailure {health.on_failure}": health.on_failure is not OnFailure.DRAIN,
        f"keepPercent {health.keep_percent:g}": health.keep_percent != standard.keep_percent,
        f"losePercent {health.lose_percent:g}": health.lose_percent != standard.lose_percent,
        f"gainPercent {health.gain_percent:g}": health.gain_percent != health.lose_percent,
    }
    shown = [text for text, is_shown in parts.items() if is_shown]
    return ", ".join([f"{checks} every {duration_text(interval)}", *shown])

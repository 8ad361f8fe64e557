"""Health for people: what is noted beside a virtual service and a real server of the status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from gitvs.report.text.counts import count_text
from gitvs.report.text.times import span_text

JsonObject = Mapping[str, Any]

_COUNT_WORDS = {
    "up": "up",
    "down": "down",
    "kept": "kept",
    "frozen": "kept while this host's network fails",
    "last": "down and the last",
    "waiting": "waiting for the first pass",
    "unknown": "not known yet",
}
_SERVING_REASONS = {
    "kept": "kept by keepPercent",
    "frozen": "kept: nearly everything fails, see this host's network",
    "last": "kept: nobody else is left",
}


def service_health_notes(health: JsonObject) -> Iterator[str]:
    """Yield what is to be known of a checked virtual service, such as `8 up, 1 down`."""
    counts = health["counts"]
    shown = [f"{n} {_COUNT_WORDS[reason]}" for reason, n in counts.items() if n]
    if not shown:
        shown = ["checked, but no real server has a weight"]
    if counts["kept"]:
        shown[-1] += f" (keepPercent {health['keepPercent']:g})"
    yield ", ".join(shown)
    if health["isQuorumLost"]:
        up = health["upPercent"] or 0.0
        yield f"quorum lost: {up:g} % up, {health['gainPercent']:g} % needed"
    for check in health["onTrial"]:
        yield f"on trial: nobody has passed {check} yet"


def server_health_notes(health: JsonObject) -> Iterator[str]:
    """Yield what is to be known of a checked real server; nothing if it is up."""
    reason = health["reason"]
    if reason == "waiting":
        yield "waits for its first pass"
    if health["standing"] == "down":
        yield f"down {span_text(health['ageSeconds'])}: {failure_text(health)}"
    if reason in _SERVING_REASONS:
        yield _SERVING_REASONS[reason]


def failure_text(health: JsonObject) -> str:
    """Return why a real server or a check fails: `refused (Connection refused)`."""
    failure, text = health["failure"] or "failed", health["text"]
    return f"{failure} ({text})" if text else str(failure)


def troubles(status: JsonObject) -> list[str]:
    """Return what health finds wrong with a director, the worst first; an older agent has none."""
    health = status.get("health")
    if health is None:
        return []
    found = []
    checked = [s for s in status["services"] if s.get("health")]
    lost = [s for s in checked if s["health"]["isQuorumLost"]]
    last = [s for s in checked if s["health"]["counts"]["last"]]
    down = sum(
        server["standing"] == "down" and server["reason"] is not None
        for s in checked
        for server in s["health"]["realServers"]
    )
    if lost:
        found.append(f"{_named(lost)} lost the quorum")
    if last:
        found.append(f"no real server of {_named(last)} is up")
    if health["isFrozen"]:
        found.append("nearly all checks fail at once: look at this host's own network")
    if health["checker"] is not None and not health["checker"]["isAnswering"]:
        silent = span_text(health["checker"]["silentSeconds"])
        found.append(f"the checker has not answered for {silent}, so nothing new is known")
    if down:
        found.append(f"{count_text(down, 'real server')} down")
    return found


def is_service_lost(status: JsonObject) -> bool:
    """Whether a virtual service has lost its quorum, or has no real server that is up."""
    healths = [s["health"] for s in status["services"] if s.get("health")]
    return any(health["isQuorumLost"] or health["counts"]["last"] for health in healths)


def health_summary(status: JsonObject) -> str:
    """Return how many real servers are up and down, counted once for each virtual service."""
    healths = [s["health"] for s in status["services"] if s.get("health")]
    standings = Counter(server["standing"] for h in healths for server in h["realServers"])
    counts = [f"{standings[word]} {word}" for word in ("up", "down", "unknown") if standings[word]]
    return f"{', '.join(counts)}; {_checker_text(status['health'])}"


def _checker_text(health: JsonObject) -> str:
    checker = health["checker"]
    if checker is None:
        return "no checks run"
    if not checker["isAnswering"]:
        return (
            f"the checker has not answered for {span_text(checker['silentSeconds'])}; verdicts stay"
            f" as they are; started again {count_text(checker['restarts'], 'time')}"
        )
    notes = [count_text(checker["probes"], "probe")]
    if checker["withoutResults"]:
        notes.append(f"{checker['withoutResults']} of them bring no results")
    if checker["restarts"]:
        notes.append(f"started again {count_text(checker['restarts'], 'time')}")
    return ", ".join(notes)


def _named(services: list[JsonObject]) -> str:
    first = services[0]["service"] or services[0]["key"]
    return f"{first} and {len(services) - 1} more" if len(services) > 1 else str(first)

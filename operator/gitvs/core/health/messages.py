"""What the agent and the checker process say to each other, as JSON objects.

Down goes the whole set of probes. Up come runs of results, and a sign of life each second. What
comes up is from a process that reads answers of strangers: all of it is checked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from ipaddress import ip_address
from typing import Any

from gitvs.core.model.health import (
    Check,
    CheckTimes,
    Failure,
    PingCheck,
    Probe,
    ProbeId,
    Run,
)
from gitvs.core.model.health_json import check_from_json, check_json

MAX_FRAME_BYTES = 64 * 1024 * 1024
"""The longest message: 100,000 probes with everything that a check may have."""

MAX_TEXT_CHARACTERS = 200
"""The longest text of a result."""


class BadMessage(ValueError):
    """A message that cannot be understood."""


_NOT_UNDERSTOOD = (
    *(ValueError, TypeError, KeyError, AttributeError),
    *(OverflowError, RecursionError),
)
"""What the reading of rubbish as JSON, and of JSON as something else, may raise."""


@dataclass(frozen=True, slots=True)
class WantedProbe:
    """A probe to run, and after which runs of results to report.

    `passes` and `failures` are lengths of runs. When `mark` changes for a probe that goes on, the
    lengths are counted from that moment as well.
    """

    probe: Probe
    passes: frozenset[int] = frozenset({1})
    failures: frozenset[int] = frozenset({1})
    mark: int = 0


@dataclass(frozen=True, slots=True)
class ProbeSet:
    """All probes to run from now on; `generation` is the number of this set."""

    generation: int
    probes: Mapping[ProbeId, WantedProbe]


@dataclass(frozen=True, slots=True)
class Report:
    """Runs of results: those that became worth a report, or all present ones (`is_complete`)."""

    generation: int
    runs: Mapping[ProbeId, Run]
    is_complete: bool = False


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The state of the checker process, each second.

    `results` counts results since its start, by type of check and `pass`, `void` or the class of
    the failure. `stale` are probes with nothing but void results for three intervals.
    """

    probes: int = 0
    in_flight: int = 0
    worst_lateness_seconds: float = 0.0
    results: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    stale: tuple[ProbeId, ...] = ()


def probe_id(probe: Probe) -> ProbeId:
    """Return a short text that is the same for equal probes, whatever process asks."""
    text = json.dumps(_probe_json(probe), sort_keys=True)
    return blake2b(text.encode(), digest_size=12).hexdigest()


def _probe_json(probe: Probe) -> dict[str, Any]:
    times = probe.times
    return {
        "check": check_json(without_port(probe.check)),
        "address": str(probe.address),
        "port": probe.port,
        "interval": times.interval_seconds,
        "timeout": times.timeout_seconds,
        "retry": times.retry_seconds,
    }


def without_port(check: Check) -> Check:
    """Return a check without a port of its own: a probe says which it is."""
    return check if isinstance(check, PingCheck) else replace(check, port=None)


def _probe_from_json(data: Mapping[str, Any]) -> Probe:
    return Probe(
        check_from_json(data["check"]),
        ip_address(data["address"]),
        int(data["port"]),
        CheckTimes(float(data["interval"]), float(data["timeout"]), float(data["retry"])),
    )


def encode_probe_set(probe_set: ProbeSet) -> bytes:
    """Return the message for a set of probes."""
    return _encode(
        {
            "generation": probe_set.generation,
            "probes": [
                [i, _probe_json(w.probe), sorted(w.passes), sorted(w.failures), w.mark]
                for i, w in probe_set.probes.items()
            ],
        }
    )


def decode_probe_set(message: bytes) -> ProbeSet:
    """Return the set of probes of a message.

    Raises:
        BadMessage: it is none.
    """
    try:
        data = json.loads(message)
        probes = {
            str(identity): WantedProbe(
                _probe_from_json(probe), frozenset(passes), frozenset(failures), int(mark)
            )
            for identity, probe, passes, failures, mark in data["probes"]
        }
        return ProbeSet(int(data["generation"]), probes)
    except _NOT_UNDERSTOOD as error:
        raise BadMessage(f"no set of probes: {error!r}") from error


def encode_report(report: Report) -> bytes:
    """Return the message for a report."""
    return _encode(
        {
            "generation": report.generation,
            "isComplete": report.is_complete,
            "runs": {
                identity: [r.length, r.failure, r.text[:MAX_TEXT_CHARACTERS], r.latency_seconds]
                for identity, r in report.runs.items()
            },
        }
    )


def encode_heartbeat(heartbeat: Heartbeat) -> bytes:
    """Return the message for a sign of life."""
    return _encode(
        {
            "heartbeat": {
                "probes": heartbeat.probes,
                "inFlight": heartbeat.in_flight,
                "worstLateness": heartbeat.worst_lateness_seconds,
                "results": heartbeat.results,
                "seconds": heartbeat.seconds,
                "stale": list(heartbeat.stale),
            }
        }
    )


def decode_news(message: bytes) -> Report | Heartbeat:
    """Return what the checker process said.

    Raises:
        BadMessage: it is neither a report nor a sign of life.
    """
    try:
        data = json.loads(message)
        if (heartbeat := data.get("heartbeat")) is not None:
            return _heartbeat(heartbeat)
        runs = {str(identity): _run(run) for identity, run in data["runs"].items()}
        return Report(int(data["generation"]), runs, bool(data["isComplete"]))
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise BadMessage(f"neither a report nor a sign of life: {error!r}") from error


def _run(data: list[Any]) -> Run:
    length, failure, text, latency = data
    if not 0 <= int(length) < 2**53:
        raise BadMessage(f"a run of {length} results")
    shown = "".join(c if c.isprintable() else "?" for c in str(text)[:MAX_TEXT_CHARACTERS])
    return Run(int(length), None if failure is None else Failure(failure), shown, _finite(latency))


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise BadMessage(f"a time of {number} s")
    return number


def _heartbeat(data: Mapping[str, Any]) -> Heartbeat:
    return Heartbeat(
        int(data["probes"]),
        int(data["inFlight"]),
        _finite(data["worstLateness"]),
        {str(k): {str(c): int(n) for c, n in v.items()} for k, v in data["results"].items()},
        {str(k): _finite(v) for k, v in data["seconds"].items()},
        tuple(map(str, data["stale"])),
    )


def _encode(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()

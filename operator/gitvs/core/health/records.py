"""What a restart must know of health, as JSON types and back.

A virtual service is sound if somebody has passed each of its checks and all its real servers
serve. Those are not recorded: what is applied says which they are. All others are written in full,
so the record is in proportion to what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gitvs.core.health.check_states import CheckState, Standing
from gitvs.core.health.judgement import NO_JUDGEMENT, Quorum, ServiceJudgement
from gitvs.core.health.tracked_service import ServiceFacts, TrackedService
from gitvs.core.health.verdicts import ServerVerdict, ServiceVerdicts, TimedCheck
from gitvs.core.model.health import Failure, Health, Run
from gitvs.core.model.health_json import health_from_json, health_json
from gitvs.core.model.resource_json import JsonObject
from gitvs.core.model.resources import Key

MAX_AGE_SECONDS = 300.0
"""After a reboot that took longer, nothing is known of any real server."""


@dataclass(frozen=True, slots=True)
class RecordedAt:
    """A moment by the clocks that a record is compared with; `wall_seconds` since 1970.

    `alive_seconds` is when an agent last recorded that it was alive, by the wall clock: until then
    a record was kept true, however old it is.
    """

    wall_seconds: float
    boottime_seconds: float
    boot_id: str
    alive_seconds: float = 0.0


def health_record(troubled: Mapping[Key, TrackedService], at: RecordedAt) -> JsonObject:
    """Return the record of the virtual services that are not sound."""
    checks: dict[TimedCheck, int] = {}

    def numbers(some: Iterable[TimedCheck]) -> list[int]:
        return [checks.setdefault(check, len(checks)) for check in some]

    services = {}
    for key, service in sorted(troubled.items()):
        verdicts = service.verdicts
        services[key] = {
            "checks": numbers(verdicts.checks),
            "onTrial": sorted(numbers(verdicts.on_trial)),
            "former": numbers(verdicts.former),
            "quorum": str(service.judgement.quorum),
            "servers": {
                server: _server_record(verdict, numbers, service.judgement.memory.get(server))
                for server, verdict in verdicts.servers.items()
            },
        }
    return {
        "wallSeconds": at.wall_seconds,
        "boottimeSeconds": at.boottime_seconds,
        "bootId": at.boot_id,
        "checks": [health_json(Health((check,), times)) for check, times in checks],
        "troubled": services,
    }


def is_sound(service: TrackedService) -> bool:
    """Whether a restart needs to know nothing of a virtual service but that it was there."""
    verdicts, memory = service.verdicts, service.judgement.memory
    return (
        not verdicts.on_trial
        and service.judgement.quorum is Quorum.HELD
        and all(
            memory.get(key) and v.standing is not Standing.DOWN and not v.falls
            for key, v in verdicts.servers.items()
        )
    )


def _server_record(verdict: ServerVerdict, numbers: Any, was_in: bool | None) -> list[Any]:
    states = [
        [numbers([check])[0], str(s.standing), s.counted, s.run.failure, s.run.text]
        for check, s in verdict.checks.items()
    ]
    return [
        str(verdict.standing),
        verdict.since_seconds,
        verdict.failure,
        list(verdict.falls),
        was_in,
        states,
    ]


def health_from_record(
    record: Mapping[str, Any], now: RecordedAt, applied: Mapping[Key, Health]
) -> dict[Key, TrackedService]:
    """Return what is still worth knowing: moments are by the clock of this boot.

    `applied` are the checks in force: virtual services that are not in the record were sound.

    After a reboot it is worth something if the host was down for less than five minutes; if the
    wall clock went back meanwhile, nothing is known.
    """
    passed_seconds = now.wall_seconds - record["wallSeconds"]
    shift_seconds = 0.0
    if record["bootId"] != now.boot_id:
        if not is_recent(record, now):
            return {}
        shift_seconds = now.boottime_seconds - passed_seconds - record["boottimeSeconds"]
    checks = [_timed_check(check) for check in record["checks"]]
    found = {
        key: _remembered(tuple((check, health.times) for check in health.checks))
        for key, health in applied.items()
    }
    for key, service in record["troubled"].items():
        servers = service["servers"]
        verdicts = ServiceVerdicts(
            tuple(checks[n] for n in service["checks"]),
            frozenset(checks[n] for n in service["onTrial"]),
            tuple(checks[n] for n in service["former"]),
            {Key(k): _verdict(server, checks, shift_seconds) for k, server in servers.items()},
        )
        memory = {Key(k): server[4] for k, server in servers.items() if server[4] is not None}
        judgement = ServiceJudgement(memory=memory, quorum=Quorum(service["quorum"]))
        found[Key(key)] = _remembered(verdicts.checks, verdicts, judgement)
    return found


def is_recent(record: Mapping[str, Any], now: RecordedAt) -> bool:
    """Whether a record was true lately: enough to go by after a reboot, or without a checker."""
    true_until = max(float(record["wallSeconds"]), now.alive_seconds)
    return 0 <= now.wall_seconds - true_until <= MAX_AGE_SECONDS


def _timed_check(record: Mapping[str, Any]) -> TimedCheck:
    health = health_from_json(record)
    return health.checks[0], health.times


def _remembered(
    checks: tuple[TimedCheck, ...],
    verdicts: ServiceVerdicts | None = None,
    judgement: ServiceJudgement = NO_JUDGEMENT,
) -> TrackedService:
    """Return a virtual service of which Git and operators have not said anything yet."""
    health = Health(tuple(check for check, _ in checks))
    facts = ServiceFacts(health, None, 0.0, {}, {})
    return TrackedService(facts, verdicts or ServiceVerdicts(checks), judgement)


def _verdict(record: list[Any], checks: list[TimedCheck], shift_seconds: float) -> ServerVerdict:
    standing, since_seconds, failure, falls, _, states = record
    return ServerVerdict(
        {
            checks[number]: CheckState(Standing(state), Run(0, _failure(class_), text), -counted)
            for number, state, counted, class_, text in states
        },
        Standing(standing),
        since_seconds + shift_seconds,
        _failure(failure),
        tuple(fall + shift_seconds for fall in falls),
    )


def _failure(text: str | None) -> Failure | None:
    return None if text is None else Failure(text)

"""A director whose checks run in rounds, with the results that a test gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gitvs.core.health.judgement import Reason
from gitvs.core.health.messages import Report, WantedProbe
from gitvs.core.health.serving import OutBy
from gitvs.core.health.tracker import HealthTracker
from gitvs.core.model.desired import Desired
from gitvs.core.model.grouped import Grouped
from gitvs.core.model.health import CheckTimes, Failure, Health, ProbeId, Run, TcpCheck
from gitvs.core.model.resources import Key, Listener, RealServer, Scheduler, VirtualService
from gitvs.core.model.state import State
from tests.support.builders import WEB, real_server, virtual_service

TCP = TcpCheck()
PASS = None
REFUSED = Failure.REFUSED
TIMES = CheckTimes()
HEALTH = Health((TCP,))


def desired_with(
    servers: Sequence[RealServer],
    health: Health | None = HEALTH,
    listener: Listener = WEB,
    scheduler: Scheduler = Scheduler.WLC,
) -> Desired:
    """Return a desired state with one virtual service and its checks."""
    service = virtual_service(listener, scheduler)
    checks = {} if health is None else {listener.key: {listener.key: health}}
    return Desired("lb1", "gitvs0", State([service, *servers]), health=Grouped(checks))


def numbered(count: int, listener: Listener = WEB, weight: int = 10) -> list[RealServer]:
    """Return real servers 10.0.0.1, 10.0.0.2 and so on, or IPv6 ones for an IPv6 listener."""
    prefix = "10.0.0." if listener.family == "ipv4" else "2001:db8:1::"
    return [real_server(listener, f"{prefix}{n}", 8080, weight) for n in range(1, count + 1)]


@dataclass
class Rounds:
    """Runs all checks once in each round, and reports as the checker process does.

    `serving` is what the tracker says; `weights` are the weights that real servers have then.
    """

    desired: Desired
    applied: State | None = None
    operated: Desired | None = None
    now: float = 1000.0
    tracker: HealthTracker = field(default_factory=HealthTracker)
    runs: dict[ProbeId, Run] = field(default_factory=dict)
    marks: dict[ProbeId, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.define(self.desired)

    def define(self, desired: Desired, operated: Desired | None = None) -> None:
        """Take up another desired state; the one before it is what is applied."""
        self.tracker.define(desired, operated or desired, self.applied, self.now)
        self.desired, self.operated, self.applied = desired, operated or desired, desired.state
        self.tracker.judge(self.now)

    def round(self, failing: Mapping[str, Failure] | Iterable[str] = (), count: int = 1) -> None:
        """Run every check `count` times: it fails for these addresses, and passes for all others.

        Without a class of failure, connections are refused.
        """
        failures = failing if isinstance(failing, Mapping) else dict.fromkeys(failing, REFUSED)
        for _ in range(count):
            self.now += TIMES.interval_seconds
            wanted = self.tracker.wanted_probes()
            self.runs = {i: run for i, run in self.runs.items() if i in wanted}
            reported = {}
            for identity, probe in wanted.items():
                failure = failures.get(str(probe.probe.address))
                run = self._next_run(identity, failure)
                if self._is_reported(identity, probe, run):
                    reported[identity] = run
            self.tracker.take_report(Report(self.tracker.probes.generation, reported), self.now)
            self.tracker.judge(self.now)

    def _next_run(self, identity: ProbeId, failure: Failure | None) -> Run:
        run = self.runs.get(identity, Run())
        goes_on = run.length and (run.failure is None) == (failure is None)
        run = replace(run, length=run.length + 1 if goes_on else 1, failure=failure)
        self.runs[identity] = run
        return run

    def _is_reported(self, identity: ProbeId, wanted: WantedProbe, run: Run) -> bool:
        mark, marked_at = self.marks.get(identity, (0, 0))
        if wanted.mark != mark or run.length == 1:
            marked_at = 0 if run.length == 1 else run.length - 1
            self.marks[identity] = wanted.mark, marked_at
        lengths = wanted.passes if run.failure is None else wanted.failures
        return run.length in lengths or run.length - marked_at in lengths

    @property
    def weights(self) -> dict[str, int]:
        """The weight of each real server by address, with health on top; -1 if it is removed."""
        assert self.operated is not None
        out = self.tracker.serving().out
        found = {}
        for server in self.operated.state.of_type(RealServer):
            weight = 0 if server.key in out else server.weight
            found[str(server.address)] = -1 if out.get(server.key) is OutBy.REMOVAL else weight
        return found

    @property
    def up(self) -> list[str]:
        """The addresses of the real servers that serve."""
        return [address for address, weight in self.weights.items() if weight > 0]

    def reason(self, address: str) -> Reason | None:
        """Why the server of an address serves or not, in the first virtual service with it."""
        for tracked in self.tracker.services.values():
            for key, server in tracked.facts.servers.items():
                if str(server.address) == address:
                    return tracked.reason_of(key)
        raise KeyError(address)


def service_of(desired: Desired) -> Key:
    """Return the key of the only virtual service."""
    (service,) = desired.state.of_type(VirtualService)
    return service.key

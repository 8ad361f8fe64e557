"""Which probes a director runs, and for which virtual services: equal ones run once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator

from gitvs.core.health.messages import WantedProbe, probe_id
from gitvs.core.health.tracked_service import TrackedService
from gitvs.core.health.verdicts import MAX_FLAP_FACTOR, TimedCheck
from gitvs.core.model.health import Health, Probe, ProbeId
from gitvs.core.model.resources import Key, RealServer

Subscriber = tuple[Key, Key, TimedCheck]
"""A virtual service, one of its real servers, and a check that is made of it."""


class Probes:
    """The present set of probes; `generation` is its number."""

    def __init__(self) -> None:
        self.generation = 0
        self._probes: dict[ProbeId, Probe] = {}
        self._subscribers: dict[ProbeId, dict[Subscriber, None]] = {}
        self._marks: dict[ProbeId, int] = {}
        self._addresses: Counter[str] = Counter()
        """By how many probes each address is checked."""

    def replace(
        self, key: Key, before: TrackedService | None, after: TrackedService | None
    ) -> None:
        """Bring the probes up to date with one virtual service."""
        if before is not None and after is not None and _same_probes(before, after):
            return
        old = {} if before is None else dict(_subscriptions(key, before))
        new = {} if after is None else dict(_subscriptions(key, after))
        for subscriber, probe in new.items():
            identity = probe_id(probe)
            if identity not in self._probes:
                self._probes[identity] = probe
                self._addresses[str(probe.address)] += 1
            self._subscribers.setdefault(identity, {})[subscriber] = None
        for subscriber, probe in old.items():
            if subscriber not in new:
                self._unsubscribe(subscriber, probe_id(probe))
        self.generation += 1

    def _unsubscribe(self, subscriber: Subscriber, identity: ProbeId) -> None:
        subscribers = self._subscribers[identity]
        del subscribers[subscriber]
        if not subscribers:
            address = str(self._probes[identity].address)
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]
            del self._subscribers[identity], self._probes[identity]
            self._marks.pop(identity, None)

    def subscribers(self, identity: ProbeId) -> Collection[Subscriber]:
        """Return who hears of the results of a probe."""
        return self._subscribers.get(identity, {}).keys()

    def address(self, identity: ProbeId) -> str | None:
        """Return the address that a probe is about; None if it does not run any more."""
        probe = self._probes.get(identity)
        return None if probe is None else str(probe.address)

    @property
    def addresses(self) -> Collection[str]:
        """All addresses that are checked."""
        return self._addresses.keys()

    def recount(self, servers: Iterable[RealServer], checks: Collection[TimedCheck]) -> None:
        """Have the runs of these checks reported as if they began now."""
        for server in servers:
            for check in checks:
                identity = probe_id(probe_of(check, server))
                self._marks[identity] = self._marks.get(identity, 0) + 1
        self.generation += 1

    def wanted(self, health_of: Callable[[Key], Health]) -> dict[ProbeId, WantedProbe]:
        """Return the probes to run, and of which lengths of their runs to report."""
        return {
            identity: WantedProbe(
                probe,
                *_lengths(health_of(key) for key, _, _ in self._subscribers[identity]),
                mark=self._marks.get(identity, 0),
            )
            for identity, probe in self._probes.items()
        }


def probe_of(check: TimedCheck, server: RealServer) -> Probe:
    """Return a check of one real server as a probe."""
    kind, times = check
    return Probe(kind, server.address, server.port if kind.port is None else kind.port, times)


def _subscriptions(key: Key, tracked: TrackedService) -> Iterator[tuple[Subscriber, Probe]]:
    for check in (*tracked.verdicts.checks, *tracked.verdicts.former):
        for server in tracked.facts.servers.values():
            yield (key, server.key, check), probe_of(check, server)


def _same_probes(one: TrackedService, other: TrackedService) -> bool:
    old, new = one.facts.health, other.facts.health
    return (
        one.verdicts.checks == other.verdicts.checks
        and one.verdicts.former == other.verdicts.former
        and one.facts.servers.keys() == other.facts.servers.keys()
        and (old.rise, old.fall) == (new.rise, new.fall)
    )


def _lengths(healths: Iterable[Health]) -> tuple[frozenset[int], frozenset[int]]:
    """Return of which numbers of passes and of failures in a row to hear."""
    passes, failures = {1}, {1}
    for health in healths:
        passes.update(range(1, health.rise + 1), _penalised_rises(health.rise))
        failures.update(range(1, health.fall + 1))
    return frozenset(passes), frozenset(failures)


def _penalised_rises(rise: int) -> Iterator[int]:
    """Yield after how many passes a server that has fallen several times comes back."""
    factor = 2
    while factor <= MAX_FLAP_FACTOR:
        yield rise * factor
        factor *= 2

"""Runs the phases of a plan up to the point of no return, and reads back what they did.

`transaction` records, undoes and finishes; this module says which changes failed, and why.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from gitvs.core.errors import GitvsError
from gitvs.core.model.observation import Observation
from gitvs.core.model.resource_json import resource_json
from gitvs.core.model.resources import Key, Kind, RealServer
from gitvs.core.model.state import State
from gitvs.core.planning.plan import PHASES, Change, Phase, Plan
from gitvs.core.planning.repairs import Failures
from gitvs.ports import Ports, WriteResult, WriteStatus

log = logging.getLogger(__name__)


class ChangesFailed(GitvsError):
    """Changes that failed before the point of no return.

    `conflicting_keys` are creates that found a foreign object.
    """

    def __init__(
        self,
        failures: Iterable[str],
        conflicting_keys: frozenset[Key] = frozenset(),
        is_transient: bool = False,
    ) -> None:
        self.failures = tuple(failures)
        self.conflicting_keys = conflicting_keys
        self.is_transient = is_transient
        super().__init__("; ".join(failures))


def run_forward_phases(
    ports: Ports,
    plan: Plan,
    read: Callable[[], Observation],
    failed_repairs: Failures | None = None,
) -> Observation:
    """Run all phases up to the point of no return, and read back what they did."""
    made: list[Change] = []
    for phase in PHASES[:-1]:
        changes = plan.in_phase(phase)
        if failed_repairs is not None:
            changes = failed_repairs.possible(changes)
        if changes:
            _run_phase(ports, changes, read, failed_repairs)
            made += changes
    read_back = read()
    if failed_repairs is not None:
        made = [c for c in made if c.key not in failed_repairs.reasons]
    _fail(_mismatches(made, read_back), failed_repairs, made_keys=read_back.state.keys())
    return read_back


def _run_phase(
    ports: Ports,
    changes: Sequence[Change],
    read: Callable[[], Observation],
    failed_repairs: Failures | None = None,
) -> None:
    """Run one phase, and fail unless every change of it is known to be done.

    Raises:
        ChangesFailed: with what the kernel refused, or what a reading showed after a lost answer.
    """
    write_results = ports.kernel.execute(changes)
    conflicting_keys = _conflicting_keys(write_results)
    refused = [o for o in write_results if o.status is WriteStatus.REFUSED]
    existing_servers = [
        o.change for o in refused if _is_existing_server(o) and o.change.key not in conflicting_keys
    ]
    failures = {o.change.key: o.message for o in refused if o.change not in existing_servers}
    if failed_repairs is not None:
        failures |= _remove_from_foreign_services(ports, write_results, conflicting_keys)
    _fail(failures, failed_repairs, conflicting_keys=conflicting_keys)
    if existing_servers:
        _modify_existing_servers(ports, existing_servers, read, failed_repairs)
    unanswered = [o.change for o in write_results if o.status is WriteStatus.UNKNOWN]
    if unanswered:
        log.warning("answers lost count=%d", len(unanswered))
        read_back = read()
        mismatches = _mismatches(unanswered, read_back)
        _fail(mismatches, failed_repairs, made_keys=read_back.state.keys(), is_transient=True)


def _fail(
    failures: Mapping[Key, str],
    failed_repairs: Failures | None,
    *,
    conflicting_keys: frozenset[Key] = frozenset(),
    made_keys: Collection[Key] = (),
    is_transient: bool = False,
) -> None:
    """Record the repairs that failed; any other failure ends the transaction.

    `is_transient`: a change without an answer that is not there may succeed next time.

    Raises:
        ChangesFailed: a change failed that is no repair.
    """
    if failed_repairs is not None:
        failed_repairs.add(failures, made_keys)
    elif failures:
        raise ChangesFailed(failures.values(), conflicting_keys, is_transient)


def _is_existing_server(write_result: WriteResult) -> bool:
    """Whether a real server to be added to an owned service existed already."""
    return write_result.errno == errno.EEXIST and write_result.change.kind is Kind.REAL_SERVER


def _conflicting_keys(write_results: Sequence[WriteResult]) -> frozenset[Key]:
    """Creates that found a foreign object; real servers of an owned service are never foreign."""
    already_there = [
        o.change for o in write_results if o.errno == errno.EEXIST and o.change.before is None
    ]
    foreign_keys = {c.key for c in already_there if c.kind is not Kind.REAL_SERVER}
    servers_inside = {
        c.key
        for c in already_there
        if isinstance(c.after, RealServer) and c.after.service_key in foreign_keys
    }
    return frozenset(foreign_keys | servers_inside)


def _remove_from_foreign_services(
    ports: Ports, write_results: Sequence[WriteResult], conflicting_keys: frozenset[Key]
) -> dict[Key, str]:
    """Remove the real servers that were just added to somebody else's virtual service."""
    added = [
        o.change.after
        for o in write_results
        if o.status is not WriteStatus.REFUSED
        and o.change.before is None
        and isinstance(o.change.after, RealServer)
        and o.change.after.service_key in conflicting_keys
    ]
    if added:
        ports.kernel.execute([Change(server, None, Phase.BREAK) for server in added])
    return {s.key: f"{s.key}: {s.service_key} is not gitvs's" for s in added}


def _modify_existing_servers(
    ports: Ports,
    existing_servers: Sequence[Change],
    read: Callable[[], Observation],
    failed_repairs: Failures | None,
) -> None:
    """Change real servers that existed already to their desired values."""
    observed = read().state
    changes = [
        Change(observed[c.key], c.after, Phase.MODIFY)
        for c in existing_servers
        if c.key in observed
    ]
    write_results = ports.kernel.execute(changes)
    refused = [o for o in write_results if o.status is WriteStatus.REFUSED]
    _fail({o.change.key: o.message for o in refused}, failed_repairs)


def _mismatches(changes: Iterable[Change], observation: Observation) -> dict[Key, str]:
    """Return what was written and is read back differently, with the difference."""
    state = observation.state
    # Most are the same object that was written: the reading returns it if the bytes are equal.
    differing = [c for c in changes if (x := state.get(c.key)) is not c.after and x != c.after]
    return {c.key: f"{c.key}: {mismatch(c, state)}" for c in differing}


def mismatch(change: Change, observed: State) -> str:
    found = observed.get(change.key)
    if found is None:
        return "written, but not there when read back"
    if change.after is None:
        return "removed, but still there when read back"
    written, read = resource_json(change.after), resource_json(found)
    differing = (f"{f} is {read[f]}, not {v}" for f, v in written.items() if read[f] != v)
    return f"when read back, {' and '.join(differing)}"

"""One turn of the agent: fetch, one pass, done.

Whatever keeps the newest commit from being applied (no answer from the remote, invalid
manifests, a gate, a quarantine), the applied commit stays in force: drift is repaired, and
drains end. What a pass does is the business of `reconcile`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from gitvs.adapters.directory_source import DirectorySource
from gitvs.adapters.git_remote import GitRemote
from gitvs.adapters.settings import RemoteSettings
from gitvs.core.errors import GitvsError, Quarantined, SourceError
from gitvs.core.gates import allowed_gates
from gitvs.core.history import Result
from gitvs.core.manifests import load
from gitvs.core.problems import printable
from gitvs.core.render import render
from gitvs.ports import Applied, Snapshot
from gitvs.reconcile import Options, Pass, reconcile
from gitvs.transaction import Finished, Ports, in_short, recover

log = logging.getLogger(__name__)

TRIES = 3
"""How often a commit's transaction may be found open at start before it is quarantined."""

ChooseDirector = Callable[[Collection[str]], str]
"""Picks this host's director among those that have a document, or raises UnknownDirector."""


@dataclass(frozen=True, slots=True)
class Turn:
    """How a turn ended. `target` is what the pass was for, or None if there was none.

    `problems` are what kept the newest commit from being applied, but for gates.
    """

    done: Pass | None
    target: Applied | None
    recovered: Finished | None = None
    problems: tuple[GitvsError, ...] = ()


def take_turn(
    ports: Ports, source: RemoteSettings | Path, state_dir: Path, choose: ChooseDirector
) -> Turn:
    """Fetch, and bring this host to the newest commit that it may have.

    Raises:
        KernelUnavailable, KernelUnreadable, StoreError: nothing more was written.
    """
    recovered = _recover(ports)
    problems: list[GitvsError] = []
    target: Applied | None = None
    allowed: frozenset[str] = frozenset()
    try:
        if isinstance(source, Path):
            target = _target(ports, DirectorySource(source).load(), choose)
        else:
            target, allowed = _follow(ports, GitRemote(state_dir, source), problems, choose)
    except GitvsError as error:
        problems.append(error)
    if target is None:
        return Turn(_hold(ports), ports.store.applied(), recovered, tuple(problems))
    done = reconcile(ports, target, Options(allowed))
    if done.result is Result.ROLLED_BACK:
        _quarantine(ports, target, done)
    if done.result is Result.BLOCKED:
        _hold(ports)
    return Turn(done, target, recovered, tuple(problems))


def _follow(
    ports: Ports, remote: GitRemote, problems: list[GitvsError], choose: ChooseDirector
) -> tuple[Applied, frozenset[str]]:
    """Fetch, and return what the head says; without an answer, the newest accepted head.

    Raises:
        SourceError: there is nothing to go by. Quarantined, InvalidManifests, UnknownDirector.
    """
    head = ports.store.accepted_head()
    try:
        head = remote.fetch(head).id
        ports.store.accept_head(head)
    except SourceError as error:
        if head is None:
            raise
        problems.append(error)
    _refuse_quarantined(ports, head)
    source = remote.source(head)
    target = _target(ports, source.load(), choose)
    applied = ports.store.applied()
    base = None if applied is None else applied.commit_id
    return target, allowed_gates(source.messages(base), target.desired.director)


def _target(ports: Ports, snapshot: Snapshot, choose: ChooseDirector) -> Applied:
    for name in snapshot.skipped:
        log.warning("left out path=%s reason=link-or-submodule", printable(name))
    manifests = load(snapshot.files)
    desired = render(manifests, choose(manifests.directors))
    return Applied(desired, snapshot.commit, ports.clock.now())


def _hold(ports: Ports) -> Pass | None:
    """Keep the applied commit in force, if there is one."""
    applied = ports.store.applied()
    return None if applied is None else reconcile(ports, applied)


def _recover(ports: Ports) -> Finished | None:
    """Recover what was left open, and count that against the commit it was for."""
    incarnation = ports.kernel.incarnation()
    left = ports.store.open_transaction(incarnation)
    if left is None:
        return None
    commit = left.target.commit
    if commit is not None and ports.store.count_found_open(incarnation, commit.id) >= TRIES:
        reason = f"its transaction was found open at start {TRIES} times"
        ports.store.quarantine(incarnation, commit.id, reason)
    return recover(ports)


def _quarantine(ports: Ports, target: Applied, done: Pass) -> None:
    """Keep a commit that was rolled back from being tried again and again.

    One that is in force already is not: its drift is to be repaired.
    """
    applied = ports.store.applied()
    if target.commit is None or (applied is not None and applied.commit == target.commit):
        return
    reason = in_short(done.finished.failures if done.finished is not None else ())
    ports.store.quarantine(ports.kernel.incarnation(), target.commit.id, reason)
    log.error("quarantined commit=%s reason=%s", target.commit.id, reason)


def _refuse_quarantined(ports: Ports, commit_id: str) -> None:
    """Refuse a commit in quarantine.

    Raises:
        Quarantined: with the reason that was recorded.
    """
    for entry in ports.store.quarantined(ports.kernel.incarnation()):
        if entry.commit_id == commit_id:
            raise Quarantined(
                f"commit {commit_id[:12]} is not tried again, since it failed: {entry.reason}."
                " Push a new commit, or apply it by hand with `gitvs apply --rev`"
            )

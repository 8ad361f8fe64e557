"""The director under us: its kernel, store and clock, and the right to be its only writer."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

import click

from gitvs.adapters.linux.kernel import LinuxKernel
from gitvs.adapters.process.clock import SystemClock
from gitvs.adapters.process.privileges import become_owner_of
from gitvs.adapters.process.writer_lock import writer_lock
from gitvs.adapters.store.store import SqliteStore
from gitvs.cli.shared.output import tell
from gitvs.core.errors import ExitCode
from gitvs.core.manifests.render import DEFAULT_SYSCTLS
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Result
from gitvs.core.model.observation import Observation
from gitvs.core.model.resources import Sysctl
from gitvs.core.model.state import State
from gitvs.core.planning.host_settings import settings_of
from gitvs.core.planning.ownership import MARK_PREFIX, scope_of
from gitvs.reconcile.transaction import Interrupted, Ports
from gitvs.report.host.observation_json import Seen
from gitvs.report.plan.pass_text import pass_text

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def reader(state_dir: Path) -> Iterator[Ports]:
    """Open what is needed to look; without a store yet, nothing is owned."""
    become_owner_of(state_dir)
    with SqliteStore.open_readonly(state_dir) as store:
        yield _ports(store)


@contextmanager
def writer(state_dir: Path) -> Iterator[Ports]:
    """Open what is needed to write, as the only writer of this network namespace.

    SIGTERM ends it like Ctrl-C: after the undo, which a second one does not interrupt.

    Raises:
        LockHeld: another gitvs is the writer, and which.
    """
    become_owner_of(state_dir)
    with _interruptible_once(), writer_lock(), SqliteStore(state_dir) as store:
        try:
            yield _ports(store)
        except Interrupted as error:
            end = error.finished
            tell(
                pass_text(end.result, end.failures, prefix="interrupted; the transaction is now: ")
            )
            if end.result is Result.STUCK:
                raise click.exceptions.Exit(ExitCode.STUCK) from error
            raise


@contextmanager
def _interruptible_once() -> Iterator[None]:
    former = {number: signal.signal(number, _interrupt) for number in _INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _ports(store: SqliteStore) -> Ports:
    return Ports(LinuxKernel(MARK_PREFIX + store.id), store, SystemClock())


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    for number in _INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


DEFAULT_INTERFACE = "gitvs0"

SYSCTLS = (
    *DEFAULT_SYSCTLS,
    "net.ipv4.conf.all.arp_announce",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.vs.conntrack",
    "net.ipv4.vs.conn_reuse_mode",
)
"""Settings that matter to a director, read whether or not a manifest ever named them.

Those that risk notes look at come on top.
"""


def look_around(ports: Ports) -> Seen:
    """Observe all that the store speaks of, every dummy interface, and what directors need."""
    ledger = ports.store.ledger(ports.kernel.incarnation())
    applied = ports.store.applied()
    wanted = Desired("", DEFAULT_INTERFACE, State()) if applied is None else applied.desired
    more = State(Sysctl(name, "") for name in SYSCTLS)
    scope = replace(scope_of(ledger, wanted, changed=more), surroundings=True)
    observation = ports.kernel.observe(scope)
    scope = replace(scope, sysctls=scope.sysctls | settings_of(observation.links.values()))
    if dummies := _dummies(observation) - scope.interfaces:
        scope = replace(scope, interfaces=scope.interfaces | dummies)
        observation = ports.kernel.observe(scope)
    return Seen(
        socket.gethostname(),
        observation,
        scope,
        ledger,
        MARK_PREFIX + ports.store.id,
        ports.clock.boottime(),
        None if applied is None else applied.desired,
        None if applied is None else applied.commit_id,
    )


def _dummies(observation: Observation) -> frozenset[str]:
    return frozenset(x.name for x in observation.links.values() if x.kind == "dummy")

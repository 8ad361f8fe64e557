"""This host as a director: its kernel, store and clock, and the lock of its only writer."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

import click

from gitvs.adapters.linux.kernel import LinuxKernel, routing_encoder
from gitvs.adapters.process.clock import SystemClock
from gitvs.adapters.process.privileges import become_owner_of
from gitvs.adapters.process.writer_lock import prepare_lock_folder, writer_lock
from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.cli.shared.output import show_message
from gitvs.core.errors import ExitCode
from gitvs.core.model.desired import DEFAULT_SYSCTLS, Desired
from gitvs.core.model.history import Outcome
from gitvs.core.model.observation import Observation
from gitvs.core.model.resource_json import JsonObject
from gitvs.core.model.resources import Sysctl
from gitvs.core.model.state import State
from gitvs.core.planning.ownership import OWNER_ALIAS_PREFIX, scope_of
from gitvs.core.planning.risks.host_settings import host_sysctls
from gitvs.core.settings import LOCK_FOLDER
from gitvs.core.status.services import last_change_in, last_pass_of
from gitvs.ports import Ports
from gitvs.reconcile.director_status import load_status
from gitvs.reconcile.transaction import Interrupted
from gitvs.report.host.observation_json import ObservedHost
from gitvs.report.plan.pass_text import pass_text
from gitvs.report.status.status_json import status_json

_INTERRUPT_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def open_for_reading(state_dir: Path) -> Iterator[Ports]:
    """Open kernel and store for reading; if there is no store yet, nothing is owned."""
    become_owner_of(state_dir)
    with SqliteStore.open_readonly(state_dir) as store:
        yield make_ports(store)


def become_writer(state_dir: Path) -> None:
    """As root, prepare to write as the owner of the state folder, and become that user.

    What is loaded with the first write is loaded before: another user may not be able to read
    it, below /root for example.
    """
    prepare_lock_folder()
    if os.geteuid() == 0:
        routing_encoder()
    become_owner_of(state_dir)


@contextmanager
def open_for_writing(state_dir: Path) -> Iterator[Ports]:
    """Open kernel and store for writing, as the only writer of this network namespace.

    SIGTERM is handled like Ctrl-C: after the undo, which a second signal does not interrupt.

    Raises:
        LockHeld: another gitvs is the writer; the error names it.
        LockUnusable: this user may not be a writer.
    """
    become_writer(state_dir)
    with _interruptible_once(), writer_lock() as ensure, SqliteStore(state_dir) as store:
        try:
            yield replace(make_ports(store), ensure_writer=ensure)
        except Interrupted as error:
            transaction_result = error.transaction_result
            show_message(
                pass_text(
                    transaction_result.outcome,
                    transaction_result.failures,
                    prefix="interrupted; the transaction is now: ",
                    is_undone=not transaction_result.not_undone,
                )
            )
            if transaction_result.outcome is Outcome.STUCK:
                raise click.exceptions.Exit(ExitCode.STUCK) from error
            raise


@contextmanager
def _interruptible_once() -> Iterator[None]:
    previous_handlers = {
        signal_number: signal.signal(signal_number, _interrupt)
        for signal_number in _INTERRUPT_SIGNALS
    }
    try:
        yield
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)


def make_ports(store: SqliteStore) -> Ports:
    """Return the ports of this host; the kernel is told every new number of the store."""
    kernel = LinuxKernel(OWNER_ALIAS_PREFIX + store.id, LOCK_FOLDER)
    store.set_witness(kernel.write_witness)
    return Ports(kernel, store, SystemClock())


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    for signal_number in _INTERRUPT_SIGNALS:
        signal.signal(signal_number, signal.SIG_IGN)
    raise KeyboardInterrupt


DEFAULT_INTERFACE = "gitvs0"

ALWAYS_READ_SYSCTLS = (
    *DEFAULT_SYSCTLS,
    "net.ipv4.conf.all.arp_announce",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.vs.conntrack",
    "net.ipv4.vs.conn_reuse_mode",
)
"""Sysctls that matter to a director; they are read even if no manifest names them.

The sysctls that risk notes check are read as well.
"""


def observe_host(ports: Ports) -> ObservedHost:
    """Observe all that the store records, every dummy interface, and the sysctls of directors."""
    ledger = ports.store.ledger(ports.kernel.incarnation())
    applied = ports.store.applied()
    desired = Desired("", DEFAULT_INTERFACE, State()) if applied is None else applied.desired
    more_sysctls = State(Sysctl(name, "") for name in ALWAYS_READ_SYSCTLS)
    scope = replace(
        scope_of(ledger, desired, changed_state=more_sysctls),
        includes_host_settings=True,
        includes_gateways=True,
    )
    observation = ports.kernel.observe(scope)
    scope = replace(scope, sysctls=scope.sysctls | host_sysctls(observation.links.values()))
    if dummies := _dummy_names(observation) - scope.interfaces:
        scope = replace(scope, interfaces=scope.interfaces | dummies)
        observation = ports.kernel.observe(scope)
    return ObservedHost(
        socket.gethostname(),
        observation,
        scope,
        ledger,
        OWNER_ALIAS_PREFIX + ports.store.id,
        ports.clock.boottime(),
        None if applied is None else applied.desired,
        None if applied is None else applied.commit_id,
    )


def observed_status_json(state_dir: Path) -> JsonObject:
    """Return the status that store and kernel show, for where no agent runs."""
    with open_for_reading(state_dir) as ports:
        status = load_status(ports, observe_host(ports).observation)
        history = ports.store.history()
    status = replace(status, last_change=last_change_in(history))
    if history:
        status = replace(status, last_pass=last_pass_of(history[0]))
    return status_json(status)


def _dummy_names(observation: Observation) -> frozenset[str]:
    return frozenset(x.name for x in observation.links.values() if x.kind == "dummy")

"""A crash, or a full disk, at every step of a turn: the kernel is as before or as after.

One turn of the agent, from the fetch to the end of the record, is broken at each call of
store, kernel and source, and at each change of the kernel. Then comes the next start.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from gitvs.adapters.git.remote import GitRemote
from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.agent.actions.single_cycle import run_single_cycle
from gitvs.agent.cycle_result import CycleResult
from gitvs.core.errors import StoreError
from gitvs.core.model.history import Outcome
from gitvs.core.model.observation import Scope
from gitvs.core.model.state import State
from gitvs.core.settings import RemoteSettings
from gitvs.ports import Kernel, Ports
from gitvs.reconcile.quarantine import recover_at_start
from tests.support.agents import eventually, site
from tests.support.agents import service as service_of_two
from tests.support.faults import Crashed, FaultyKernel, How
from tests.support.git.repositories import Repository
from tests.support.manifests.writing import Doc, director, file_of, server, service
from tests.support.memory.kernel import MemoryKernel
from tests.support.sweep import TestClock

BROADCAST = "10.0.0.255"
"""Of the director's network: no manifest can know that, and the kernel refuses it."""
SYSCTL = "net.ipv4.vs.sloppy_tcp"
SCOPE = Scope(frozenset({"gitvs0"}), frozenset({SYSCTL}))
STORE_WRITES = frozenset(
    {
        *("begin", "record_conflicts", "commit", "finish", "record_converged", "accept_head"),
        *("count_found_open", "quarantine", "pin", "clear_quarantine", "put_operation"),
        *("end_operation", "forget_ended_operations", "record_alive"),
    }
)
REMOTE_CALLS = frozenset({"fetch", "keep_commits", "verify_signature", "manifests_of"})
assert all(hasattr(SqliteStore, name) for name in STORE_WRITES)
assert all(hasattr(GitRemote, name) for name in REMOTE_CALLS)

CALLS = STORE_WRITES | {"observe", "execute", *REMOTE_CALLS}


def web(*addresses: str, **fields: Any) -> Doc:
    return service("web", realServers=[server(a) for a in addresses], **fields)


def kept(**fields: Any) -> Doc:
    sound: Doc = {"vips": ["203.0.113.12"], "realServers": [server("10.0.0.1")]}
    return service("kept", **{**sound, **fields})


BEFORE = [
    director(),
    web("10.0.0.1", "10.0.0.2", "10.0.0.3", scheduler="wlc"),
    service(
        "old", vips=["203.0.113.11"], realServers=[server("10.0.0.1")], drain={"timeout": "0s"}
    ),
    kept(),
]
AFTER = [
    director(sysctls={SYSCTL: 1}),
    web("10.0.0.1", "10.0.0.2", "10.0.0.4", scheduler="wrr"),
    service("new", vips=["203.0.113.13"], realServers=[server("10.0.0.1")]),
    kept(realServers=[server("10.0.0.1", weight=5)]),
]
"""Something of each phase: real servers come, drain and go, settings change, VIPs move."""


class Strike(StrEnum):
    """What happens at the chosen call."""

    CRASH = "crash"
    """The process dies after the call, before anybody learned what came of it."""
    FULL = "full"
    """The disk is full from here on: no write of the store succeeds."""
    LOST = "lost"
    """The write is on the disk, but an error is told, and the disk is full from here on."""


@dataclass
class Wire:
    """Counts calls over all ports, and strikes at the one numbered `at`."""

    at: int
    strike: Strike
    names: frozenset[str]
    calls: list[str] = field(default_factory=list)

    @property
    def has_struck(self) -> bool:
        return len(self.calls) > self.at

    def around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            self.calls.append(name)
            number = len(self.calls) - 1
            if number < self.at or (self.strike is Strike.CRASH and number > self.at):
                return call(*arguments, **named)
            if self.strike is not Strike.FULL and number == self.at:
                call(*arguments, **named)
            if self.strike is Strike.CRASH:
                raise Crashed
            raise StoreError("the disk of the state folder is full")

        return called


class Wired:
    """Stands before a port, and tells a wire of the calls that it listens to."""

    def __init__(self, port: Any, wire: Wire) -> None:
        self._port, self._wire = port, wire

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        return self._wire.around(name, found) if name in self._wire.names else found


class WiredRemote(GitRemote):
    """A real remote that tells a wire of its calls."""

    wire: Wire | None = None

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        wire = object.__getattribute__(self, "wire")
        is_heard = wire is not None and name in REMOTE_CALLS
        return wire.around(name, found) if is_heard and name in wire.names else found


@dataclass
class World:
    """One director and the remote that it follows."""

    remote: Repository
    state_dir: Path
    kernel: MemoryKernel
    clock: TestClock = field(default_factory=TestClock)

    def turn(self, kernel: Kernel | None = None, wire: Wire | None = None) -> CycleResult:
        """One turn of a process that has just started."""
        source = WiredRemote(
            self.state_dir, RemoteSettings(str(self.remote.folder), allow_local=True)
        )
        with SqliteStore(self.state_dir) as store:
            ports = Ports(kernel or self.kernel, store, self.clock)
            if wire is not None:
                source.wire = wire
                ports = Ports(Wired(self.kernel, wire), Wired(store, wire), self.clock)
            return run_single_cycle(ports, source, lambda known: "lb1")

    def recover(self) -> None:
        """What the next start does first."""
        with SqliteStore(self.state_dir) as store:
            recover_at_start(Ports(self.kernel, store, self.clock))
            assert store.open_transaction(self.kernel.incarnation()) is None

    def copy(self, folder: Path) -> World:
        """Return a world that is the same, and goes its own way."""
        shutil.copytree(self.state_dir, folder)
        return World(self.remote, folder, deepcopy(self.kernel))

    def state(self) -> State:
        return self.kernel.observe(SCOPE).state

    def push(self, *documents: Doc) -> str:
        return self.remote.commit({"all.yaml": file_of("", *documents).data})


@dataclass
class Worlds:
    """Copies of one world, whose remote has a new commit; and how it is before and after."""

    first: World
    folder: Path
    head: str
    before: State
    after: State

    def __iter__(self) -> Iterator[World]:
        return (self.first.copy(self.folder / f"world{number}") for number in count())


def worlds(folder: Path, *documents: Doc) -> Worlds:
    """Return worlds in which a first commit is in force, and these documents were pushed."""
    world = World(Repository(folder / "remote"), folder / "state", MemoryKernel("gitvs:test"))
    world.kernel.add_link("eth0", addresses=["10.0.0.254/24"])
    world.push(*BEFORE)
    assert world.turn().pass_results[0].outcome is Outcome.APPLIED
    head = world.push(*documents)
    tried = world.copy(folder / "tried")
    tried.turn()
    return Worlds(world, folder, head, world.state(), tried.state())


def check(all_worlds: Worlds, world: World, final: State, result: Outcome) -> None:
    """The next start finds the kernel as before or as after, and converges."""
    world.recover()
    now = world.state()
    assert now in (all_worlds.before, all_worlds.after), _differing(now, all_worlds.before)
    last = [world.turn() for _ in range(3)][-1]
    assert last.pass_result is not None
    assert last.pass_result.outcome is result
    assert world.state() == final
    with SqliteStore(world.state_dir) as store:
        assert store.accepted_head() == all_worlds.head


def _differing(now: State, before: State) -> dict[str, Any]:
    keys = {key for key in {*now, *before} if now.get(key) != before.get(key)}
    return {key: (before.get(key), now.get(key)) for key in keys}


def at_rest(all_worlds: Worlds) -> State:
    """Return what undisturbed turns come to, when drains have ended."""
    world = all_worlds.first.copy(all_worlds.folder / "undisturbed")
    for _ in range(3):
        world.turn()
    return world.state()


def test_a_crash_at_any_call_of_a_turn_leaves_the_kernel_as_before_or_as_after(
    tmp_path: Path,
) -> None:
    tried = worlds(tmp_path, *AFTER)
    final = at_rest(tried)
    for at, world in enumerate(tried):
        wire = Wire(at, Strike.CRASH, CALLS)
        try:
            world.turn(wire=wire)
        except Crashed:
            check(tried, world, final, Outcome.CONVERGED)
        else:
            break
    assert {"fetch", "accept_head", "begin", "execute", "observe", "commit", "finish"} <= set(
        wire.calls
    )


def test_a_crash_at_any_change_of_a_turn_leaves_the_kernel_as_before_or_as_after(
    tmp_path: Path,
) -> None:
    tried = worlds(tmp_path, *AFTER)
    final = at_rest(tried)
    for at, world in enumerate(tried):
        try:
            world.turn(FaultyKernel(world.kernel, at, How.CRASH_AFTER))
        except Crashed:
            check(tried, world, final, Outcome.CONVERGED)
        else:
            break
    assert at > 10, "a sweep over so few places is no sweep"


@pytest.mark.parametrize("strike", [Strike.FULL, Strike.LOST])
def test_a_disk_that_is_full_from_any_write_on_leaves_the_kernel_as_before_or_as_after(
    tmp_path: Path, strike: Strike
) -> None:
    tried = worlds(tmp_path, *AFTER)
    final = at_rest(tried)
    for at, world in enumerate(tried):
        wire = Wire(at, strike, STORE_WRITES)
        with suppress(StoreError):
            world.turn(wire=wire)
        if not wire.has_struck:
            break
        assert world.state() in (tried.before, tried.after)
        check(tried, world, final, Outcome.CONVERGED)
    assert {"accept_head", "begin", "commit", "finish"} <= set(wire.calls)


@pytest.mark.parametrize("strike", list(Strike))
def test_a_refused_commit_ends_in_quarantine_whatever_broke_its_turn(
    tmp_path: Path, strike: Strike
) -> None:
    """It is undone before anything else at the next start, and tried once more."""
    tried = worlds(tmp_path, *AFTER[:-1], kept(realServers=[server("10.0.0.1"), server(BROADCAST)]))
    assert tried.after == tried.before
    for at, world in enumerate(tried):
        wire = Wire(at, strike, CALLS if strike is Strike.CRASH else STORE_WRITES)
        with suppress(Crashed, StoreError):
            world.turn(wire=wire)
        if not wire.has_struck:
            break
        check(tried, world, tried.before, Outcome.CONVERGED)
        with SqliteStore(world.state_dir) as store:
            (entry,) = store.quarantined(world.kernel.incarnation())
        assert entry.commit_id == tried.head
    assert {"accept_head", "begin", "finish", "quarantine"} <= set(wire.calls)


def test_a_running_agent_outlives_a_full_disk_says_so_and_catches_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = site(tmp_path)
    here.settings = replace(here.settings, drift_seconds=0.2)
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        with monkeypatch.context() as disk:
            disk.setattr(SqliteStore, "_writing", _full)
            head = here.push(service_of_two(weight=5))
            here.set_weight(77)
            eventually(lambda: "disk is full" in str(running.status.last_pass))
            time.sleep(1.0)
            assert here.weights() == [77, 1], "nothing is written that is not recorded first"
        eventually(lambda: here.weights() == [5, 5])
        eventually(lambda: getattr(running.status.applied_commit, "id", None) == head)


@contextmanager
def _full(store: SqliteStore) -> Iterator[None]:
    raise StoreError("the disk is full")
    yield

"""Where gitvs's time goes, row by row, on the host."""

from __future__ import annotations

import pstats
import tracemalloc
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from cProfile import Profile
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from gitvs.adapters.git.remote import GitRemote
from gitvs.adapters.process.clock import SystemClock
from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.agent.cycle import CommitFollower
from gitvs.agent.health.keeper import HealthKeeper
from gitvs.agent.judge import Judge
from gitvs.core.model.history import Outcome
from gitvs.core.planning.ownership import OWNER_ALIAS_PREFIX
from gitvs.core.settings import RemoteSettings
from gitvs.ports import Ports
from tests.bench.load import DIRECTOR, Load, changed_path, manifests
from tests.bench.samples import Row
from tests.support.git.repositories import Repository
from tests.support.memory.kernel import MemoryKernel

FUNCTIONS = 15
PROFILED_AGENT = frozenset({Row.CHANGE, Row.DRIFT, Row.MEMORY_HERE})


def profile(folder: Path, row: Row, what: str, work: Callable[[], object]) -> None:
    """Do some work, and write where its time goes."""
    profiler = Profile()
    profiler.runcall(work)
    write_profile(folder, row, what, profiler)


def write_profile(folder: Path, row: Row, what: str, profiler: Profile | str) -> None:
    """Write which functions take most of the time, by themselves and with all that they call."""
    with profile_file(folder, row).open("w") as file:
        file.write(f"{what}\n")
        stats = pstats.Stats(profiler, stream=file)
        stats.sort_stats("tottime").print_stats(FUNCTIONS)
        stats.sort_stats("cumulative").print_stats(2 * FUNCTIONS)


def profile_file(folder: Path, row: Row) -> Path:
    """Return where the profile of a row is."""
    return folder / f"profile-{row}.txt"


def profile_agent(folder: Path, load: Load, rows: Collection[Row]) -> None:
    """Profile what an agent does for one changed real server, and for a look at drift.

    Its kernel is in memory. Of memory it is told which files' objects take most of it.
    """
    what = f"an agent with {len(load.rules):,} services, on the host, its kernel in memory"
    if Row.MEMORY_HERE in rows:
        tracemalloc.start()
    with _followed(load) as (pilot, follow):
        if Row.MEMORY_HERE in rows:
            _write_memory(folder, what)
        if Row.CHANGE in rows:
            profile(folder, Row.CHANGE, what, follow)
        if Row.DRIFT in rows:
            profile(folder, Row.DRIFT, what, pilot.run_cycle)


@contextmanager
def _followed(load: Load) -> Iterator[tuple[CommitFollower, Callable[[], None]]]:
    """Have a load applied; yield who did it, and what follows a changed real server."""
    with TemporaryDirectory() as temporary, SqliteStore(Path(temporary) / "state") as store:
        repository = Repository(Path(temporary) / "remote")
        url = str(repository.folder)
        remote = GitRemote(Path(temporary) / "state", RemoteSettings(url, allow_local=True))
        kernel = MemoryKernel(OWNER_ALIAS_PREFIX + store.id)
        ports = Ports(kernel, store, SystemClock())
        pilot = CommitFollower(ports, Judge(remote, lambda _: DIRECTOR), HealthKeeper(ports))
        repository.commit({**manifests(load)})
        _follow(pilot, remote)
        after = manifests(load.reweighed(101))
        repository.commit({changed_path(load): after[changed_path(load)]})
        remote.fetch(None)
        yield pilot, partial(_follow, pilot, remote)


def _write_memory(folder: Path, what: str) -> None:
    snapshot = tracemalloc.take_snapshot()
    tracemalloc.stop()
    lines = [str(entry) for entry in snapshot.statistics("lineno")[: 2 * FUNCTIONS]]
    profile_file(folder, Row.MEMORY_HERE).write_text("\n".join([what, *lines, ""]))


def _follow(pilot: CommitFollower, remote: GitRemote) -> None:
    """Do what the agent does once a commit is here."""
    head = remote.fetched_head()
    fetched = remote.fetch(None) if head is None else remote.read_commit(head)
    pilot.accept_head(fetched)
    turn = pilot.run_cycle(is_full_reading=False)
    assert [done.outcome for done in turn.pass_results] == [Outcome.APPLIED], turn

"""What is measured without IPVS, in processor seconds: loading, previews, and `gitvs status`.

Whatever is first has a process of its own each time, so that nothing is warm there. A preview
is the whole command; loading is `python -m tests.bench.host FOLDER SERVICES RUN`, and with the
word `profile` in the place of RUN it is profiled.
"""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from gitvs.cli import GC_THRESHOLDS
from gitvs.core.manifests.files import ManifestFile
from gitvs.core.manifests.load import Loader
from gitvs.core.manifests.render import Renderer
from tests.bench.agent import IN_MEMORY, Agent
from tests.bench.load import DIRECTOR, Load, make_load, manifests, shared_manifests
from tests.bench.profiles import PROFILED_AGENT, profile, profile_agent, write_profile
from tests.bench.samples import Recorder, Row, Schedule, Who
from tests.support.git.repositories import Repository

SITES, DIRECTORS_PER_SITE = 20, 10
NEW_WEIGHTS = (101, 102)
LOADS = (Row.LOAD, Row.RELOAD)
PREVIEWS = {Row.PREVIEW: ("main~2", "main~1"), Row.NEXT_PREVIEW: ("main~1", "main")}
"""Each of one commit; the second one finds what the first one left in the cache."""

_GITVS = str(Path(sys.executable).with_name("gitvs"))
_PATIENCE_SECONDS = 600.0


def measure_host(plan: Schedule, sizes: Sequence[int]) -> None:
    """Measure everything that needs no guest."""
    recorder = plan.recorder
    for size in sizes:
        recorder.services, recorder.run, load = size, 0, make_load(size)
        with recorder.part("loading"):
            for _ in plan.count():
                loading_in_child(recorder.folder, size, str(recorder.run))
        with recorder.part("previews"):
            measure_previews(plan, load)
        with recorder.part("an agent here, its kernel in memory"):
            measure_agent(plan, load)


def loading_in_child(folder: Path, services: int, what: str) -> None:
    """Measure loading once, or profile it, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.host", str(folder), str(services), what]
    subprocess.run(command, check=True, timeout=_PATIENCE_SECONDS)


def loading(load: Load) -> Iterator[tuple[Row, Callable[[], object]]]:
    """Yield what loads and renders at one commit, and what does at the next."""
    loader, renderer = Loader(), Renderer()
    for row, each in zip(LOADS, (load, load.reweighed(NEW_WEIGHTS[0])), strict=True):
        files = [ManifestFile(path, data) for path, data in manifests(each).items()]
        yield row, partial(_load_and_render, loader, renderer, files)


def _load_and_render(loader: Loader, renderer: Renderer, files: list[ManifestFile]) -> None:
    renderer.render(loader.load(files), DIRECTOR)


def measure_previews(plan: Schedule, load: Load) -> None:
    """Preview commits that change one real server, over 200 directors."""
    with _history(load) as repository:
        for _ in plan.count():
            with TemporaryDirectory() as cache:
                for row in PREVIEWS:
                    plan.recorder.add(row, Who.GITVS, _preview(row, repository, cache))
                assert any(Path(cache).iterdir()), "previews left nothing in the cache"


def profile_host(folder: Path, rows: Set[Row], services: int) -> None:
    """Keep a profile of each of these rows that can be profiled on the host."""
    if rows & {*LOADS}:
        loading_in_child(folder, services, "profile")
    gc.set_threshold(*GC_THRESHOLDS)
    load = make_load(services)
    if rows & PREVIEWS.keys():
        profile_previews(folder, load)
    if rows & PROFILED_AGENT:
        profile_agent(folder, load, rows)


def profile_previews(folder: Path, load: Load) -> None:
    """Write where the time of previews goes."""
    what = f"{len(load.rules):,} services, 200 directors, on the host"
    with _history(load) as repository, TemporaryDirectory() as temporary:
        for row in PREVIEWS:
            stats = f"{temporary}/{row}"
            _preview(row, repository, temporary, "-m", "cProfile", "-o", stats)
            write_profile(folder, row, what, stats)


@contextmanager
def _history(load: Load) -> Iterator[Repository]:
    """Make a repository of three commits."""
    with TemporaryDirectory() as folder:
        repository = Repository(Path(folder))
        for each in (load, *map(load.reweighed, NEW_WEIGHTS)):
            repository.commit({**shared_manifests(each, SITES, DIRECTORS_PER_SITE)})
        yield repository


def _preview(row: Row, repository: Repository, cache: str, *profiler: str) -> float:
    """Run the command as a pull request does, and return its processor seconds."""
    base, head = PREVIEWS[row]
    command = [sys.executable, *profiler, _GITVS, "plan", "--base", base, "--head", head]
    environment = {"XDG_CACHE_HOME": cache, "GITVS_NO_CACHE": "0"}
    return _processor_seconds(command, repository.folder, environment)


def _processor_seconds(
    command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> float:
    """Run a command, and return how long processors worked for it and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=_PATIENCE_SECONDS,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_agent(plan: Schedule, load: Load) -> None:
    """Have an agent apply a load to a kernel in memory, and ask for its status."""
    recorder = plan.recorder
    with TemporaryDirectory() as folder:
        agent = Agent(Path(folder), Path(folder) / "state", load, IN_MEMORY)
        try:
            for _ in plan.count():
                seconds = _processor_seconds(agent.command("status"), Path(folder))
                recorder.add(Row.STATUS_HERE, Who.GITVS, seconds)
                for row, value in zip(
                    (Row.MEMORY_HERE, Row.PEAK_HERE), agent.megabytes(), strict=True
                ):
                    recorder.add(row, Who.GITVS, value)
        finally:
            agent.stop()


def main(folder: Path, services: int, what: str) -> None:
    """Measure loading once, or profile it."""
    gc.set_threshold(*GC_THRESHOLDS)  # as every gitvs command does
    for row, work in loading(make_load(services)):
        if what == "profile":
            profile(folder, row, f"{services:,} services, on the host", work)
        else:
            began_at = time.process_time()
            work()
            seconds = time.process_time() - began_at
            Recorder(folder, services, int(what)).add(row, Who.GITVS, seconds)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])

"""What `make bench` measures without a kernel: loading, rendering, previews; time and memory.

Every measurement is a process of its own, so that its memory is its own; the best of several
runs would hide what the first one costs, so the median is told, with the least and the most.
"""

from __future__ import annotations

import gc
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from gitvs.adapters.git_commits import commits_at
from gitvs.cli import RARE_COLLECTIONS
from gitvs.compare import Question, compare
from gitvs.core.manifests import Loader
from gitvs.core.model import ManifestFile
from gitvs.core.render import Renderer
from tests.estate import Estate, Step, estate, history
from tests.repositories import Repository
from tests.writing import file_of

RUNS = 5
SEED = 1
SITES, DIRECTORS_PER_SITE = 20, 10
SERVICES_PER_FILE = 20
RESULTS = Path(".bench/host.json")

LIMITS = {
    "first load and render": 10.0,
    "load and render after a one-file commit": 0.3,
    "preview of a one-file commit, nothing read yet": 15.0,
    "preview of a one-file commit, the base read before": 2.0,
}
"""Targets in seconds, for 10,000 services."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured in one process. Megabytes are the most that it ever held."""

    what: str
    services: int
    seconds: float
    megabytes: int


def figure(what: str, services: int, work: Callable[[], object]) -> Figure:
    """Measure some work."""
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    return Figure(
        what, services, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    )


def files_of(made: Estate) -> list[ManifestFile]:
    """Return manifests in files of 20 services."""
    services = list(made.services.values())
    starts = range(0, len(services), SERVICES_PER_FILE)
    return [
        file_of("base.yaml", made.policy, *made.directors.values(), *made.pools.values()),
        *(file_of(f"{n:05}.yaml", *services[n : n + SERVICES_PER_FILE]) for n in starts),
    ]


def reweigh(made: Estate) -> None:
    """Change one real server, in one file."""
    made.pools["s3-pool1"]["spec"]["realServers"][0]["weight"] = 17


def measure_loading(services: int) -> list[Figure]:
    """Load and render at one commit, and at the next."""
    made = estate(SEED, 1, 1, services)
    before = files_of(made)
    made.services["s0-app7"]["spec"]["scheduler"] = "sed"
    after = files_of(made)
    loader, renderer = Loader(), Renderer()

    def turn(files: list[ManifestFile]) -> Callable[[], object]:
        return lambda: renderer.render(loader.load(files), "lb0.s0")

    return [
        figure("first load and render", services, turn(before)),
        figure("load and render after a one-file commit", services, turn(after)),
    ]


def measure_preview(services: int) -> list[Figure]:
    """Preview a commit that changes one real server, over 200 directors."""
    made = estate(SEED, SITES, DIRECTORS_PER_SITE, services // SITES)
    steps = [Step("Begin", made.files())]
    reweigh(made)
    steps.append(Step("Weigh a server anew", made.files()))
    with tempfile.TemporaryDirectory() as folder:
        repository = _committed(Path(folder), steps)
        loader = Loader()
        question = Question("HEAD~1", "HEAD")
        with commits_at(repository.folder) as commits:
            work = lambda: compare(commits, question, loader)  # noqa: E731
            return [
                figure("preview of a one-file commit, nothing read yet", services, work),
                figure("preview of a one-file commit, the base read before", services, work),
            ]


def measure_history(services: int) -> list[Figure]:
    """Preview each of 30 commits by itself; the largest is told."""
    with tempfile.TemporaryDirectory() as folder:
        steps = history(SEED, SITES, DIRECTORS_PER_SITE, services // SITES)
        repository = _committed(Path(folder), steps)
        figures = []
        with commits_at(repository.folder) as commits:
            for number in range(len(steps) - 1, 0, -1):
                question = Question(f"HEAD~{number}", f"HEAD~{number - 1}")
                what = f"the largest of {len(steps) - 1} previews"
                figures.append(figure(what, services, lambda q=question: compare(commits, q)))  # type: ignore[misc]
        return [max(figures, key=lambda f: f.seconds)]


def _committed(folder: Path, steps: list[Step]) -> Repository:
    repository = Repository(folder)
    for step in steps:
        for path in repository.folder.glob("sites/*/*.yaml"):
            path.unlink()
        repository.commit(step.files, step.message)
    return repository


MEASUREMENTS: dict[str, Callable[[int], list[Figure]]] = {
    "loading": measure_loading,
    "preview": measure_preview,
    "history": measure_history,
}
PLAN = [
    ("loading", 1_000),
    ("loading", 10_000),
    ("preview", 1_000),
    ("preview", 10_000),
    ("history", 2_000),
]


def main() -> None:
    """Measure everything, and print a table."""
    figures: dict[tuple[str, int], list[Figure]] = {}
    for name, services in PLAN:
        for run in range(1 if name == "history" else RUNS):
            print(f"bench: {name} {services}, run {run + 1}", file=sys.stderr, flush=True)
            for one in _in_child(name, services):
                figures.setdefault((one.what, one.services), []).append(one)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(
        json.dumps([asdict(one) for group in figures.values() for one in group], indent=2) + "\n"
    )
    for (what, services), group in figures.items():
        seconds = [one.seconds for one in group]
        megabytes = max(one.megabytes for one in group)
        target = verdict(what, services, statistics.median(seconds))
        print(
            f"{what:<52} {services:>6}  {statistics.median(seconds):7.2f} s"
            f"  ({min(seconds):.2f} to {max(seconds):.2f})  {megabytes:>4} MB  {target}".rstrip()
        )


def verdict(what: str, services: int, seconds: float) -> str:
    limit = LIMITS.get(what)
    if limit is None or services != 10_000:
        return ""
    return f"target {limit:g} s: {'met' if seconds < limit else 'MISSED'}"


def _in_child(name: str, services: int) -> list[Figure]:
    command = [sys.executable, "-m", "tests.bench.host", name, str(services)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [Figure(**one) for one in json.loads(done.stdout)]


if __name__ == "__main__":
    if len(sys.argv) == 3:
        gc.set_threshold(*RARE_COLLECTIONS)
        found = MEASUREMENTS[sys.argv[1]](int(sys.argv[2]))
        print(json.dumps([asdict(one) for one in found]))
    else:
        main()

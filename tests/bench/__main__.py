"""`make bench`: count what gitvs takes beside its peers, and compare with the committed figures.

BENCH_SERVICES are the sizes (1000,10000). BENCH_PARTS are what to measure, of `host` and
guest.PARTS (all). On the host, where processor seconds vary, BENCH_RUNS is how often (3), and
BENCH_SECONDS what each stage may take (60). After BENCH_MINUTES (240) the guest is ended.
Whatever fails, the rest is measured, told and kept. With the argument `accept`, nothing is
measured: the newest figures become the committed ones.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from tests.bench import guest
from tests.bench.accepted import (
    accept,
    differences,
    load_accepted,
    other_versions,
    report_text,
    values_of,
)
from tests.bench.figures import (
    Figure,
    Verdict,
    drift_percent,
    figures_of,
    growths_of,
)
from tests.bench.host import measure_host, profile_host
from tests.bench.load import SEED
from tests.bench.machine import Machine
from tests.bench.samples import Part, Recorder, Row, Schedule
from tests.bench.table import growth_text, number, seconds_text, table_text

FOLDER = Path(".bench")
SIZES = "1000,10000"
HOST = "host"
PARTS = ",".join((HOST, *guest.PARTS))


def main(arguments: Sequence[str]) -> int:
    """Measure; 1 if a committed figure was missed by too much, or something not measured."""
    if arguments:
        assert list(arguments) == ["accept"], arguments
        return _accept_newest()
    sizes = sorted(map(int, os.environ.get("BENCH_SERVICES", SIZES).split(",")))
    parts = os.environ.get("BENCH_PARTS", PARTS).split(",")
    ends_at = time.monotonic() + 60 * float(os.environ.get("BENCH_MINUTES", "240"))
    began_at = datetime.now(UTC)
    folder = FOLDER.resolve() / f"run-{began_at:%Y%m%dT%H%M%S}"
    folder.mkdir()
    recorder = Recorder(folder)
    guest_parts = [part for part in parts if part != HOST]
    with recorder.part("the guest"):
        _run_guest(Machine(FOLDER.resolve(), False), guest_parts, sizes, folder, ends_at)
    if HOST in parts:
        runs, seconds = os.environ.get("BENCH_RUNS", "3"), os.environ.get("BENCH_SECONDS", "60")
        measure_host(Schedule(recorder, int(runs), float(seconds)), sizes)
    clocked = Recorder(folder / "clocked")
    accelerated = Machine(FOLDER.resolve(), True)
    if guest_parts and accelerated.boots():
        with clocked.part("the guest with a real clock"):
            clocked.folder.mkdir()
            _run_guest(accelerated, guest_parts, sizes, clocked.folder, ends_at)
    return _report(began_at, recorder, clocked, sizes, is_whole=len(parts) > len(guest.PARTS))


def _run_guest(
    machine: Machine, parts: Sequence[str], sizes: Sequence[int], folder: Path, ends_at: float
) -> None:
    if parts:
        arguments = [str(folder), ",".join(parts), *map(str, sizes)]
        machine.run(["-m", "tests.bench.guest", *arguments], folder, ends_at - time.monotonic())


def _report(
    began_at: datetime,
    recorder: Recorder,
    clocked: Recorder,
    sizes: Sequence[int],
    is_whole: bool,
) -> int:
    """Tell and keep what was measured."""
    samples, versions = recorder.samples(), _versions()
    figures = [f for f in figures_of(samples, sizes) if is_whole or f.value is not None]
    growths, accepted = growths_of(figures), load_accepted()
    found = differences(values_of(samples), accepted["figures"])
    others = other_versions(versions, accepted["versions"]) if accepted["versions"] else []
    results = FOLDER / f"results-{began_at:%Y%m%dT%H%M%S}.json"
    document = {
        "beganAt": began_at.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - began_at).total_seconds()),
        "processors": os.cpu_count(),
        "commit": _commit(),
        "versions": versions,
        "seed": SEED,
        "figures": [asdict(figure) | {"verdict": figure.verdict} for figure in figures],
        "growth": [asdict(growth) | {"verdict": growth.verdict} for growth in growths],
        "parts": [asdict(part) for part in recorder.parts()],
        "values": values_of(samples),
    }
    results.write_text(json.dumps(document, indent=1))
    print(table_text(figures), _drift_text(figures), growth_text(growths), sep="\n")
    if timed := clocked.samples():
        print(seconds_text(timed))
    failures = [part for part in recorder.parts() if part.failure]
    print("".join(f"{_words(part)}\n" for part in failures), end="")
    print(report_text(found, others), end="")
    recorder.say(f"all of it is in {results}")
    missed = {figure.goal.row for figure in figures if figure.verdict is Verdict.MISSED}
    with recorder.part("profiling what missed a target"):
        profile_host(FOLDER, missed, sizes[-1])
    is_worse = not others and any(difference.percent > 0 for difference in found)
    return int(is_worse or bool(failures))


def _accept_newest() -> int:
    newest = max(FOLDER.glob("results-*.json"), default=None)
    if newest is None:
        print("bench: nothing was measured yet: make bench", file=sys.stderr)
        return 1
    document = json.loads(newest.read_text())
    accept(document["values"], document["versions"])
    print(f"bench: tests/bench/accepted.json has the figures of {newest}; commit it")
    return 0


def _drift_text(figures: Sequence[Figure]) -> str:
    return "".join(
        f"Drift passes of {figure.services:,} services take at most"
        f" {number(drift_percent(figure.cost))} % of a processor natively (at most 1 %).\n"
        for figure in figures
        if figure.goal.row is Row.DRIFT and figure.cost
    )


def _words(part: Part) -> str:
    where = f" of {part.services:,} services" if part.services else ""
    return f"FAILED: {part.name}{where}: {part.failure.splitlines()[0]}"


def _versions() -> Mapping[str, str]:
    """Return the versions of everything whose instructions are counted."""
    packages = ("ipvsadm", "keepalived", "git", "qemu-system-x86")
    return {
        **{name: _debian_version(name) for name in packages},
        **{name: version(name) for name in _libraries("gitvs")},
        "linux": Machine(FOLDER.resolve(), False).release,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }


def _libraries(package: str) -> set[str]:
    """Return what a Python package requires here, and what that requires."""
    found: set[str] = set()
    for requirement in requires(package) or []:
        name = re.match(r"[\w.-]+", requirement)
        if name and "extra ==" not in requirement and _is_installed(name[0]):
            found |= {name[0].lower()} | _libraries(name[0])
    return found


def _is_installed(package: str) -> bool:
    """Whether a package is there: some are for other systems or Pythons."""
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def _debian_version(package: str) -> str:
    command = ["dpkg-query", "-W", "-f", "${Version}", package]
    return subprocess.run(command, capture_output=True, check=False, text=True).stdout


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, check=False, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

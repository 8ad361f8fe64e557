"""`make bench`: measure gitvs beside its peers, print a table, and keep everything as JSON.

BENCH_SERVICES are the sizes (1000,2000,10000), BENCH_RUNS the runs that count (5), BENCH_SECONDS
what each stage may take (200): what is slow is measured less often then. After BENCH_MINUTES (40)
the guest is ended. Whatever fails, the rest is measured, told and kept.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gitvs.cli import GC_THRESHOLDS
from tests.bench.figures import Verdict, figures_of, growths_of
from tests.bench.host import LOADS, PREVIEWS, loading_in_child, measure_host, profile_previews
from tests.bench.load import SEED, make_load
from tests.bench.machine import Machine, find_machine
from tests.bench.profiles import profile_agent, profile_file, spin
from tests.bench.samples import Part, Recorder, Row, Schedule
from tests.bench.table import table_text

FOLDER = Path(".bench")
SIZES = "1000,2000,10000"


def main() -> int:
    """Measure; the exit status says whether that was possible, not how fast anything was."""
    sizes = sorted(map(int, os.environ.get("BENCH_SERVICES", SIZES).split(",")))
    runs = int(os.environ.get("BENCH_RUNS", "5"))
    seconds = float(os.environ.get("BENCH_SECONDS", "200"))
    ends_at = time.monotonic() + 60 * float(os.environ.get("BENCH_MINUTES", "40"))
    began_at = datetime.now(UTC)
    machine = find_machine(FOLDER.resolve())
    folder = machine.folder / f"run-{began_at:%Y%m%dT%H%M%S}"
    folder.mkdir()
    measure_host(Schedule(Recorder(folder), runs, seconds), sizes)
    recorder = Recorder(folder)
    with recorder.part("the guest"):
        arguments = [str(folder), str(runs), str(seconds), *map(str, sizes)]
        machine.run(["-m", "tests.bench.guest", *arguments], folder, ends_at - time.monotonic())
    return _report(machine, began_at, recorder, sizes)


def _report(machine: Machine, began_at: datetime, recorder: Recorder, sizes: Sequence[int]) -> int:
    """Tell and keep what was measured; return 1 if something was not."""
    samples = recorder.samples()
    figures, growths = figures_of(samples, sizes), growths_of(samples)
    results = FOLDER / f"results-{began_at:%Y%m%dT%H%M%S}.json"
    document = _surroundings(machine, began_at) | {
        "slowdown": _slowdown(recorder.folder),
        "figures": [asdict(figure) | {"verdict": figure.verdict} for figure in figures],
        "growth": [asdict(growth) | {"verdict": growth.verdict} for growth in growths],
        "parts": [asdict(part) for part in recorder.parts()],
        "samples": [asdict(sample) for sample in samples],
    }
    results.write_text(json.dumps(document, indent=1))
    print(table_text(figures, growths), end="")
    print(f"Python runs {document['slowdown']:.0f} times slower in the guest than here.")
    print("".join(f"{_words(part)}\n" for part in recorder.parts() if part.failure), end="")
    recorder.say(f"all of it is in {results}")
    missed = {figure.goal.row for figure in figures if figure.verdict is Verdict.MISSED}
    with recorder.part("profiling what missed a target"):
        _keep_profiles(recorder.folder, missed, sizes[-1])
    return int(any(figure.verdict is Verdict.NOT_MEASURED for figure in figures))


def _words(part: Part) -> str:
    where = f" of {part.services:,} services, run {part.run}" if part.services else ""
    return f"FAILED: {part.name}{where}: {part.failure.splitlines()[0]}"


def _slowdown(folder: Path) -> float:
    """Return how much slower than here Python runs in the guest; 0 if that is not known."""
    file = folder / "spin"
    return float(file.read_text()) / spin() if file.exists() else 0.0


def _keep_profiles(folder: Path, missed: set[Row], services: int) -> None:
    """Keep the profile of each row that misses a target."""
    for row in missed:
        if profile_file(folder, row).exists():  # the guest made it
            profile_file(folder, row).replace(profile_file(FOLDER, row))
    if missed.intersection(LOADS):
        loading_in_child(FOLDER, services, "profile")
    gc.set_threshold(*GC_THRESHOLDS)
    load = make_load(services)
    if missed.intersection(PREVIEWS):
        profile_previews(FOLDER, load)
    profile_agent(FOLDER, load, missed)


def _surroundings(machine: Machine, began_at: datetime) -> dict[str, Any]:
    return {
        "beganAt": began_at.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - began_at).total_seconds()),
        "machine": _processor(),
        "load": os.getloadavg(),
        "accelerated": machine.accelerated,
        "versions": _versions(machine),
        "seed": SEED,
    }


def _processor() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {"processors": os.cpu_count(), "model": models[0] if models else platform.machine()}


def _versions(machine: Machine) -> dict[str, str]:
    packages = ("ipvsadm", "keepalived", "qemu-system-x86")
    debian = {
        name: subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", name],
            capture_output=True,
            check=False,
            text=True,
        ).stdout
        for name in packages
    }
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, check=False, text=True
    ).stdout.strip()
    return {
        **debian,
        "linux": machine.release,
        "python": platform.python_version(),
        "virtme-ng": version("virtme-ng"),
        "gitvs": version("gitvs"),
        "commit": commit,
    }


if __name__ == "__main__":
    sys.exit(main())

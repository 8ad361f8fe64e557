"""`make bench`: measure gitvs beside its peers, print a table, and keep everything as JSON.

BENCH_SERVICES are the sizes (1000,2000,10000), BENCH_RUNS the runs that count (5), and
BENCH_SECONDS what each stage may take (300): what is slow is measured less often then.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gitvs.cli import RARE_COLLECTIONS
from tests.bench.figures import Figure, figures_of, growths_of
from tests.bench.load import SEED, make_load
from tests.bench.machine import Machine, find_machine
from tests.bench.profiles import profile_change, profile_file, spin
from tests.bench.samples import Row, Sample, read_samples
from tests.bench.table import table_text

FOLDER = Path(".bench")
SIZES = "1000,2000,10000"
_TIMEOUT_SECONDS = 3 * 3600.0


def main() -> int:
    """Measure; the exit status says whether that was possible, not how fast anything was."""
    sizes = sorted(map(int, os.environ.get("BENCH_SERVICES", SIZES).split(",")))
    runs = int(os.environ.get("BENCH_RUNS", "5"))
    began_at = datetime.now(UTC)
    machine = find_machine(FOLDER.resolve())
    shared = machine.folder / f"run-{began_at:%Y%m%dT%H%M%S}"
    seconds = os.environ.get("BENCH_SECONDS", "300")
    arguments = ["-m", "tests.bench.guest", str(shared), str(runs), seconds, *map(str, sizes)]
    try:
        status = machine.run(arguments, shared, _TIMEOUT_SECONDS)
    except (TimeoutError, RuntimeError) as error:
        print(f"bench: {error}", file=sys.stderr)
        status = 1
    kept = shared / "samples"
    samples = read_samples(kept.read_text().splitlines()) if kept.exists() else []
    (shared / "disk").unlink()
    (shared / "files.tar").unlink()
    slowdown = _slowdown(shared)
    results = FOLDER / f"results-{began_at:%Y%m%dT%H%M%S}.json"
    document = _document(machine, began_at, samples) | {"slowdown": slowdown}
    results.write_text(json.dumps(document, indent=1))
    _keep_profiles(shared, figures_of(samples))
    print(table_text(figures_of(samples), growths_of(samples)), end="")
    print(f"Python runs {slowdown:.0f} times slower in the guest: seconds and % are the guest's.")
    print(f"bench: all of it is in {results}", file=sys.stderr)
    return status


def _slowdown(shared: Path) -> float:
    """Return how much slower than here Python runs in the guest; 0 if that is not known."""
    file = shared / "spin"
    return float(file.read_text()) / spin() if file.exists() else 0.0


def _keep_profiles(shared: Path, figures: Sequence[Figure]) -> None:
    """Keep the profile of each row that misses a target."""
    missed = {figure.goal.row for figure in figures if not figure.is_met}
    for row in missed:
        if profile_file(shared, row).exists():
            profile_file(shared, row).replace(profile_file(FOLDER, row))
    if Row.CHANGE in missed:
        print("bench: profiling a change", file=sys.stderr)
        gc.set_threshold(*RARE_COLLECTIONS)
        profile_change(FOLDER, make_load(max(figure.services for figure in figures)))


def _document(machine: Machine, began_at: datetime, samples: Sequence[Sample]) -> dict[str, Any]:
    return {
        "beganAt": began_at.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - began_at).total_seconds()),
        "machine": _processor(),
        "load": os.getloadavg(),
        "accelerated": machine.accelerated,
        "versions": _versions(machine),
        "seed": SEED,
        "figures": [asdict(figure) | {"met": figure.is_met} for figure in figures_of(samples)],
        "growth": [asdict(growth) | {"met": growth.is_met} for growth in growths_of(samples)],
        "samples": [asdict(sample) for sample in samples],
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

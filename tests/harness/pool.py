"""Shares tests out among User-Mode Linux guests and collects their reports.

Host and guests meet in one folder. Each guest runs pytest once over the files of all tests,
claims the next test by making a folder (the host's mkdir is atomic, so two guests never
claim the same), and appends claims and reports to a file of its own as JSON lines.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.harness.guest import Guest
from tests.harness.isolated import deserialize, failed, run_isolated, serialize, timeout_of

SHARED_FOLDER = "GITVS_TEST_SHARED_FOLDER"
"""The environment variable that tells a guest's pytest where host and guests meet."""
OWN_FOLDER = "GITVS_TEST_OWN_FOLDER"

_SPARE_SECONDS = 120.0
"""How much longer than its longest test a guest may say nothing: it boots and imports too."""
_POLL_SECONDS = 0.05
_TESTS_PER_GUEST = 3


class GuestPool:
    """Runs kernel tests in guests; the host's side."""

    def __init__(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gitvs-guests-")
        shared = Path(self._folder.name)
        (shared / "claims").mkdir()
        # Those that may take longest come first, lest one guest be left with them at the end.
        longest_first = sorted(items, key=timeout_of, reverse=True)
        (shared / "tests.json").write_text(json.dumps([item.nodeid for item in longest_first]))
        self._silence_seconds = max(map(timeout_of, items)) + _SPARE_SECONDS
        command = _pytest_command(config, items)
        self.members = [
            Member(command, shared, shared / f"guest{number}")
            for number in range(_number_of_guests(len(items)))
        ]

    def run(self, item: pytest.Item) -> list[pytest.TestReport]:
        """Wait for the reports of a test."""
        while True:
            running = [member for member in self.members if member.guest.is_running()]
            for member in self.members:
                member.read()
                if (reports := member.reports.pop(item.nodeid, None)) is not None:
                    return [deserialize(item, report) for report in reports]
            owner = next((m for m in self.members if item.nodeid in m.claimed), None)
            if not running or (owner is not None and owner not in running):
                lost = [owner] if owner is not None else self.members
                return [failed(item, "\n".join(["the test did not report", *map(str, lost)]))]
            for member in running:
                member.end_if_silent(self._silence_seconds)
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        for member in self.members:
            member.guest.kill()
        self._folder.cleanup()


class Member:
    """One guest of a pool, and what it has said so far."""

    def __init__(self, command: list[str], shared: Path, folder: Path) -> None:
        self.claimed: set[str] = set()
        self.reports: dict[str, list[dict[str, Any]]] = {}
        self._fate = "ended"
        self._heard_at = time.monotonic()
        self._offset = 0
        environment = {SHARED_FOLDER: str(shared), OWN_FOLDER: str(folder)}
        self.guest = Guest(command, folder, shared=shared, environment=environment)

    def read(self) -> None:
        """Take in the lines that the guest has written since the last time."""
        with contextlib.suppress(FileNotFoundError):
            with (self.guest.folder / "reports").open("rb") as file:
                file.seek(self._offset)
                lines = file.read()
            whole = lines[: lines.rfind(b"\n") + 1]
            self._offset += len(whole)
            for line in whole.splitlines():
                record = json.loads(line)
                self._heard_at = time.monotonic()
                self.claimed.add(record["test"])
                if "reports" in record:
                    self.reports[record["test"]] = record["reports"]

    def end_if_silent(self, limit_seconds: float) -> None:
        if time.monotonic() - self._heard_at > limit_seconds:
            self._fate = f"said nothing for {limit_seconds:g} s and was ended"
            self.guest.kill()

    def __str__(self) -> str:
        name = self.guest.folder.name
        return f"{name} {self._fate}; the end of its console:\n{self.guest.console_tail()}"


class GuestSide:
    """Runs the tests that this guest claims; the guest's side, a pytest plugin."""

    def __init__(self) -> None:
        self._shared = Path(os.environ[SHARED_FOLDER])
        self._records = Path(os.environ[OWN_FOLDER]) / "reports"

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        by_id = {item.nodeid: item for item in session.items}
        for number, test in enumerate(json.loads((self._shared / "tests.json").read_text())):
            if test in by_id and self._claim(number):
                print(test, file=sys.__stderr__, flush=True)
                self._record({"test": test})
                reports = run_isolated(by_id[test])
                self._record(
                    {"test": test, "reports": [serialize(by_id[test], r) for r in reports]}
                )
        return True

    def _claim(self, number: int) -> bool:
        try:
            (self._shared / "claims" / str(number)).mkdir()
        except FileExistsError:
            return False
        return True

    def _record(self, record: dict[str, object]) -> None:
        with self._records.open("a") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _number_of_guests(tests: int) -> int:
    if wanted := os.environ.get("GITVS_TEST_GUESTS"):
        return int(wanted)
    # One more than processors: some tests wait for a clock.
    return max(1, min(len(os.sched_getaffinity(0)) + 1, tests // _TESTS_PER_GUEST))


def _pytest_command(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    options = [f"--rootdir={config.rootpath}", f"--tb={config.option.tbstyle}", "-q"]
    if config.inipath is not None:
        options += ["-c", str(config.inipath)]
    if config.option.showlocals:
        options.append("--showlocals")
    files = dict.fromkeys(str(item.path) for item in items)
    return [
        *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist"),
        *(*options, *files),
    ]

"""Runs one test in a child process with a network namespace of its own.

The child is forked from the warm pytest process, so a test starts at once, and whatever it
leaves behind (threads, sockets, namespaces, processes) goes when it ends.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import select
import signal
import tempfile
import time
import traceback
from typing import IO, Any

import pytest
from _pytest.runner import runtestprotocol

from tests.harness.namespace import enter_fresh_namespace
from tests.harness.processes import fork_child, kill

DEFAULT_TIMEOUT_SECONDS = 180.0


def timeout_of(item: pytest.Item) -> float:
    """Return how long a test may take: `@pytest.mark.kernel(timeout_seconds=…)` or the default."""
    marker = item.get_closest_marker("kernel")
    return float(marker.kwargs.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS) if marker else 0)


def run_isolated(item: pytest.Item) -> list[pytest.TestReport]:
    """Run set-up, test and tear-down in a fresh namespace and return their reports."""
    started_at = time.monotonic()
    with tempfile.TemporaryFile("w+") as reports, tempfile.TemporaryFile("w+") as stacks:
        pid = fork_child(lambda: _run_as_child(item, reports, stacks))
        try:
            has_ended = _wait(pid, timeout_of(item) + 5)
        finally:
            status = kill(pid)  # and what it left behind
        reports.seek(0)
        text = reports.read()
        with contextlib.suppress(ValueError):
            return [deserialize(item, report) for report in json.loads(text)]
        if has_ended:
            problem = f"the test's process ended: {_describe(status)}\n{text}"
        else:
            stacks.seek(0)
            problem = f"time-out: longer than {timeout_of(item):g} s\n{stacks.read()}"
    return [failed(item, problem, time.monotonic() - started_at)]


def failed(item: pytest.Item, problem: str, seconds: float = 0) -> pytest.TestReport:
    """Return the report of a test that could not report itself."""
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome="failed",
        longrepr=problem,
        when="call",
        duration=seconds,
    )


def serialize(item: pytest.Item, report: pytest.TestReport) -> dict[str, Any]:
    """Return a report as JSON can carry it."""
    hook = item.config.hook
    data: dict[str, Any] = hook.pytest_report_to_serializable(config=item.config, report=report)
    return data


def deserialize(item: pytest.Item, data: dict[str, Any]) -> pytest.TestReport:
    """Return the report that `serialize` made JSON of."""
    for name in ("location", "longrepr"):  # JSON has no tuples; a skip's longrepr is one
        if isinstance(data[name], list):
            data[name] = tuple(data[name])
    hook = item.config.hook
    report: pytest.TestReport = hook.pytest_report_from_serializable(config=item.config, data=data)
    return report


def _run_as_child(item: pytest.Item, reports: IO[str], stacks: IO[str]) -> None:
    """Run the test and write its reports."""
    os.setsid()
    faulthandler.dump_traceback_later(timeout_of(item), file=stacks)
    try:
        enter_fresh_namespace()
        done = runtestprotocol(item, nextitem=None, log=False)
        json.dump([serialize(item, report) for report in done], reports)
    except BaseException:  # noqa: BLE001  # the parent reports it, whatever it is
        reports.write(traceback.format_exc())
    reports.flush()


def _wait(pid: int, timeout_seconds: float) -> bool:
    """Return whether a child ended in time. Its own children may outlive it."""
    handle = os.pidfd_open(pid)
    try:
        return bool(select.select([handle], [], [], timeout_seconds)[0])
    finally:
        os.close(handle)


def _describe(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit status {os.waitstatus_to_exitcode(status)}"

"""A pytest plugin: tests marked `kernel` run on a real kernel with IPVS, wherever pytest runs.

As root on a kernel with IPVS they run here, each in a child process with a network namespace
of its own. Otherwise User-Mode Linux guests run them in the same way, and this process
reports what the guests report. Where neither is possible they fail and say what to install;
they are never skipped. `GITVS_TEST_KERNEL=native` or `uml` insists on one of the two, and
`GITVS_TEST_GUESTS` sets the number of guests.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Protocol

import pytest

from tests.harness import guest, namespace
from tests.harness.isolated import failed, run_isolated
from tests.harness.pool import SHARED_FOLDER, GuestPool, GuestSide


class Runner(Protocol):
    """Something that runs a kernel test and returns its reports."""

    def run(self, item: pytest.Item) -> list[pytest.TestReport]: ...

    def stop(self) -> None: ...


class Native:
    """Runs tests on the kernel under us."""

    def run(self, item: pytest.Item) -> list[pytest.TestReport]:
        return run_isolated(item)

    def stop(self) -> None:
        pass


class Impossible:
    """Fails tests, because no kernel here can run them."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def run(self, item: pytest.Item) -> list[pytest.TestReport]:
        return [failed(item, self._reason)]

    def stop(self) -> None:
        pass


def choose_runner(config: pytest.Config, items: list[pytest.Item]) -> tuple[Runner, str]:
    """Return what runs these kernel tests here, and a line that says so."""
    wanted = os.environ.get("GITVS_TEST_KERNEL", "")
    native_obstacle = "not wanted" if wanted == "uml" else namespace.obstacle()
    if native_obstacle is None:
        return Native(), f"{len(items)} kernel tests: natively, on {os.uname().release}"
    guest_obstacle = "not wanted" if wanted == "native" else guest.obstacle()
    if guest_obstacle is None and hasattr(config, "workerinput"):
        guest_obstacle = "pytest-xdist workers can't share guests: run kernel tests without -n"
    if guest_obstacle is None:
        pool = GuestPool(config, items)
        return pool, f"{len(items)} kernel tests: in {len(pool.members)} User-Mode Linux guests"
    reason = (
        f"no kernel for this test. The host's: {native_obstacle}. User-Mode Linux: "
        f"{guest_obstacle}. To have one, {guest.INSTALL}"
    )
    return Impossible(reason), reason


class HostSide:
    """Sends kernel tests to a kernel; everything else runs as usual, and first."""

    def __init__(self) -> None:
        self._runner: Runner = Native()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        # The others first: meanwhile, guests boot and work.
        items.sort(key=is_kernel_test)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        items = [item for item in session.items if is_kernel_test(item)]
        if not items or session.config.option.collectonly:
            return (yield)
        self._runner, line = choose_runner(session.config, items)
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(line)
        try:
            return (yield)
        finally:
            self._runner.stop()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        if not is_kernel_test(item):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._runner.run(item):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True


def is_kernel_test(item: pytest.Item) -> bool:
    return item.get_closest_marker("kernel") is not None


def pytest_configure(config: pytest.Config) -> None:
    in_guest = SHARED_FOLDER in os.environ
    config.pluginmanager.register(GuestSide() if in_guest else HostSide())

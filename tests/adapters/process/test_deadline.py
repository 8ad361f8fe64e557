"""How long judging may take: counted by what its thread computes, and looked at cheaply."""

from __future__ import annotations

import time

import pytest

from gitvs.adapters.process import deadline
from gitvs.adapters.process.deadline import Deadline
from gitvs.core.checkpoint import TookTooLong


class Clocks:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.passed = self.computed = 100.0
        self.looks = 0

    def monotonic(self) -> float:
        return self.passed

    def thread_time(self) -> float:
        self.looks += 1
        return self.computed

    def move(self, passed: float, computed: float) -> None:
        self.passed += passed
        self.computed += computed


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr(time, "monotonic", clocks.monotonic)
    monkeypatch.setattr(time, "thread_time", clocks.thread_time)
    return clocks


def test_work_ends_once_its_thread_computed_for_so_long(clocks: Clocks) -> None:
    check = Deadline()
    for _ in range(10):
        check()
        clocks.move(10.0, deadline.MAX_JUDGING_SECONDS / 10)
    check()
    clocks.move(0.2, 0.1)
    with pytest.raises(TookTooLong):
        check()


def test_a_busy_host_ends_nothing(clocks: Clocks) -> None:
    check = Deadline()
    for _ in range(1000):
        clocks.move(1.0, 0.02)
        check()


def test_the_clock_of_the_thread_is_read_a_few_times(clocks: Clocks) -> None:
    check = Deadline()
    for _ in range(29_000):
        clocks.move(0.0015, 0.001)
        check()
    assert clocks.looks < 10

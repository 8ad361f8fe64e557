"""What the worker takes out is what others put in: merged, in time, and from any thread."""

from __future__ import annotations

import threading
import time

import pytest

from gitvs.agent.work_queue import WorkQueue

NEVER = 600.0
"""Seconds until a waiter returns that nobody woke."""


def test_the_same_trigger_many_times_is_one() -> None:
    inbox = WorkQueue()
    for _ in range(1000):
        inbox.add_trigger("address changed")
    inbox.add_trigger("drift timer")
    assert inbox.wait_for_work(NEVER) == ({"address changed", "drift timer"}, [])
    assert inbox.wait_for_work(0) == (frozenset(), [])


def test_a_trigger_waits_for_its_moment_and_later_ones_do_not_put_it_off() -> None:
    inbox = WorkQueue()
    started = time.monotonic()
    inbox.add_trigger("event", 0.2)
    inbox.add_trigger("event", NEVER)
    inbox.add_trigger("later", NEVER / 2)
    assert inbox.wait_for_work(NEVER)[0] == {"event"}
    assert time.monotonic() - started >= 0.2


def test_a_trigger_that_is_not_due_stays() -> None:
    inbox = WorkQueue()
    inbox.add_trigger("later", 60.0)
    inbox.add_trigger("now")
    assert inbox.wait_for_work(NEVER)[0] == {"now"}
    assert inbox.wait_for_work(0.05)[0] == frozenset()


def test_jobs_come_in_their_order_and_tell_what_came_of_them() -> None:
    inbox = WorkQueue()
    first = inbox.submit(lambda: 1)
    second = inbox.submit(lambda: 1 // 0)
    for job in inbox.wait_for_work(NEVER)[1]:
        job()
    assert first.result(0) == 1
    with pytest.raises(ZeroDivisionError):
        second.result(0)


def test_waking_returns_with_nothing_to_do() -> None:
    inbox = WorkQueue()
    threading.Timer(0.1, inbox.wake).start()
    assert inbox.wait_for_work(NEVER) == (frozenset(), [])


def test_whoever_waits_is_woken_by_another_thread() -> None:
    inbox = WorkQueue()
    threading.Timer(0.1, inbox.add_trigger, ["kernel"]).start()
    assert inbox.wait_for_work(NEVER)[0] == {"kernel"}

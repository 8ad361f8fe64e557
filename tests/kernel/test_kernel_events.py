"""What changes an interface is reported, but not the number that gitvs writes into its alias."""

from __future__ import annotations

import queue
import subprocess
import time

import pytest

from gitvs.adapters.linux.kernel_events import KernelEvent, KernelEvents

pytestmark = pytest.mark.kernel


def ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True)


def test_what_changes_an_interface_is_reported() -> None:
    ip("link add gitvs0 type dummy")
    heard: queue.Queue[KernelEvent] = queue.Queue()
    events = KernelEvents(["gitvs0"], heard.put)
    events.start()
    try:
        for change in ("up", "down", "mtu 1400"):
            ip(f"link set gitvs0 {change}")
            # The IPv6 address and routes of a link that is up come when they like.
            while heard.get(timeout=120) is not KernelEvent.LINK:
                pass
    finally:
        events.stop()


def test_an_alias_that_changes_is_no_news() -> None:
    """The kernel tells of it where the link is up."""
    ip("link add gitvs0 type dummy")
    ip("link set gitvs0 up")
    heard: queue.Queue[KernelEvent] = queue.Queue()
    events = KernelEvents(["gitvs0"], heard.put)
    events.start()
    try:
        for number in range(1, 9):
            ip(f"link set gitvs0 alias gitvs:x:{number}")
            time.sleep(0.2)  # so that they do not come in one batch
        ip("address add 203.0.113.10/32 dev gitvs0")
        found = [heard.get(timeout=120)]
        while found[-1] is not KernelEvent.ADDRESS:
            found.append(heard.get(timeout=120))
    finally:
        events.stop()
    assert found.count(KernelEvent.LINK) <= 1

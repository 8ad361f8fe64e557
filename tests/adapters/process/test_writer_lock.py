"""One writer for each network namespace, and who it is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from gitvs.adapters.process.writer_lock import writer_lock
from gitvs.core.errors import LockHeld

HOLD = """\
import sys
from gitvs.adapters.process.writer_lock import writer_lock
with writer_lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A lock of this test's own: other tests, and a gitvs of this host, have theirs."""
    return f"gitvs/test/{os.getpid()}/{request.node.name}"


def held_by_another(name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, name]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_writer_is_told_who_the_first_is(name: str) -> None:
    with held_by_another(name) as other:
        with pytest.raises(LockHeld) as refusal, writer_lock(name):
            pytest.fail("there were two writers")
        other.kill()
    message = str(refusal.value)
    assert f"process {other.pid} ({sys.executable} -c" in message
    assert "import sys?from" in message
    assert "running for" in message
    assert refusal.value.is_transient


def test_the_lock_goes_with_the_process_that_held_it(name: str) -> None:
    with held_by_another(name) as other:
        other.kill()
    with writer_lock(name):
        pass


def test_the_lock_is_free_again_after_its_block(name: str) -> None:
    with writer_lock(name):
        pass
    with writer_lock(name):
        pass


def test_a_child_that_outlives_the_writer_does_not_keep_the_lock(name: str) -> None:
    with writer_lock(name):
        child = subprocess.Popen(["sleep", "60"])
    try:
        with writer_lock(name):
            pass
    finally:
        child.kill()
        child.wait()


def test_the_second_writer_is_refused_even_when_the_queue_of_questions_is_full(
    name: str,
) -> None:
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    lock.bind(f"\0{name}")
    lock.listen(0)
    asking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    asking.connect(f"\0{name}")
    with pytest.raises(LockHeld, match="another process"), writer_lock(name):
        pytest.fail("there were two writers")
    asking.close()
    lock.close()

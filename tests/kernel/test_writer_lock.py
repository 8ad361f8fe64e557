"""The lock of a network namespace, where `/run` is a file system of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitvs.adapters.process import network_namespace
from gitvs.adapters.process.writer_lock import prepare_lock_folder, writer_lock
from gitvs.core.errors import LockHeld, LockUnusable
from tests.harness import namespace

pytestmark = pytest.mark.kernel


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """A small file system."""
    mounted = tmp_path / "run"
    mounted.mkdir()
    mount("-t", "tmpfs", "-o", "size=16k,nr_inodes=6", "none", mounted)
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def test_directors_in_two_namespaces_share_one_folder_of_locks(run: Path) -> None:
    folder = run / "gitvs" / "lock"
    prepare_lock_folder(folder)
    namespace.add("other")
    with writer_lock(folder=folder):
        with namespace.entered("other"), writer_lock(folder=folder):
            pass
        with pytest.raises(LockHeld), writer_lock(folder=folder):
            pytest.fail("there were two writers")


def test_before_linux_5_14_namespaces_are_told_apart_too(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_namespace, "_SO_NETNS_COOKIE", 9999)  # ENOPROTOOPT, as there
    folder = run / "gitvs" / "lock"
    prepare_lock_folder(folder)
    namespace.add("other")
    with writer_lock(folder=folder):
        with namespace.entered("other"), writer_lock(folder=folder):
            pass
        with pytest.raises(LockHeld), writer_lock(folder=folder):
            pytest.fail("there were two writers")


def test_a_full_file_system_keeps_nobody_from_a_lock_that_is_there(run: Path) -> None:
    folder = run / "gitvs" / "lock"
    prepare_lock_folder(folder)
    with writer_lock(folder=folder):
        pass
    with pytest.raises(OSError, match="No space left"):
        (run / "filler").write_bytes(bytes(1 << 20))
    with writer_lock(folder=folder), pytest.raises(LockHeld), writer_lock(folder=folder):
        pytest.fail("there were two writers")


def test_a_file_system_without_room_for_a_lock_is_named(run: Path) -> None:
    folder = run / "gitvs" / "lock"
    prepare_lock_folder(folder)
    while os.statvfs(run).f_ffree:
        (run / f"filler{os.statvfs(run).f_ffree}").touch()
    with pytest.raises(LockUnusable, match="ENOSPC"), writer_lock(folder=folder):
        pytest.fail("there was no lock")


def test_a_read_only_file_system_keeps_nobody_from_a_lock_that_is_there(
    run: Path, tmp_path: Path
) -> None:
    folder = run / "gitvs" / "lock"
    prepare_lock_folder(folder)
    seen_elsewhere = tmp_path / "read-only"
    seen_elsewhere.mkdir()
    mount("--bind", folder, seen_elsewhere)
    mount("-o", "remount,bind,ro", seen_elsewhere)
    with writer_lock(folder=folder), pytest.raises(LockHeld), writer_lock(folder=seen_elsewhere):
        pytest.fail("there were two writers")
    with writer_lock(folder=seen_elsewhere), pytest.raises(LockHeld), writer_lock(folder=folder):
        pytest.fail("there were two writers")
    with pytest.raises(LockUnusable, match="EROFS"), writer_lock("agent", seen_elsewhere):
        pytest.fail("there was no lock")
    subprocess.run(["umount", str(seen_elsewhere)], check=True)

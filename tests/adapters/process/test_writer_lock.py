"""One writer for each network namespace, and who it is."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

import pytest

from gitvs.adapters.process.network_namespace import namespace_name
from gitvs.adapters.process.writer_lock import prepare_lock_folder, writer_lock
from gitvs.core.errors import LockHeld, LockUnusable

HOLD = """\
import os, sys
from pathlib import Path
from gitvs.adapters.process.writer_lock import writer_lock
from gitvs.core.errors import GitvsError
folder, user, group = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
if user:
    os.setgroups([group]); os.setgid(user); os.setuid(user)
try:
    with writer_lock(folder=folder):
        print("held", flush=True)
        sys.stdin.read()
except GitvsError as error:
    print(type(error).__name__, error, flush=True)
"""
NOBODY, SOME_GROUP = 65534, 4242

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of locks; any user may reach it, and its own permissions decide who enters."""
    with TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        made = Path(parent, "lock")
        made.mkdir()
        made.chmod(0o770)
        yield made


def lock_file(folder: Path) -> Path:
    return folder / f"writer-{namespace_name()}"


@contextmanager
def attempted_by_another(
    folder: Path, user: int = 0, group: int = 0
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Another process takes the lock, and keeps it; its first line, and the process."""
    command = [sys.executable, "-c", HOLD, str(folder), str(user), str(group)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        yield process.stdout.readline(), process
        process.kill()


def test_the_second_writer_is_told_who_the_first_is(folder: Path) -> None:
    with attempted_by_another(folder) as (answer, other):
        assert answer == "held\n"
        with pytest.raises(LockHeld) as refusal, writer_lock(folder=folder):
            pytest.fail("there were two writers")
    message = str(refusal.value)
    assert f"process {other.pid} ({sys.executable} -c" in message
    assert "import os, sys\\u000afrom" in message
    assert "which has held it for" in message
    assert "Nothing was changed" in message
    assert refusal.value.is_transient


def test_a_holder_that_could_not_describe_itself_holds_the_lock_all_the_same(folder: Path) -> None:
    with writer_lock(folder=folder):
        lock_file(folder).write_bytes(b"")
        with pytest.raises(LockHeld, match="another process"), writer_lock(folder=folder):
            pytest.fail("there were two writers")


def test_a_holder_in_another_container_is_named_as_such(folder: Path) -> None:
    with writer_lock(folder=folder):
        lock_file(folder).write_text("7 1 0 gitvs agent")
        held = "process 7 of another container \\(gitvs agent\\)"
        with pytest.raises(LockHeld, match=held), writer_lock(folder=folder):
            pytest.fail("there were two writers")


def test_the_lock_goes_with_the_process_that_held_it(folder: Path) -> None:
    with attempted_by_another(folder):
        pass
    with writer_lock(folder=folder):
        pass


def test_the_lock_is_free_again_after_its_block(folder: Path) -> None:
    with writer_lock(folder=folder):
        pass
    with writer_lock(folder=folder), writer_lock("agent", folder):
        pass


def test_a_child_that_outlives_the_writer_does_not_keep_the_lock(folder: Path) -> None:
    with writer_lock(folder=folder):
        child = subprocess.Popen(["sleep", "60"])
        forked, keeps_alive = os.pipe()
        if (pid := os.fork()) == 0:
            os.close(keeps_alive)
            os.read(forked, 1)
            os._exit(0)
    try:
        with writer_lock(folder=folder):
            pass
    finally:
        os.close(keeps_alive)
        os.waitpid(pid, 0)
        child.kill()
        child.wait()


def test_a_holder_whose_file_was_removed_takes_the_lock_of_the_new_one(folder: Path) -> None:
    with writer_lock(folder=folder) as ensure:
        ensure()
        lock_file(folder).unlink()
        ensure()
        with attempted_by_another(folder) as (answer, _):
            assert answer.startswith("LockHeld"), "the file was made again, and is locked"


def test_a_holder_whose_file_was_removed_refuses_beside_the_holder_of_the_new_one(
    folder: Path,
) -> None:
    with writer_lock(folder=folder) as ensure:
        lock_file(folder).unlink()
        with attempted_by_another(folder) as (answer, other):
            assert answer == "held\n"
            for _ in range(2):
                with pytest.raises(LockHeld, match=f"process {other.pid}.*Nothing was changed"):
                    ensure()
        ensure()
        with attempted_by_another(folder) as (answer, _):
            assert answer.startswith("LockHeld")


@as_root
def test_root_makes_a_folder_that_was_removed_under_a_held_lock(folder: Path) -> None:
    made = folder / "run" / "lock"
    prepare_lock_folder(made)
    with writer_lock(folder=made) as ensure:
        rmtree(made.parent)
        ensure()
        with attempted_by_another(made) as (answer, _):
            assert answer.startswith("LockHeld")


@as_root
def test_a_user_without_rights_can_neither_hold_the_lock_nor_block_it(folder: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX) as writer,
        socket.socket(socket.AF_UNIX) as agent,
        attempted_by_another(folder, user=NOBODY, group=NOBODY) as (answer, _),
    ):
        with suppress(OSError):  # what the lock once was; an older gitvs may hold it
            writer.bind("\0gitvs/writer")
            agent.bind("\0gitvs/agent")
        assert answer.startswith("LockUnusable")
        assert "no permission for user 65534; be root, or a member of group gitvs" in answer
        with writer_lock(folder=folder):
            pass


@as_root
def test_a_user_who_may_not_even_look_is_told_so_while_somebody_holds_it(folder: Path) -> None:
    with writer_lock(folder=folder), attempted_by_another(folder, NOBODY, NOBODY) as (answer, _):
        assert "no permission for user 65534" in answer


@as_root
def test_a_member_of_the_folders_group_can_hold_what_root_made(folder: Path) -> None:
    os.chown(folder, 0, SOME_GROUP)
    umask = os.umask(0o077)
    with writer_lock(folder=folder):
        pass
    os.umask(umask)
    with attempted_by_another(folder, NOBODY, SOME_GROUP) as (answer, _):
        assert answer == "held\n"
        with pytest.raises(LockHeld), writer_lock(folder=folder):
            pytest.fail("there were two writers")


def test_a_link_in_the_place_of_the_lock_is_not_followed(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    lock_file(folder).symlink_to(target)
    with pytest.raises(LockUnusable, match=r"ELOOP.*remove it"), writer_lock(folder=folder):
        pytest.fail("a link was locked")
    assert not target.exists()


def test_a_pipe_or_a_folder_in_the_place_of_the_lock_is_named(folder: Path) -> None:
    os.mkfifo(lock_file(folder))
    with pytest.raises(LockUnusable, match="has to be a file"), writer_lock(folder=folder):
        pytest.fail("a pipe was locked")
    lock_file(folder).unlink()
    lock_file(folder).mkdir()
    with pytest.raises(LockUnusable, match=r"EISDIR.*remove it"), writer_lock(folder=folder):
        pytest.fail("a folder was locked")


@pytest.mark.parametrize("mode", [0o777, 0o771, 0o774])
def test_a_folder_that_is_open_to_everybody_is_refused(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    with pytest.raises(LockUnusable, match="chmod 0770"), writer_lock(folder=folder):
        pytest.fail("anybody could have blocked it")


@as_root
def test_a_folder_of_another_user_is_refused(folder: Path) -> None:
    os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(LockUnusable, match="a folder that root owns"), writer_lock(folder=folder):
        pytest.fail("its owner could have replaced the lock")


def test_a_missing_folder_is_refused_with_the_remedy(folder: Path) -> None:
    missing = folder / "run" / "lock"
    remedy = f"install -d -m 0770 -g gitvs {missing}.*Nothing was changed"
    with pytest.raises(LockUnusable, match=remedy), writer_lock(folder=missing):
        pytest.fail("there was no lock")


@as_root
def test_root_makes_a_missing_folder_for_itself_and_the_group_alone(folder: Path) -> None:
    made = folder / "run" / "lock"
    umask = os.umask(0o077)
    prepare_lock_folder(made)
    os.umask(umask)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (made.parent, made)] == [0o755, 0o770]
    with writer_lock(folder=made):
        pass
    made.chmod(0o700)
    prepare_lock_folder(made)
    assert stat.S_IMODE(made.stat().st_mode) == 0o700, "what is there is not changed"


@as_root
def test_a_folder_that_cannot_be_made_is_named(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(LockUnusable, match="cannot be made"):
        prepare_lock_folder(folder / "file" / "lock")

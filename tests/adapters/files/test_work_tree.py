"""Which work tree or repository a folder is in, whatever lies in its way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitvs.adapters.files.work_tree import nearest_git, read_regular_file, repository_of


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder below one that this process, then nobody's, may not search."""
    folder = tmp_path / "outer/closed/inner"
    folder.mkdir(parents=True)
    (tmp_path / "outer/.git").mkdir()
    folder.parent.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    folder.parent.chmod(0o700)


def test_a_folder_that_may_not_be_searched_has_no_git(closed: Path) -> None:
    assert nearest_git(closed) in (None, closed.parents[1] / ".git")
    assert repository_of(closed) in (None, closed.parents[1] / ".git")


def test_what_is_neither_file_nor_folder_is_no_git(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    for name in ("fifo", "device", "loop"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "fifo/.git")
    (tmp_path / "device/.git").symlink_to("/dev/zero")
    (tmp_path / "loop/.git").symlink_to(".git")
    for name in ("fifo", "device", "loop"):
        assert nearest_git(tmp_path / name) == tmp_path / ".git"
        assert repository_of(tmp_path / name) == tmp_path / ".git"


def test_of_a_fifo_or_a_device_nothing_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert read_regular_file(tmp_path / "fifo", 10) == b""
    assert read_regular_file(Path("/dev/zero"), 10) == b""
    (tmp_path / "file").write_text("more than three")
    assert read_regular_file(tmp_path / "file", 3) == b"mor"

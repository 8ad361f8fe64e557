"""One lasting process reads objects, many at a time, and every answer is checked."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gitvs.adapters.git.hardened_git import HardenedGit
from gitvs.adapters.git.object_reader import DamagedObject, ObjectReader
from tests.support.git.repositories import Repository

COUNT = 300


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@pytest.fixture
def reader(repository: Repository) -> Iterator[ObjectReader]:
    git_dir = repository.folder / ".git"
    reader = ObjectReader(HardenedGit(Path("/"), git_dir), git_dir)
    yield reader
    reader.close()


def commit(repository: Repository, count: int = COUNT, size: int = 0) -> dict[str, bytes]:
    """Commit files; return their contents by id, in order."""
    contents = [b"%d\n" % number + b"x" * size for number in range(count)]
    repository.commit({f"{number:03}": content for number, content in enumerate(contents)})
    listed = repository.git("ls-tree", "--format=%(objectname)", "HEAD").split()
    return dict(zip(listed, contents, strict=True))


def expect(reader: ObjectReader, contents: dict[str, bytes]) -> None:
    reader.expect([(object_id, len(content)) for object_id, content in contents.items()])


def flushes(work: Any) -> int:
    """Return how often requests were sent in some work."""
    sent = 0

    def count(_frame: object, event: str, called: Any) -> None:
        nonlocal sent
        sent += event == "c_call" and called.__name__ == "flush"

    earlier = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(earlier)
    return sent


def process_of(reader: ObjectReader) -> Any:
    return reader._process


def test_files_read_in_order_are_asked_for_many_at_a_time(
    repository: Repository, reader: ObjectReader
) -> None:
    contents = commit(repository)
    expect(reader, contents)
    read = {}
    sent = flushes(lambda: read.update({i: reader.read(i).content for i in contents}))
    assert read == contents
    assert sent < 12


def test_one_file_among_many_is_read_alone(repository: Repository, reader: ObjectReader) -> None:
    contents = commit(repository)
    expect(reader, contents)
    wanted = list(contents)[COUNT // 2]
    assert reader.read(wanted).content == contents[wanted]
    assert not reader._ahead


def test_files_may_be_read_in_any_order_and_again(
    repository: Repository, reader: ObjectReader
) -> None:
    contents = commit(repository)
    expect(reader, contents)
    for object_id in [*contents, *reversed(contents), *list(contents)[::7]]:
        assert reader.read(object_id).content == contents[object_id]


def test_neither_side_waits_for_the_other_if_pipes_are_small(
    repository: Repository, reader: ObjectReader
) -> None:
    contents = commit(repository, 900, size=5_000)
    expect(reader, contents)
    reader.read(next(iter(contents)))
    for stream in (process_of(reader).stdin, process_of(reader).stdout):
        fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, 4096)
    assert {i: reader.read(i).content for i in contents} == contents


@pytest.mark.parametrize("is_expected", [True, False])
def test_a_process_that_was_killed_is_started_again(
    repository: Repository, reader: ObjectReader, is_expected: bool
) -> None:
    contents = commit(repository)
    if is_expected:
        expect(reader, contents)
    for number, object_id in enumerate(contents):
        if number % 100 == 50:
            os.kill(process_of(reader).pid, signal.SIGKILL)
        assert reader.read(object_id).content == contents[object_id]


@pytest.mark.parametrize("damage", [b"", None, b"no object", "another"])
def test_a_damaged_object_fails_alone(
    repository: Repository, reader: ObjectReader, damage: bytes | str | None
) -> None:
    contents = commit(repository)
    objects = repository.folder / ".git/objects"
    bad, other = list(contents)[200], list(contents)[7]
    path = objects / bad[:2] / bad[2:]
    path.unlink()
    if damage == "another":
        path.write_bytes((objects / other[:2] / other[2:]).read_bytes())
    elif isinstance(damage, bytes):
        path.write_bytes(damage)
    expect(reader, contents)
    for object_id, content in contents.items():
        if object_id == bad:
            with pytest.raises(DamagedObject, match=f"object {bad} of .* is (missing|damaged)"):
                reader.read(object_id)
        else:
            assert reader.read(object_id).content == content


def test_what_is_packed_or_added_meanwhile_is_read(
    repository: Repository, reader: ObjectReader
) -> None:
    contents = commit(repository)
    first, *others = contents
    assert reader.read(first).content == contents[first]
    repository.git("repack", "-a", "-d", "-q")
    repository.commit({"new": "content"})
    new = repository.git("rev-parse", "HEAD:new")
    pid = process_of(reader).pid
    assert reader.read(new).content == b"content"
    repository.git("gc", "--quiet", "--prune=now")
    assert [reader.read(i).content for i in others] == [contents[i] for i in others]
    assert process_of(reader).pid == pid


def test_of_a_large_object_the_beginning_is_kept(
    repository: Repository, reader: ObjectReader
) -> None:
    repository.commit({"large": b"ab" * 1_500_000})
    large = repository.git("rev-parse", "HEAD:large")
    assert reader.read(large, 3).content == b"aba"
    assert reader.read(large, 0).content == b""
    assert reader.read(large).content == b"ab" * 1_500_000

"""The local copy is a cache: if anything in it is damaged, it is fetched again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gitvs.adapters.git.remote import GitRemote
from gitvs.core.errors import SourceError, SourceUnreachable
from gitvs.core.settings import RemoteSettings
from tests.support.git.repositories import Repository


@pytest.fixture
def upstream(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "upstream")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def follow(upstream: Repository, state: Path) -> GitRemote:
    settings = RemoteSettings(str(upstream.folder), timeout_seconds=20, allow_local=True)
    return GitRemote(state, settings)


def files(remote: GitRemote, commit_id: str) -> dict[str, bytes]:
    return {file.path: file.data for file in remote.manifests_of(commit_id).load().files}


def fill(*names: str, content: bytes = b"") -> Callable[[Path], None]:
    """Overwrite files of the copy."""

    def damage(copy: Path) -> None:
        for name in names:
            (copy / name).write_bytes(content)

    return damage


def stored(copy: Path) -> list[Path]:
    return [path for path in (copy / "objects").rglob("*") if path.is_file()]


def cut_objects(copy: Path) -> None:
    for path in stored(copy):
        path.chmod(0o644)
        path.write_bytes(b"")


def flip_objects(copy: Path) -> None:
    for path in stored(copy):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.chmod(0o644)
        path.write_bytes(data)


def remove(name: str) -> Callable[[Path], None]:
    return lambda copy: shutil.rmtree(copy / name)


def head_as_folder(copy: Path) -> None:
    (copy / "HEAD").unlink()
    (copy / "HEAD").mkdir()


def copy_as_file(copy: Path) -> None:
    shutil.rmtree(copy)
    copy.write_text("x")


def copy_as_dangling_link(copy: Path) -> None:
    shutil.rmtree(copy)
    copy.symlink_to("/nonexistent/x")


def copy_as_link(copy: Path) -> None:
    """A link to a copy that is broken."""
    (copy / "HEAD").write_bytes(b"")
    copy.rename(copy.parent.with_name("elsewhere"))
    copy.symlink_to(copy.parent.with_name("elsewhere"))


def copy_as_pipe(copy: Path) -> None:
    shutil.rmtree(copy)
    os.mkfifo(copy)


def pipe(name: str) -> Callable[[Path], None]:
    def damage(copy: Path) -> None:
        (copy / name).unlink(missing_ok=True)
        (copy / name).parent.mkdir(exist_ok=True)
        os.mkfifo(copy / name)

    return damage


def folder(name: str) -> Callable[[Path], None]:
    def damage(copy: Path) -> None:
        (copy / name).unlink(missing_ok=True)
        (copy / name / "x").mkdir(parents=True)

    return damage


def replacement_as_file(suffix: str) -> Callable[[Path], None]:
    """A file in the way of the next copy, beside a copy that is broken."""

    def damage(copy: Path) -> None:
        copy.with_suffix(suffix).write_text("x")
        (copy / "HEAD").write_bytes(b"")

    return damage


def half_a_copy(copy: Path) -> None:
    shutil.rmtree(copy)
    copy.mkdir()
    (copy / "objects").write_text("x")


DAMAGES = {
    "empty HEAD": fill("HEAD"),
    "HEAD is a folder": head_as_folder,
    "empty ref": fill("refs/gitvs/head"),
    "odd ref": fill("refs/gitvs/head", content=b"f" * 40 + b"\n"),
    "odd config": fill("config", content=b"\0[["),
    "odd shallow": fill("shallow", content=b"zz\n"),
    "odd packed refs": fill("packed-refs", content=b"zz\n"),
    "no refs": remove("refs"),
    "no objects": remove("objects"),
    "empty objects": cut_objects,
    "changed objects": flip_objects,
    "a file": copy_as_file,
    "a dangling link": copy_as_dangling_link,
    "a link": copy_as_link,
    "a pipe": copy_as_pipe,
    "half of it": half_a_copy,
    "packed refs are a pipe": pipe("packed-refs"),
    "HEAD is a pipe": pipe("HEAD"),
    "a ref is a pipe": pipe("refs/gitvs/head"),
    "config is a pipe": pipe("config"),
    "an object is a pipe": pipe("objects/00/" + "0" * 38),
    "config is a folder": folder("config"),
    "a lock is a folder": folder("refs/gitvs/head.lock"),
    "other urls": fill("config", content=b'[url "/nonexistent/"]\n\tinsteadOf = /\n'),
    "another hash": fill(
        "config",
        content=b"[core]\n\trepositoryformatversion = 1\n[extensions]\n\tobjectFormat = sha256\n",
    ),
    "other refs": fill(
        "config",
        content=b"[core]\n\trepositoryformatversion = 1\n[extensions]\n\trefStorage = reftable\n",
    ),
    "another folder": fill("commondir", content=b"/nonexistent\n"),
    "a file as the new copy": replacement_as_file(".new"),
    "a file as the old copy": replacement_as_file(".broken"),
}


@pytest.mark.parametrize("is_packed", [False, True], ids=["loose", "packed"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_copy_is_fetched_again(
    upstream: Repository, state: Path, damage: str, is_packed: bool
) -> None:
    first = upstream.commit({"a.yaml": "1"})
    follow(upstream, state).fetch(None)
    if is_packed:
        follow(upstream, state).maintain()
    sound_configuration = (state / "repository.git/config").read_bytes()
    DAMAGES[damage](state / "repository.git")
    remote = follow(upstream, state)
    assert remote.fetch(first).id == first
    second = upstream.commit({"a.yaml": "2"})
    assert remote.fetch(first).id == second
    assert files(remote, first) == {"a.yaml": b"1"}
    assert files(remote, second) == {"a.yaml": b"2"}
    assert {path.name for path in state.iterdir()} == {"repository.git", "repository.lock"}
    assert (state / "repository.git/config").read_bytes() == sound_configuration


def test_history_that_a_file_in_the_copy_hides_is_seen_again(
    upstream: Repository, state: Path
) -> None:
    first = upstream.commit({"a.yaml": "1"})
    second = upstream.commit({"a.yaml": "2"})
    remote = follow(upstream, state)
    remote.fetch(None)
    (state / "repository.git/shallow").write_text(second)
    third = upstream.commit({"a.yaml": "3"})
    assert remote.fetch(second).id == third
    assert remote.is_ancestor(first, third)


@pytest.mark.parametrize("name", ["repository.lock", "repository.git"])
def test_what_cannot_be_replaced_is_named(upstream: Repository, state: Path, name: str) -> None:
    upstream.commit({"a.yaml": "1"})
    if name == "repository.lock":
        (state / name).mkdir(parents=True)
    else:
        state.symlink_to("/proc/self/fdinfo")
        name = ""
    with pytest.raises(SourceError, match="cannot be written") as refusal:
        follow(upstream, state).fetch(None)
    assert str(refusal.value).startswith(str(state / name))
    assert "remove it. The next fetch makes what it needs" in str(refusal.value)


def damage_blob(upstream: Repository, copy: Path) -> None:
    """Damage the content of a file alone, which a fetch does not notice."""
    ours = Repository.__new__(Repository)
    [pack] = (copy / "objects/pack").glob("*.pack")
    ours.folder = copy
    moved = copy.with_name("pack")
    pack.rename(moved)
    for index in (copy / "objects/pack").iterdir():
        index.unlink()
    ours.git("unpack-objects", "-q", stdin=moved.read_bytes())
    moved.unlink()
    blob = upstream.git("rev-parse", "HEAD:a.yaml")
    path = copy / "objects" / blob[:2] / blob[2:]
    path.chmod(0o644)
    path.write_bytes(b"x")


def test_a_file_that_cannot_be_read_is_there_after_the_next_fetch(
    upstream: Repository, state: Path
) -> None:
    head = upstream.commit({"a.yaml": "1"})
    remote = follow(upstream, state)
    remote.fetch(None)
    remote.maintain()
    damage_blob(upstream, state / "repository.git")
    assert remote.fetch(head).id == head
    with pytest.raises(SourceError, match="cannot be read"):
        files(remote, head)
    assert remote.fetch(head).id == head
    assert files(remote, head) == {"a.yaml": b"1"}


def test_a_copy_is_not_fetched_again_and_again_for_one_head(
    upstream: Repository, state: Path
) -> None:
    head = upstream.commit({"a.yaml": "1"})
    remote = follow(upstream, state)
    remote.fetch(None)
    copy = state / "repository.git"
    inodes = [copy.stat().st_ino]
    for _ in range(3):
        remote._copy.distrust()
        remote.fetch(head)
        inodes.append(copy.stat().st_ino)
    assert inodes[0] != inodes[1] == inodes[2] == inodes[3]


def test_a_broken_copy_stays_until_the_remote_answers(upstream: Repository, state: Path) -> None:
    head = upstream.commit({"a.yaml": "1"})
    remote = follow(upstream, state)
    remote.fetch(None)
    (state / "repository.git/HEAD").write_bytes(b"")
    upstream.folder.rename(upstream.folder.with_name("away"))
    with pytest.raises(SourceUnreachable, match="there is no repository at that url"):
        remote.fetch(head)
    assert (state / "repository.git/HEAD").read_bytes() == b""
    upstream.folder.with_name("away").rename(upstream.folder)
    assert remote.fetch(head).id == head


def test_a_commit_that_is_kept_is_kept_in_the_new_copy(upstream: Repository, state: Path) -> None:
    first = upstream.commit({"a.yaml": "1"})
    remote = follow(upstream, state)
    remote.fetch(None)
    remote.keep_commits([first])
    (state / "repository.git/HEAD").write_bytes(b"")
    remote.fetch(first)
    assert (state / f"repository.git/refs/gitvs/kept/{first}").is_file()


def test_what_a_killed_replacement_left_is_deleted(upstream: Repository, state: Path) -> None:
    head = upstream.commit({"a.yaml": "1"})
    remote = follow(upstream, state)
    remote.fetch(None)
    (state / "repository.git").rename(state / "repository.broken")
    (state / "repository.new/objects").mkdir(parents=True)
    assert remote.fetch(head).id == head
    assert {path.name for path in state.iterdir()} == {"repository.git", "repository.lock"}

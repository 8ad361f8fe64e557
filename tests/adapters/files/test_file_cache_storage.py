"""The cache on disk: it keeps texts, and whatever becomes of it, it never says anything else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gitvs.adapters.files import file_cache_storage
from gitvs.adapters.files.file_cache_storage import FileCacheStorage, cache_folder

TEXTS = {f"{number:040x}": f'["text {number}"]'.encode() for number in range(5)}


def save(folder: Path, texts: dict[str, bytes], edition: str = "1") -> None:
    cache = FileCacheStorage(folder, edition)
    for key, text in texts.items():
        cache.put(key, text)
    cache.save()


def found(folder: Path, edition: str = "1", keys: dict[str, bytes] = TEXTS) -> dict[str, bytes]:
    cache = FileCacheStorage(folder, edition)
    assert cache.unusable_reason == ""
    return {key: text for key in keys if (text := cache.get(key)) is not None}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that is not there yet, nor the one above."""
    return tmp_path / "cache" / "gitvs"


def test_texts_last(folder: Path) -> None:
    assert found(folder) == {}
    save(folder, TEXTS)
    assert found(folder) == TEXTS
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [file.name for file in folder.iterdir()] == ["files"]
    assert (folder / "files").stat().st_mode & 0o777 == 0o600


def test_what_was_not_asked_for_stays_and_nothing_new_is_no_reason_to_write(folder: Path) -> None:
    save(folder, TEXTS)
    save(folder, {"new": b"1"})
    assert found(folder, keys={**TEXTS, "new": b""}) == {**TEXTS, "new": b"1"}
    before = (folder / "files").stat().st_ino
    cache = FileCacheStorage(folder, "1")
    assert cache.get("new") == b"1"
    cache.save()
    assert (folder / "files").stat().st_ino == before


def test_another_edition_knows_nothing_and_starts_anew(folder: Path) -> None:
    save(folder, TEXTS)
    assert found(folder, "2") == {}
    save(folder, {"new": b"1"}, "2")
    assert found(folder, "1") == {}
    assert found(folder, "2", {**TEXTS, "new": b""}) == {"new": b"1"}


def test_a_damaged_text_is_none_and_is_kept_anew(folder: Path) -> None:
    save(folder, TEXTS)
    file = folder / "files"
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert found(folder).items() <= TEXTS.items(), place
        assert len(found(folder)) in ((0,) if place <= len("1") else (3, 4))
    damaged = whole.replace(b"text 3", b"text 7")
    file.write_bytes(damaged)
    assert found(folder) == {k: t for k, t in TEXTS.items() if t != b'["text 3"]'}
    save(folder, {k: t for k, t in TEXTS.items() if t == b'["text 3"]'})
    assert found(folder) == TEXTS


def test_a_text_of_one_key_is_not_taken_for_another(folder: Path) -> None:
    save(folder, {"a" * 40: b"1"})
    file = folder / "files"
    file.write_bytes(file.read_bytes().replace(b"a" * 40, b"b" * 40))
    assert found(folder, keys={"a" * 40: b"", "b" * 40: b""}) == {}


def test_a_file_that_was_cut_off_has_the_texts_before_the_cut(folder: Path) -> None:
    save(folder, TEXTS)
    file = folder / "files"
    whole = file.read_bytes()
    counts = []
    for size in range(len(whole)):
        file.write_bytes(whole[:size])
        assert found(folder).items() <= TEXTS.items()
        counts.append(len(found(folder)))
    assert counts == sorted(counts)
    assert counts[-1] == len(TEXTS) - 1


def test_a_folder_of_another_user_is_refused_in_words(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(folder, TEXTS)
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    cache = FileCacheStorage(folder, "1")
    assert cache.unusable_reason == f"{folder} belongs to another user (uid {me})"
    assert cache.get(next(iter(TEXTS))) is None
    before = (folder / "files").read_bytes()
    cache.put("new", b"1")
    cache.save()
    assert (folder / "files").read_bytes() == before


@pytest.mark.parametrize("name", [".", "files"])
@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_what_others_may_write_is_refused_in_words(folder: Path, name: str, mode: int) -> None:
    save(folder, TEXTS)
    (folder / name).chmod(mode)
    cache = FileCacheStorage(folder, "1")
    assert cache.unusable_reason.startswith(
        f"{folder / name} is writable by other users; run `chmod go-w`"
    )
    assert cache.get(next(iter(TEXTS))) is None
    cache.put("new", b"1")
    cache.save()
    (folder / name).chmod(mode & 0o700)
    assert found(folder, keys={**TEXTS, "new": b""}) == (TEXTS if name == "." else {"new": b"1"})


@pytest.mark.parametrize("name", [".", "files"])
def test_links_are_not_followed(tmp_path: Path, folder: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    save(elsewhere, TEXTS)
    before = (elsewhere / "files").read_bytes()
    if name == ".":
        folder.parent.mkdir()
        folder.symlink_to(elsewhere)
    else:
        folder.mkdir(parents=True, mode=0o700)
        (folder / name).symlink_to(elsewhere / name)
    assert found(folder) == {}
    save(folder, {"new": b"1"})
    assert (elsewhere / "files").read_bytes() == before


def test_what_is_no_file_is_as_good_as_none(folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o700)
    os.mkfifo(folder / "files")
    writer = os.open(folder / "files", os.O_RDWR)
    assert found(folder) == {}
    os.close(writer)
    save(folder, TEXTS)
    assert found(folder) == TEXTS


def test_a_folder_that_cannot_be_made_or_written_is_no_failure(tmp_path: Path) -> None:
    save(Path(os.devnull) / "gitvs", TEXTS)
    (tmp_path / "gitvs").write_text("")
    save(tmp_path / "gitvs", TEXTS)
    folder = tmp_path / "folder"
    (folder / "files").mkdir(parents=True)
    save(folder, TEXTS)
    assert found(folder) == {}
    assert [file.name for file in folder.iterdir()] == ["files"]


def test_no_folder_is_made_in_the_home_of_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    if os.geteuid() == 0:
        os.chown(home, 1234, 1234)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    save(home / ".cache" / "gitvs", TEXTS)
    assert list(home.iterdir()) == []


def test_what_was_used_last_is_kept_as_far_as_there_is_room(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_cache_storage, "MAX_CACHE_BYTES", 1000)
    old, new = ({f"{kind}{n}": b"x" * 100 for n in range(5)} for kind in ("old", "new"))
    save(folder, old)
    assert found(folder, keys=old) == old
    save(folder, new)
    assert found(folder, keys=new) == new
    assert 0 < len(found(folder, keys=old)) < len(old)
    save(folder, {"huge": b"x" * 2000})
    assert (folder / "files").stat().st_size <= 1000


def test_what_a_killed_process_left_is_taken_away(folder: Path) -> None:
    save(folder, TEXTS)
    (folder / "files.new").write_bytes(b"1\nhalf")
    save(folder, {"new": b"1"})
    assert found(folder, keys={**TEXTS, "new": b""}) == {**TEXTS, "new": b"1"}
    assert [file.name for file in folder.iterdir()] == ["files"]


WRITER = """
import sys
from pathlib import Path
from gitvs.adapters.files.file_cache_storage import FileCacheStorage
folder, me = Path(sys.argv[1]), sys.argv[2]
for turn in range(40):
    cache = FileCacheStorage(folder, "1")
    assert not cache.unusable_reason
    for key in (f"{name}-{number}" for name in "abc" for number in range(300)):
        text = cache.get(key)
        assert text is None or text == key[0].encode() * 200
    for number in range(300):
        cache.put(f"{me}-{number}", me.encode() * 200)
    cache.save()
"""


def test_processes_that_write_at_once_harm_nobody(folder: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(folder)]
    children = [subprocess.Popen([*command, me]) for me in "abc"]
    assert [child.wait() for child in children] == [0, 0, 0]
    save(folder, TEXTS)
    assert found(folder) == TEXTS
    assert [file.name for file in folder.iterdir()] == ["files"]


@pytest.mark.parametrize(
    ("cache", "home", "expected"),
    [
        ("/c", "/h", "/c/gitvs"),
        ("", "/h", "/h/.cache/gitvs"),
        ("c", "/h", "/h/.cache/gitvs"),
        (None, "/h", "/h/.cache/gitvs"),
        (None, "", None),
        (None, None, None),
    ],
)
def test_where_the_cache_is(
    monkeypatch: pytest.MonkeyPatch, cache: str | None, home: str | None, expected: str | None
) -> None:
    for name, value in (("XDG_CACHE_HOME", cache), ("HOME", home)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert cache_folder() == (None if expected is None else Path(expected))

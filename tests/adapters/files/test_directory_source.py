"""Manifests from a folder: what is read, what is left out, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gitvs.adapters.files.directory_source import DirectorySource
from gitvs.adapters.git.manifests import GitManifests
from gitvs.core.errors import SourceError
from gitvs.core.manifests.files import MAX_FILE_BYTES
from tests.support.git.repositories import Repository


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")


def loaded(folder: Path) -> dict[str, bytes]:
    return {file.path: file.data for file in DirectorySource(folder).load().files}


def test_manifests_are_found_by_suffix_at_any_depth_in_the_order_of_their_paths(
    tmp_path: Path,
) -> None:
    write(tmp_path, "b.yaml", "a/z.yml", "a/y/x.json", "README.md", "b.yaml.bak", "a.yaml")
    assert list(loaded(tmp_path)) == ["a.yaml", "a/y/x.json", "a/z.yml", "b.yaml"]
    assert loaded(tmp_path)["a/z.yml"] == b"# a/z.yml\n"


def test_dot_names_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, ".git/config.yaml", ".hidden.yaml", "a/.b/c.yaml", "seen.yaml")
    assert list(loaded(tmp_path)) == ["seen.yaml"]


def test_symbolic_links_are_not_followed_but_named(tmp_path: Path) -> None:
    write(tmp_path, "outside/secret.yaml", "in/a.yaml")
    (tmp_path / "in/file.yaml").symlink_to("../outside/secret.yaml")
    (tmp_path / "in/folder").symlink_to("../outside")
    (tmp_path / "in/loop").symlink_to(".")
    (tmp_path / "in/nowhere.yaml").symlink_to("missing")
    (tmp_path / "in/readme").symlink_to("../outside/secret.yaml")
    snapshot = DirectorySource(tmp_path / "in").load()
    assert [file.path for file in snapshot.files] == ["a.yaml"]
    assert snapshot.skipped == ("file.yaml", "folder", "loop", "nowhere.yaml")
    assert snapshot.commit is None


def test_a_work_tree_and_its_commit_give_the_same_manifests(tmp_path: Path) -> None:
    """Neither follows a submodule or a repository inside of the repository."""
    inner, outer = Repository(tmp_path / "inner"), Repository(tmp_path / "outer")
    inner.commit({"inner.yaml": "inner", "deep/inner.yaml": "inner"})
    allow = ("-c", "protocol.file.allow=always")
    outer.git(*allow, "submodule", "--quiet", "add", str(inner.folder), "sites/shared")
    outer.commit({"a.yaml": "a", "sites/b.yaml": "b"})
    for folder in (outer.folder, outer.folder / "sites"):
        committed = GitManifests.for_folder(folder, "HEAD").load()
        tree = DirectorySource(folder).load()
        assert [f.path for f in tree.files] == [f.path for f in committed.files]
        assert tree.skipped == committed.skipped != ()
    assert list(loaded(outer.folder / "sites/shared")) == ["deep/inner.yaml", "inner.yaml"]


def test_links_that_cannot_be_looked_at_are_named_and_hide_nothing(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml")
    (tmp_path / "sub").symlink_to("sub")
    (tmp_path / "long").symlink_to("x" * 300)
    snapshot = DirectorySource(tmp_path).load()
    assert [file.path for file in snapshot.files] == ["a.yaml"]
    assert snapshot.skipped == ("long", "sub")


def test_the_folder_itself_may_be_a_symbolic_link(tmp_path: Path) -> None:
    write(tmp_path, "real/a.yaml")
    (tmp_path / "link").symlink_to("real")
    assert list(loaded(tmp_path / "link")) == ["a.yaml"]


def test_a_huge_file_is_read_as_far_as_shows_that_it_is_too_large(tmp_path: Path) -> None:
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(10**12)
    assert len(loaded(tmp_path)["huge.yaml"]) == MAX_FILE_BYTES + 1


def test_too_much_altogether_is_refused(tmp_path: Path) -> None:
    for number in range(17):
        with (tmp_path / f"{number}.yaml").open("wb") as file:
            file.truncate(MAX_FILE_BYTES)
    with pytest.raises(SourceError, match="over 32 MiB"):
        loaded(tmp_path)


def test_a_pipe_named_like_a_manifest_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(SourceError, match=r"pipe\.yaml is named like a manifest, but is not a"):
        loaded(tmp_path)


def test_a_manifest_whose_name_is_not_utf8_is_refused_by_name(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.yaml")).write_text("")
    with pytest.raises(SourceError, match=r"caf\\xe9.yaml is not UTF-8"):
        loaded(tmp_path)


def test_other_files_may_be_named_as_they_like(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("")
    assert loaded(tmp_path) == {}


def test_a_folder_that_is_none_is_an_error_not_an_empty_state(tmp_path: Path) -> None:
    write(tmp_path, "file.yaml")
    with pytest.raises(SourceError, match="missing cannot be read: No such file"):
        loaded(tmp_path / "missing")
    with pytest.raises(SourceError, match=r"file\.yaml is not a folder"):
        loaded(tmp_path / "file.yaml")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_unreadable_file_is_an_error_never_left_out() -> None:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        write(Path(folder), "a.yaml", "b/c.yaml")
        Path(folder, "b").chmod(0)
        os.seteuid(65534)
        try:
            with pytest.raises(SourceError, match="b cannot be read: Permission denied"):
                loaded(Path(folder))
        finally:
            os.seteuid(0)

"""Manifests at a revision, from real repositories: what is read, left out and refused."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import zlib
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitvs.adapters.git.find_repository import find_repository
from gitvs.adapters.git.manifests import GitManifests, snapshot_of
from gitvs.adapters.git.objects import open_objects
from gitvs.adapters.git.parse_commit import MAX_MESSAGE_BYTES
from gitvs.adapters.git.remote import GitRemote
from gitvs.core.errors import SourceError
from gitvs.core.manifests.files import MAX_FILE_BYTES
from gitvs.core.model.history import Commit
from gitvs.core.settings import RemoteSettings
from tests.support.git.repositories import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def messages(source: GitManifests, base: str | None) -> list[str]:
    return [message for _, message in source.commit_messages(base)]


def loaded(path: Path, revision: str = "HEAD") -> dict[str, bytes]:
    return {file.path: file.data for file in GitManifests.for_folder(path, revision).load().files}


def trap(repository: Repository, name: str) -> tuple[Path, str]:
    """A program that leaves a mark when it is run; return the mark and the program's path."""
    mark = repository.folder.parent / f"{name} was run"
    program = repository.folder.parent / name
    program.write_text(f"#!/bin/sh\ntouch '{mark}'\ncat\n")
    program.chmod(0o755)
    return mark, str(program)


def test_manifests_are_read_at_a_revision_not_from_the_work_tree(repository: Repository) -> None:
    first = repository.commit({"a.yaml": "one\n", "b/c.yml": "c\n", "README.md": "x"})
    repository.commit({"a.yaml": "two\n"})
    repository.write({"a.yaml": "not committed\n", "new.yaml": "x"})
    assert loaded(repository.folder) == {"a.yaml": b"two\n", "b/c.yml": b"c\n"}
    assert loaded(repository.folder, first) == {"a.yaml": b"one\n", "b/c.yml": b"c\n"}
    assert loaded(repository.folder, "main~1")["a.yaml"] == b"one\n"


def test_a_commit_comes_with_what_people_need_to_know_of_it(repository: Repository) -> None:
    commit_id = repository.commit({"a.yaml": ""}, "Add “web”\nand more\n\nBody.\n")
    commit = GitManifests.for_folder(repository.folder, "main").load().commit
    assert commit is not None
    assert commit.id == commit_id
    assert commit.author == "Ada <ada@example.org>"
    assert commit.subject == "Add “web” and more"
    assert commit.committed_at == datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def test_a_subject_ends_at_the_first_empty_line_of_windows_too(repository: Repository) -> None:
    repository.commit({"a.yaml": ""})
    repository.git(
        "commit", "--quiet", "--amend", "--cleanup=verbatim", "--message=Add web\r\n\r\nMore.\r\n"
    )
    commit = GitManifests.for_folder(repository.folder, "HEAD").load().commit
    assert commit is not None
    assert commit.subject == "Add web"


def test_a_folder_of_the_repository_is_read_by_itself(repository: Repository) -> None:
    repository.commit({"a.yaml": "", "sites/ams/b.yaml": "", "sites/ams/x/c.yaml": ""})
    assert list(loaded(repository.folder / "sites")) == ["ams/b.yaml", "ams/x/c.yaml"]
    assert list(loaded(repository.folder / "sites/ams/")) == ["b.yaml", "x/c.yaml"]


def test_a_folder_may_be_there_at_the_revision_alone(repository: Repository) -> None:
    repository.commit({"old/.deep/a.yaml": "a", "b.yaml": ""})
    shutil.rmtree(repository.folder / "old")
    repository.commit()
    assert list(loaded(repository.folder / "old/.deep", "HEAD~1")) == ["a.yaml"]


def test_a_bare_repository_will_do(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"a.yaml": "", "sites/b.yaml": ""})
    repository.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare.git"))
    assert list(loaded(tmp_path / "bare.git")) == ["a.yaml", "sites/b.yaml"]
    assert list(loaded(tmp_path / "bare.git/sites")) == ["b.yaml"]


def test_a_folder_of_a_bare_repository_is_never_one_of_gits_own(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit({"a.yaml": "all", "info/b.yaml": "of info"})
    bare = tmp_path / "bare"
    repository.git("clone", "--quiet", "--bare", ".", str(bare))
    assert loaded(bare / "info") == {"b.yaml": b"of info"}
    assert find_repository(bare) == (bare, "")
    assert find_repository(repository.folder) == (repository.folder / ".git", "")
    with pytest.raises(SourceError, match="has no folder objects"):
        loaded(bare / "objects")


def test_a_link_to_a_folder_is_not_followed_inside_of_the_repository(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit({"lb/a.yaml": "1", "in/lb/a.yaml": "2"})
    (repository.folder / "link").symlink_to("lb")
    (tmp_path / "outside").symlink_to(repository.folder / "in")
    repository.commit()
    assert loaded(tmp_path / "outside" / "lb") == {"a.yaml": b"2"}
    assert loaded(repository.folder / "link" / ".." / "lb") == {"a.yaml": b"1"}
    with pytest.raises(SourceError, match="has a symbolic link, which is not followed"):
        loaded(repository.folder / "link")


def test_a_folder_may_have_any_name(repository: Repository) -> None:
    for name in (":x", "[a]*", "two\nlines", "--x", "\udce9"):
        repository.commit({f"{name}/a.yaml": ascii(name)})
        assert loaded(repository.folder / name) == {"a.yaml": ascii(name).encode()}


def test_a_linked_work_tree_will_do(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"a.yaml": ""})
    repository.git("worktree", "add", "--quiet", str(tmp_path / "linked"), "HEAD")
    assert list(loaded(tmp_path / "linked")) == ["a.yaml"]


def test_a_sha256_repository_is_refused_in_words(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "r")
    shutil.rmtree(repository.folder / ".git")
    repository.git("init", "--quiet", "--object-format=sha256")
    repository.commit({"a.yaml": "a"})
    with pytest.raises(SourceError, match="SHA-256, which GitPython does not read yet"):
        loaded(repository.folder)


def test_an_empty_folder_has_no_manifests(repository: Repository) -> None:
    repository.commit()
    assert loaded(repository.folder) == {}


def test_the_environment_leads_nowhere_else(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Repository(tmp_path / "other")
    other.commit({"other.yaml": ""})
    repository.commit({"a.yaml": ""})
    monkeypatch.setenv("GIT_DIR", str(other.folder / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.folder))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(other.folder / ".git/objects"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.bare")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "nonsense")
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    assert list(loaded(repository.folder)) == ["a.yaml"]
    assert not (tmp_path / "trace").exists()


def test_filters_and_attributes_do_not_touch_the_content(repository: Repository) -> None:
    mark, program = trap(repository, "filter")
    repository.commit({".gitattributes": "*.yaml filter=f text eol=crlf ident\n"})
    for part in ("smudge", "clean", "process"):
        repository.git("config", f"filter.f.{part}", program if part != "process" else "")
    blob = repository.git("hash-object", "-w", "--stdin", stdin=b"a: $Id$\n")
    repository.git("update-index", "--add", "--cacheinfo", f"100644,{blob},a.yaml")
    repository.git("commit", "--quiet", "--message=With a filter")
    mark.unlink(missing_ok=True)
    assert loaded(repository.folder) == {"a.yaml": b"a: $Id$\n"}
    assert not mark.exists()


def test_nothing_that_a_repository_configures_is_run(repository: Repository) -> None:
    commit_id = repository.commit({"a.yaml": "a"})
    mark, program = trap(repository, "program")
    for name in (
        "core.fsmonitor",
        "core.pager",
        "core.sshCommand",
        "core.askPass",
        "core.editor",
        "gpg.program",
        "diff.external",
        "credential.helper",
        "remote.origin.uploadpack",
        "uploadpack.packObjectsHook",
    ):
        repository.git("config", name, program)
    repository.git("config", "log.showSignature", "true")
    hooks = repository.folder / ".git/hooks"
    for hook in ("post-checkout", "reference-transaction", "post-index-change"):
        shutil.copy(program, hooks / hook)
    source = GitManifests.for_folder(repository.folder, "HEAD")
    assert [file.data for file in source.load().files] == [b"a"]
    assert messages(source, commit_id) == []
    assert not mark.exists()


def test_a_missing_object_is_not_fetched_from_anywhere(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit({"a.yaml": "a"})
    repository.git("config", "uploadpack.allowFilter", "true")
    url = f"file://{repository.folder}"
    partial = tmp_path / "partial"
    repository.git("clone", "--quiet", "--bare", "--filter=blob:none", url, str(partial))
    with pytest.raises(SourceError):
        loaded(partial)
    count = subprocess.run(
        ["git", "-C", str(partial), "rev-list", "--objects", "--all", "--missing=print"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "?" in count.stdout


def test_replaced_objects_are_read_as_they_were_committed(repository: Repository) -> None:
    repository.commit({"a.yaml": "honest"})
    real = repository.git("rev-parse", "HEAD:a.yaml")
    fake = repository.git("hash-object", "-w", "--stdin", stdin=b"fake")
    repository.git("replace", real, fake)
    assert loaded(repository.folder) == {"a.yaml": b"honest"}


def test_a_graft_does_not_change_history(repository: Repository) -> None:
    base = repository.commit({"a.yaml": ""})
    head = repository.commit({"a.yaml": "1"}, "Text")
    (repository.folder / ".git/info").mkdir(exist_ok=True)
    (repository.folder / ".git/info/grafts").write_text(f"{head}\n")
    repository.commit({"a.yaml": "2"}, "More")
    assert messages(GitManifests.for_folder(repository.folder, "HEAD"), base) == [
        "More\n",
        "Text\n",
    ]


def test_symbolic_links_and_submodules_are_not_followed_but_named(
    repository: Repository, tmp_path: Path
) -> None:
    other = Repository(tmp_path / "other")
    inner = other.commit({"inner.yaml": ""})
    repository.commit({"a.yaml": "", "in/b.yaml": ""})
    (repository.folder / "link.yaml").symlink_to("/etc/passwd")
    (repository.folder / "folder").symlink_to("in")
    repository.git("add", "--all")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{inner},module")
    repository.git("commit", "--quiet", "--message=Links")
    snapshot = GitManifests.for_folder(repository.folder, "HEAD").load()
    assert [file.path for file in snapshot.files] == ["a.yaml", "in/b.yaml"]
    assert snapshot.skipped == ("link.yaml", "module")


def test_a_name_of_both_a_branch_and_a_tag_is_refused(repository: Repository) -> None:
    old = repository.commit({"a.yaml": "old"})
    new = repository.commit({"a.yaml": "new"})
    repository.git("tag", "main", old)
    for revision in ("main", "main~0", "main^{commit}"):
        with pytest.raises(SourceError, match=r"main is ambiguous .*refs/heads/main and refs/tags"):
            loaded(repository.folder, revision)
    assert loaded(repository.folder, "refs/heads/main") == {"a.yaml": b"new"}
    assert loaded(repository.folder, "refs/tags/main") == {"a.yaml": b"old"}
    assert loaded(repository.folder, "heads/main") == {"a.yaml": b"new"}
    assert loaded(repository.folder, new) == {"a.yaml": b"new"}


def test_a_name_of_two_refs_at_one_commit_is_clear(repository: Repository) -> None:
    repository.commit({"a.yaml": "1"})
    repository.git("tag", "--annotate", "--message=x", "main")
    repository.git("update-ref", "refs/remotes/main/x", "HEAD")
    assert loaded(repository.folder, "main") == {"a.yaml": b"1"}


def test_a_tag_named_like_the_id_of_another_commit_is_refused(repository: Repository) -> None:
    old = repository.commit({"a.yaml": "old"})
    repository.commit({"a.yaml": "new"})
    repository.git("tag", old[:8])
    with pytest.raises(SourceError, match=f"{old[:8]} is ambiguous"):
        loaded(repository.folder, old[:8])


def test_what_a_push_brings_is_seen_by_the_hook_that_judges_it(
    repository: Repository, tmp_path: Path
) -> None:
    """`pre-receive` and `update` run while the new objects are in quarantine."""
    repository.commit({"a.yaml": "old"})
    bare = tmp_path / "bare.git"
    repository.git("clone", "--quiet", "--bare", str(repository.folder), str(bare))
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from gitvs.adapters.git.manifests import GitManifests\n"
        "new = sys.stdin.read().split()[1]\n"
        "for path in (Path(), Path.cwd()):\n"
        "    print(GitManifests.for_folder(path, new).load().files[0].data)\n"
    )
    (tmp_path / "hook.py").write_text(program)
    hook = bare / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nexec {sys.executable} {tmp_path}/hook.py > {tmp_path}/seen\n")
    hook.chmod(0o755)
    repository.commit({"a.yaml": "new"})
    repository.git("push", "--quiet", str(bare), "main")
    assert (tmp_path / "seen").read_text() == "b'new'\nb'new'\n"


def test_the_quarantine_of_another_repository_is_not_looked_at(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Repository(tmp_path / "other")
    other.commit({"other.yaml": ""})
    repository.commit({"a.yaml": ""})
    quarantine = str(other.folder / ".git/objects/tmp_objdir-incoming-x")
    monkeypatch.setenv("GIT_QUARANTINE_PATH", quarantine)
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", quarantine)
    assert list(loaded(repository.folder)) == ["a.yaml"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("folder", "has a symbolic link, which is not followed, not a folder, at folder"),
        ("a.yaml", "has a file, not a folder, at a.yaml"),
        ("missing", "has no folder missing"),
        ("folder/deeper", "has no folder folder/deeper"),
    ],
)
def test_a_path_that_is_no_folder_is_an_error(
    repository: Repository, name: str, words: str
) -> None:
    (repository.folder / "folder").symlink_to("in")
    commit_id = repository.commit({"a.yaml": "", "in/b.yaml": ""})
    git_dir = repository.folder / ".git"
    with pytest.raises(SourceError) as failure:
        GitManifests(partial(open_objects, git_dir), name, "HEAD").load()
    assert str(failure.value) == f"commit {commit_id[:12]} {words}"


def test_an_unknown_revision_is_an_error_that_says_where_to_look(repository: Repository) -> None:
    repository.commit({"a.yaml": ""})
    for revision in ("nope", "f" * 40, "HEAD~1", "--all", "HEAD:a.yaml", "HEAD^{tree}", "^HEAD"):
        with pytest.raises(SourceError, match=r"has no commit, branch or tag .*; look at `git"):
            loaded(repository.folder, revision)


@pytest.mark.parametrize(
    ("revision", "words"),
    [
        ("", "''; it is empty: is a variable not set"),
        ("0" * 40, "0000; a CI job sets this for a new branch"),
        ("main..topic", "main..topic; a range is not a commit"),
    ],
)
def test_a_revision_that_cannot_be_one_says_why(
    repository: Repository, revision: str, words: str
) -> None:
    repository.commit({"a.yaml": ""})
    with pytest.raises(SourceError, match=words):
        loaded(repository.folder, revision)


def test_a_revision_that_a_shallow_clone_lacks_says_so(
    repository: Repository, tmp_path: Path
) -> None:
    first = repository.commit({"a.yaml": "1"})
    repository.commit({"a.yaml": "2"})
    shallow = tmp_path / "shallow"
    url = f"file://{repository.folder}"
    repository.git("clone", "--quiet", "--depth=1", url, str(shallow))
    assert loaded(shallow) == {"a.yaml": b"2"}
    with pytest.raises(SourceError, match="git fetch --unshallow"):
        loaded(shallow, first)
    repository.git("-C", str(shallow), "worktree", "add", "--quiet", str(tmp_path / "linked"))
    with pytest.raises(SourceError, match="git fetch --unshallow"):
        loaded(tmp_path / "linked", first)


def test_a_partial_clone_says_so(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"a.yaml": "1"})
    repository.git("config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial"
    options = ("--quiet", "--no-checkout", "--filter=blob:none", f"file://{repository.folder}")
    repository.git("clone", *options, str(partial))
    with pytest.raises(SourceError, match=r"this clone is partial, .*; clone without `--filter`"):
        loaded(partial)


def test_a_folder_outside_of_any_repository_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is in no Git repository"):
        loaded(tmp_path)


def test_a_repository_without_a_commit_says_so(repository: Repository) -> None:
    with pytest.raises(SourceError, match="has no commit, branch or tag HEAD"):
        loaded(repository.folder)


def test_a_big_blob_outside_of_the_folder_costs_nothing(repository: Repository) -> None:
    with (repository.folder / "big.yaml").open("wb") as big:
        big.truncate(100 * 1024 * 1024)
    repository.commit({"manifests/a.yaml": "a"})
    blob = repository.git("rev-parse", "HEAD:big.yaml")
    (repository.folder / ".git/objects" / blob[:2] / blob[2:]).unlink()
    assert loaded(repository.folder / "manifests") == {"a.yaml": b"a"}


def test_a_file_that_is_too_large_comes_too_large_without_being_read(
    repository: Repository,
) -> None:
    with (repository.folder / "big.yaml").open("wb") as big:
        big.truncate(100 * 1024 * 1024)
    repository.commit()
    assert len(loaded(repository.folder)["big.yaml"]) == MAX_FILE_BYTES + 1


def test_too_much_altogether_is_refused(repository: Repository) -> None:
    repository.commit({f"{n}.yaml": bytes(MAX_FILE_BYTES) for n in range(17)})
    with pytest.raises(SourceError, match="over 32 MiB"):
        loaded(repository.folder)


def test_a_manifest_whose_name_is_not_utf8_is_refused_by_name(repository: Repository) -> None:
    repository.commit({os.fsdecode(b"caf\xe9/a.yaml"): ""})
    with pytest.raises(SourceError, match=r"caf\\xe9/a.yaml is not UTF-8; rename it"):
        loaded(repository.folder)


def test_other_files_may_be_named_as_they_like(repository: Repository) -> None:
    repository.commit({os.fsdecode(b"caf\xe9.txt"): "", "tab\tnew\nline.yaml": "x", "ü.yaml": "y"})
    assert loaded(repository.folder) == {"tab\tnew\nline.yaml": b"x", "ü.yaml": b"y"}


@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_an_object_that_is_lost_or_no_object_is_an_error(
    repository: Repository, content: bytes | None
) -> None:
    repository.commit({"a.yaml": "1"})
    blob = repository.git("rev-parse", "HEAD:a.yaml")
    file = repository.folder / ".git/objects" / blob[:2] / blob[2:]
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SourceError, match=f"object {blob} of .* is missing, or cannot be read"):
        loaded(repository.folder)


def test_without_git_it_says_so(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.commit({"a.yaml": "1"})
    programs = repository.folder / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(SourceError, match="no git is installed here, or it is not in PATH"):
        loaded(repository.folder)


AMBIGUOUS_TREES = {
    "two files of one name": ([b"100644 a.yaml", b"100644 a.yaml"], "a.yaml is there twice"),
    "a file and a folder of one name": (
        [b"100644 a.yaml", b"100644 a.yaml-b", b"40000 a.yaml"],
        "a.yaml is there twice",
    ),
    "unsorted": ([b"100644 b.yaml", b"100644 a.yaml"], "a.yaml is out of order"),
    "dot": ([b"40000 ."], ". has a name that no checkout can have"),
    "dot dot": ([b"40000 .."], ".. has a name that no checkout can have"),
    "full path": ([b"100644 /a.yaml"], "/a.yaml has a name that no checkout can have"),
    "slash in a name": ([b"100644 a/b.yaml"], "a/b.yaml has a name that no checkout can have"),
    "two folders of one name": ([b"40000 a", b"40000 a"], "a is there twice"),
    "git folder": ([b"40000 .GIT"], ".GIT has a name that no checkout can have"),
}
"""Trees that Git never writes: their entries, each an empty file or a folder, and the problem."""


def tree_of(repository: Repository, entries: list[bytes]) -> str:
    """Write a tree of files and folders; each folder holds `b/c.yaml`."""
    options = ("-w", "-t", "tree", "--literally", "--stdin")

    def write(parts: list[tuple[bytes, str]]) -> str:
        content = b"".join(part + b"\0" + bytes.fromhex(object_id) for part, object_id in parts)
        return repository.git("hash-object", *options, stdin=content)

    file = repository.git("hash-object", "-w", "--stdin", stdin=b"")
    folder = write([(b"40000 b", write([(b"100644 c.yaml", file)]))])
    return write([(entry, folder if entry.startswith(b"4") else file) for entry in entries])


@pytest.mark.parametrize("kind", AMBIGUOUS_TREES)
def test_a_tree_that_can_be_read_in_two_ways_is_refused_as_agents_refuse_it(
    repository: Repository, tmp_path: Path, kind: str
) -> None:
    entries, problem = AMBIGUOUS_TREES[kind]
    commit_id = repository.git("commit-tree", "-m", "Text", tree_of(repository, entries))
    with pytest.raises(SourceError, match="is ambiguous") as refusal:
        GitManifests.for_folder(repository.folder, commit_id).load()
    assert f": {problem}. Agents refuse its whole branch" in str(refusal.value)
    repository.git("update-ref", "refs/heads/main", commit_id)
    settings = RemoteSettings(str(repository.folder), timeout_seconds=20, allow_local=True)
    with pytest.raises(SourceError, match="Git's own check rejects"):
        GitRemote(tmp_path / "state", settings).fetch(None)


@pytest.mark.parametrize("kind", AMBIGUOUS_TREES)
def test_a_tree_that_can_be_read_in_two_ways_is_refused_after_a_sound_one_too(
    repository: Repository, kind: str
) -> None:
    entries, problem = AMBIGUOUS_TREES[kind]
    sound_id = repository.commit({"a.yaml": "", "b/c.yaml": ""})
    commit_id = repository.git("commit-tree", "-m", "Text", tree_of(repository, entries))
    with open_objects(repository.folder / ".git") as objects:
        snapshot_of(objects, sound_id, "")
        with pytest.raises(SourceError, match=f": {re.escape(problem)}. Agents refuse"):
            snapshot_of(objects, commit_id, "")


def test_folders_that_did_not_change_are_not_listed_again(repository: Repository) -> None:
    files = {f"{n}/{m}/a.yaml": "" for n in range(3) for m in range(3)}
    commit_ids = [repository.commit(files), repository.commit({"1/1/a.yaml": "changed"})]
    with open_objects(repository.folder / ".git") as objects:
        before, after = (snapshot_of(objects, commit_id, "").files for commit_id in commit_ids)
    assert [b.path for a, b in zip(before, after, strict=True) if a is not b] == ["1/1/a.yaml"]


FILES = st.dictionaries(
    st.sampled_from(
        ["a.yaml", "b/a.yaml", "b/c/d.yml", "b.yaml", "b/e", "f/g/h/i.json", "z/y.yaml"]
    ),
    st.sampled_from(["", "1", "2"]),
)
FOLDERS = st.lists(FILES, min_size=2, max_size=5)


@given(FOLDERS)
@settings(max_examples=25)
def test_each_commit_is_read_as_if_it_were_the_first(histories: list[dict[str, str]]) -> None:
    with TemporaryDirectory() as folder:
        repository = Repository(Path(folder))
        git_dir = repository.folder / ".git"
        with open_objects(git_dir) as objects:
            for files in histories:
                repository.git("rm", "-rq", "--ignore-unmatch", ".")
                commit_id = repository.commit({**files, **many_folders(len(files))})
                with open_objects(git_dir) as new_objects:
                    expected = snapshot_of(new_objects, commit_id, "")
                    found = snapshot_of(objects, commit_id, "")
                    assert found == expected
                    assert [f.data for f in found.files] == [f.data for f in expected.files]


def many_folders(count: int) -> dict[str, str]:
    """Files in so many folders that sometimes too many change to list each by itself."""
    return {f"many/{n}/a.yaml": str(count) for n in range(2 * count)}


def test_any_tree_that_git_writes_is_read(repository: Repository) -> None:
    names = ["a", "a-b/c.yaml", "a.yaml", "a0", "b/a/c", "b/a.yaml", "b/a0", "b.d/ä", "ｂ", "😀"]
    repository.commit({**dict.fromkeys(names, ""), "\udcff": "", "x.git/y.yaml": ""})
    assert loaded(repository.folder).keys() == {n for n in names if "yaml" in n} | {"x.git/y.yaml"}


def test_an_object_whose_content_was_changed_is_refused(repository: Repository) -> None:
    repository.commit({"a.yaml": "weight: 10\n"})
    blob = repository.git("rev-parse", "HEAD:a.yaml")
    path = repository.folder / ".git/objects" / blob[:2] / blob[2:]
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    path.write_bytes(zlib.compress(b"blob 11\0weight: 99\n"))
    with pytest.raises(SourceError, match="is damaged: its content has another id"):
        loaded(repository.folder)


def test_messages_are_those_between_base_and_head_the_newest_first(
    repository: Repository,
) -> None:
    base = repository.commit(message="Base")
    repository.commit(message="One\n\nGitvs-Allow: mass-removal lb3\n")
    repository.git("checkout", "--quiet", "-b", "side", base)
    repository.commit(message="Side\n\nGitvs-Allow: empty-state\n")
    repository.git("checkout", "--quiet", "main")
    repository.git("merge", "--quiet", "--no-ff", "--message=Merge\n\nGitvs-Allow: x", "side")
    source = GitManifests.for_folder(repository.folder, "main")
    found = messages(source, base)
    assert found[0] == "Merge\n\nGitvs-Allow: x\n"
    assert sorted(found[1:]) == [
        "One\n\nGitvs-Allow: mass-removal lb3\n",
        "Side\n\nGitvs-Allow: empty-state\n",
    ]
    assert messages(source, repository.git("rev-parse", "main")) == []


def test_of_each_message_64_kilobytes_are_read_and_of_known_commits_none(
    repository: Repository,
) -> None:
    base = repository.commit(message="Base")
    known = repository.commit(message="Known")
    long = repository.commit(message=f"Long {'x' * 200_000}\n\nGitvs-Allow: empty-state\n")
    source = GitManifests.for_folder(repository.folder, "main")
    (found, text), (other, nothing) = source.commit_messages(base, {known})
    assert (found, len(text), text[:6]) == (long, MAX_MESSAGE_BYTES, "Long x")
    assert (other, nothing) == (known, "")


def test_without_a_base_only_the_head_speaks(repository: Repository) -> None:
    repository.commit(message="Old\n\nGitvs-Allow: empty-state")
    repository.commit(message="New")
    source = GitManifests.for_folder(repository.folder, "main")
    assert messages(source, None) == ["New\n"]
    assert messages(source, "f" * 40) == ["New\n"]


def written(
    repository: Repository,
    message: bytes,
    seconds: str = "1767355200",
    encoding: bytes = b"UTF-8",
) -> Commit:
    """A commit as any tool may have written it."""
    head = f"tree {repository.git('write-tree')}\nauthor Jörg <j@example.org> {seconds} +0000\n"
    head += f"committer J <j@example.org> {seconds} +0000\n"
    raw = head.encode("latin-1") + b"encoding " + encoding + b"\n\n" + message
    options = ("-w", "-t", "commit", "--literally", "--stdin")
    commit_id = repository.git("hash-object", *options, stdin=raw)
    found = GitManifests.for_folder(repository.folder, commit_id).load().commit
    assert found is not None
    return found


def test_a_message_in_another_encoding_is_read_as_its_commit_says(
    repository: Repository,
) -> None:
    found = written(repository, "Ä\n".encode("latin-1"), encoding=b"ISO-8859-1")
    assert (found.subject, found.author) == ("Ä", "Jörg <j@example.org>")
    assert found.committed_at == datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "encoding", [b"undefined", b"idna", b"punycode", b"unicode_escape", b"utf-7", b"a\0b", b"hex"]
)
def test_an_encoding_that_is_no_character_set_is_not_used(
    repository: Repository, encoding: bytes
) -> None:
    message = rb"Text\nGitvs-Allow: empty-state \ud800 +2AA- xn--"
    assert written(repository, message, encoding=encoding).subject == message.decode()


@pytest.mark.parametrize("seconds", ["99999999999999999", "9" * 5000, "-" + "9" * 20])
def test_a_time_beyond_all_time_is_none(repository: Repository, seconds: str) -> None:
    assert written(repository, b"Text\n", seconds).committed_at is None


def test_a_message_ends_where_git_ends_it(repository: Repository) -> None:
    head = written(repository, b"Text\n\0\n\nGitvs-Allow: empty-state\n").id
    assert messages(GitManifests.for_folder(repository.folder, head), None) == ["Text\n"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root meets other people's repositories so")
def test_root_reads_somebody_elses_repository_as_its_owner() -> None:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        repository = Repository(Path(folder, "clone"))
        repository.commit({"a.yaml": "a"})
        subprocess.run(["chown", "-R", "65534:65534", str(repository.folder)], check=True)
        assert loaded(repository.folder) == {"a.yaml": b"a"}
        secret = repository.folder / ".git/objects/info/alternates"
        (Path(folder) / "root").mkdir(mode=0o700)
        closed = Repository(Path(folder, "root/closed"))
        hidden = closed.commit({"secret.yaml": "s"})
        secret.write_text(f"{closed.folder}/.git/objects\n")
        with pytest.raises(SourceError, match="has no commit"):
            loaded(repository.folder, hidden)

"""Fetching from real remotes: over https, over ssh, from a path; and from bad ones."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gitvs.adapters.git import remote as remote_module
from gitvs.adapters.git.remote import GitRemote
from gitvs.core.errors import RewrittenBranch, SourceError, SourceUnreachable
from gitvs.core.settings import RemoteSettings
from tests.support.agents import eventually
from tests.support.git.git_server import PASSWORD, USER, git_server
from tests.support.git.repositories import Repository
from tests.support.git.signing import gnupg, ssh_signer
from tests.support.programs import started_programs


@pytest.fixture
def upstream(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "upstream")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a proxy of this host out of the way to its loopback."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def settings(upstream: Repository) -> RemoteSettings:
    return RemoteSettings(str(upstream.folder), timeout_seconds=20, allow_local=True)


def files(remote: GitRemote, commit_id: str) -> dict[str, bytes]:
    return {file.path: file.data for file in remote.manifests_of(commit_id).load().files}


def everything_below(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_a_branch_is_fetched_with_all_of_its_history(upstream: Repository, state: Path) -> None:
    first = upstream.commit({"a.yaml": "1"})
    second = upstream.commit({"a.yaml": "2", "sites/b.yaml": "b"}, "Second")
    remote = GitRemote(state, settings(upstream))
    commit = remote.fetch(None)
    assert (commit.id, commit.subject, commit.author) == (second, "Second", "Ada <ada@example.org>")
    assert files(remote, second) == {"a.yaml": b"2", "sites/b.yaml": b"b"}
    assert files(remote, first) == {"a.yaml": b"1"}
    assert texts(remote.manifests_of(second).commit_messages(first)) == ["Second\n"]


def test_a_folder_of_the_remote_is_read_by_itself(upstream: Repository, state: Path) -> None:
    head = upstream.commit({"a.yaml": "1", "sites/b.yaml": "b"})
    remote = GitRemote(state, replace(settings(upstream), path="sites"))
    remote.fetch(None)
    assert files(remote, head) == {"b.yaml": b"b"}


def test_later_commits_are_fetched_on_top(upstream: Repository, state: Path) -> None:
    first = upstream.commit({"a.yaml": "1"})
    remote = GitRemote(state, settings(upstream))
    assert remote.fetch(None).id == first
    assert remote.fetch(first).id == first
    second = upstream.commit({"a.yaml": "2"})
    assert GitRemote(state, settings(upstream)).fetch(first).id == second


def test_another_branch_is_followed_where_settings_say_so(
    upstream: Repository, state: Path
) -> None:
    upstream.commit({"a.yaml": "1"})
    upstream.git("checkout", "--quiet", "-b", "release/v1")
    head = upstream.commit({"a.yaml": "2"})
    remote = GitRemote(state, replace(settings(upstream), branch="release/v1"))
    assert remote.fetch(None).id == head


def test_nothing_but_the_branch_comes(upstream: Repository, state: Path) -> None:
    upstream.commit({"a.yaml": "1"})
    upstream.git("tag", "v1")
    upstream.git("checkout", "--quiet", "-b", "other")
    other = upstream.commit({"a.yaml": "2"})
    GitRemote(state, settings(upstream)).fetch(None)
    ours = Repository.__new__(Repository)
    ours.folder = state / "repository.git"
    assert ours.git("for-each-ref", "--format=%(refname)") == "refs/gitvs/head"
    with pytest.raises(AssertionError):
        ours.git("cat-file", "-e", other)


def rewritten(upstream: Repository) -> tuple[str, str]:
    """A branch whose newest commit was exchanged; return the accepted one and the new head."""
    upstream.commit({"a.yaml": "1"})
    accepted = upstream.commit({"a.yaml": "2"})
    upstream.git("reset", "--quiet", "--hard", "HEAD~1")
    return accepted, upstream.commit({"a.yaml": "3"})


def test_a_rewritten_branch_is_refused_naming_both_commits(
    upstream: Repository, state: Path
) -> None:
    upstream.commit({"a.yaml": "1"})
    accepted = upstream.commit({"a.yaml": "2"})
    remote = GitRemote(state, settings(upstream))
    remote.fetch(None)
    upstream.git("reset", "--quiet", "--hard", "HEAD~1")
    head = upstream.commit({"a.yaml": "3"})
    with pytest.raises(RewrittenBranch) as refusal:
        remote.fetch(accepted)
    assert (refusal.value.accepted, refusal.value.head) == (accepted, head)
    assert f"its head {head[:12]} does not descend from {accepted[:12]}" in str(refusal.value)
    assert f"`gitvs accept-rewrite {head[:12]}`" in str(refusal.value)
    assert f"git merge -s ours {accepted[:12]}" in str(refusal.value)
    assert not refusal.value.is_transient
    assert files(remote, accepted) == {"a.yaml": b"2"}


def test_a_rewrite_that_a_person_names_is_accepted(upstream: Repository, state: Path) -> None:
    accepted, head = rewritten(upstream)
    remote = GitRemote(state, settings(upstream))
    with pytest.raises(RewrittenBranch):
        remote.fetch(accepted)
    assert remote.fetched_head() == head
    for name in (head[:12], head):
        assert remote.check_rewritten_commit(name).id == head
    assert remote.fetch(head).id == head


def test_an_older_commit_of_a_rewritten_branch_may_be_named(
    upstream: Repository, state: Path
) -> None:
    accepted, head = rewritten(upstream)
    later = upstream.commit({"a.yaml": "4"})
    remote = GitRemote(state, settings(upstream))
    with pytest.raises(RewrittenBranch):
        remote.fetch(accepted)
    assert remote.check_rewritten_commit(head[:12]).id == head
    assert remote.fetch(head).id == later


@pytest.mark.parametrize("name", ["refs/gitvs/head", "HEAD", "abc123", "--all", "F" * 40, "f" * 41])
def test_a_rewrite_is_named_by_its_id_and_nothing_else(
    upstream: Repository, state: Path, name: str
) -> None:
    upstream.commit({"a.yaml": "1"})
    remote = GitRemote(state, settings(upstream))
    remote.fetch(None)
    with pytest.raises(SourceError, match="is not a commit id"):
        remote.check_rewritten_commit(name)


def test_a_commit_that_is_not_on_the_branch_is_not_accepted(
    upstream: Repository, state: Path
) -> None:
    remote = GitRemote(state, settings(upstream))
    with pytest.raises(SourceError, match="nothing was fetched yet"):
        remote.check_rewritten_commit("f" * 40)
    gone, head = rewritten(upstream)
    upstream.git("update-ref", "refs/heads/main", gone)
    remote.fetch(None)
    upstream.git("update-ref", "refs/heads/main", head)
    remote.fetch(None)
    with pytest.raises(SourceError, match=f"{gone[:12]} is not on it; its head was {head[:12]}"):
        remote.check_rewritten_commit(gone)
    with pytest.raises(SourceError, match="has no commit"):
        remote.check_rewritten_commit("f" * 40)


def test_our_copy_answers_for_its_commits(upstream: Repository, state: Path) -> None:
    remote = GitRemote(state, settings(upstream))
    assert remote.fetched_head() is None
    with pytest.raises(SourceError):
        remote.resolve("f" * 12)
    first = upstream.commit({"a.yaml": "1"}, "First")
    second = upstream.commit({"a.yaml": "2"}, "Second")
    remote.fetch(None)
    assert remote.fetched_head() == second
    assert remote.resolve(first[:8]) == first
    assert remote.is_ancestor(first, second)
    assert remote.is_ancestor(second, second)
    assert not remote.is_ancestor(second, first)
    assert not remote.is_ancestor("f" * 40, second)
    commit = remote.read_commit(first)
    assert (commit.id, commit.subject, commit.author) == (first, "First", "Ada <ada@example.org>")
    with pytest.raises(SourceError):
        remote.read_commit("f" * 40)


def test_an_abbreviation_of_two_commits_is_an_error(upstream: Repository, state: Path) -> None:
    """Two commits that share their first four digits are found by counting up."""
    seen: dict[str, str] = {}
    tree = upstream.git("write-tree")
    parents: list[str] = []
    for number in range(2000):
        commit_id = upstream.git("commit-tree", tree, *parents, f"-m{number}")
        parents = ["-p", commit_id]
        if commit_id[:4] in seen:
            break
        seen[commit_id[:4]] = commit_id
    upstream.git("update-ref", "refs/heads/main", commit_id)
    remote = GitRemote(state, settings(upstream))
    remote.fetch(None)
    with pytest.raises(SourceError, match="ambiguous"):
        remote.resolve(commit_id[:4])


# Maintenance


def aged(state: Path, days: int = 30) -> None:
    """Make all that our copy holds look as if it had come long ago."""
    then = time.time() - days * 24 * 3600
    for path in (state / "repository.git/objects").rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))


def is_here(remote: GitRemote, commit_id: str) -> bool:
    try:
        remote.read_commit(commit_id)
    except SourceError:
        return False
    return True


def test_maintenance_drops_what_a_rewrite_left_when_it_is_two_weeks_old(
    upstream: Repository, state: Path
) -> None:
    gone, head = rewritten(upstream)
    upstream.git("update-ref", "refs/heads/main", gone)
    remote = GitRemote(state, settings(upstream))
    remote.fetch(None)
    upstream.git("update-ref", "refs/heads/main", head)
    remote.fetch(None)
    aged(state, days=13)
    remote.maintain()
    assert is_here(remote, gone)
    aged(state, days=15)
    for path in (state / "repository.git/objects").rglob("*.mtimes"):
        path.unlink()  # the ages that the first one wrote down
    remote.maintain()
    assert not is_here(remote, gone)
    assert files(remote, head) == {"a.yaml": b"3"}


def test_a_commit_that_is_kept_outlives_the_branch_it_was_on(
    upstream: Repository, state: Path
) -> None:
    gone, head = rewritten(upstream)
    upstream.git("update-ref", "refs/heads/main", gone)
    remote = GitRemote(state, settings(upstream))
    remote.fetch(None)
    remote.keep_commits([gone, "f" * 40])
    upstream.git("update-ref", "refs/heads/main", head)
    GitRemote(state, settings(upstream)).fetch(None)
    aged(state)
    GitRemote(state, settings(upstream)).maintain()
    assert files(remote, gone) == {"a.yaml": b"2"}
    remote.keep_commits([head])
    aged(state)
    remote.maintain()
    assert not is_here(remote, gone)
    assert files(remote, head) == {"a.yaml": b"3"}


def test_what_could_not_be_pinned_is_pinned_before_anything_is_dropped(
    upstream: Repository, state: Path
) -> None:
    gone, head = rewritten(upstream)
    upstream.git("update-ref", "refs/heads/main", gone)
    remote = GitRemote(state, settings(upstream))
    remote.fetch(None)
    lock = state / f"repository.git/refs/gitvs/kept/{gone}.lock"
    lock.parent.mkdir()
    lock.touch()
    remote.keep_commits([gone])
    upstream.git("update-ref", "refs/heads/main", head)
    remote.fetch(None)
    aged(state)
    remote.maintain()
    assert is_here(remote, gone)


@pytest.fixture
def slow_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a git into the path that waits once, if asked to, before it lists refs.

    It waits while the folder holds `wait`, then `waiting`; removing that lets it go on.
    """
    folder = tmp_path / "slow"
    folder.mkdir()
    program = folder / "git"
    program.write_text(
        "#!/bin/sh\n"
        f'case "$*" in *for-each-ref*) if mv {folder}/wait {folder}/waiting 2>/dev/null; then\n'
        f"  while [ -e {folder}/waiting ]; do sleep 0.02; done\n"
        "fi;; esac\n"
        f'exec {shutil.which("git")} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.mark.parametrize("is_reloaded", [False, True])
def test_maintenance_does_not_bring_an_old_pin_back_over_a_new_one(
    upstream: Repository, state: Path, slow_git: Path, is_reloaded: bool
) -> None:
    old = upstream.commit({"a.yaml": "1"})
    new = upstream.commit({"a.yaml": "2"})
    remote = GitRemote(state, settings(upstream))
    remote.fetch(None)
    remote.keep_commits([old])
    (slow_git / "wait").touch()
    maintaining = threading.Thread(target=remote.maintain)
    maintaining.start()
    while not (slow_git / "waiting").exists():
        time.sleep(0.01)
    worker = GitRemote(state, settings(upstream)) if is_reloaded else remote
    pinning = threading.Thread(target=worker.keep_commits, args=([new],))
    pinning.start()
    pinning.join(0.5)  # it may have to wait for the maintenance
    (slow_git / "waiting").unlink()
    pinning.join()
    maintaining.join()
    assert new in kept(state)
    assert is_reloaded or kept(state) == {new}


def kept(state: Path) -> set[str]:
    """The commits that are pinned in the copy."""
    return {path.name for path in (state / "repository.git/refs/gitvs/kept").iterdir()}


def test_maintenance_packs_many_small_files_into_few(upstream: Repository, state: Path) -> None:
    remote = GitRemote(state, settings(upstream))
    for number in range(20):
        upstream.commit({"a.yaml": str(number)})
        remote.fetch(None)
    before = len(everything_below(state / "repository.git/objects"))
    remote.maintain()
    assert len(everything_below(state / "repository.git/objects")) < 10 < before


def test_maintenance_does_not_disturb_a_fetch(upstream: Repository, state: Path) -> None:
    upstream.commit({"a.yaml": "1"})
    remote = GitRemote(state, settings(upstream))
    remote.fetch(None)
    with remote._copy.locked(0), pytest.raises(SourceUnreachable, match="another gitvs"):
        remote.maintain()


def test_a_fetch_waits_for_maintenance_to_end(upstream: Repository, state: Path) -> None:
    head = upstream.commit({"a.yaml": "1"})
    remote = GitRemote(state, settings(upstream))
    with remote._copy.locked(0):
        pending = threading.Thread(target=remote.fetch, args=(None,))
        pending.start()
        pending.join(0.3)
        assert pending.is_alive()
    pending.join()
    assert remote.fetched_head() == head


def test_maintenance_that_takes_too_long_is_stopped_and_nothing_is_lost(
    upstream: Repository, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = upstream.commit({"a.yaml": "1"})
    remote = GitRemote(state, settings(upstream))
    remote.fetch(None)
    with monkeypatch.context() as patch:
        patch.setattr("gitvs.adapters.git.local_copy.MAINTENANCE_TIMEOUT_SECONDS", 0.0)
        with pytest.raises(SourceUnreachable, match="did not end within 0 s"):
            remote.maintain()
    eventually(lambda: not commands_with(str(state)))  # what is killed is listed for a moment
    assert remote.fetch(head).id == head
    remote.maintain()
    assert files(remote, head) == {"a.yaml": b"1"}


def test_maintenance_of_a_copy_that_is_not_there_makes_an_empty_one(
    upstream: Repository, state: Path
) -> None:
    remote = GitRemote(state, settings(upstream))
    remote.keep_commits(["f" * 40])
    remote.maintain()
    assert remote.fetched_head() is None
    head = upstream.commit({"a.yaml": "1"})
    assert remote.fetch(None).id == head


def test_what_the_refusal_of_a_rewrite_advises_works(upstream: Repository, state: Path) -> None:
    accepted, _ = rewritten(upstream)
    upstream.git("merge", "--quiet", "-s", "ours", "--no-edit", accepted)
    head = upstream.git("rev-parse", "HEAD")
    remote = GitRemote(state, settings(upstream))
    assert remote.fetch(accepted).id == head
    assert files(remote, head) == {"a.yaml": b"3"}


def test_a_rewrite_is_refused_by_a_copy_that_never_had_the_accepted_commit(
    upstream: Repository, state: Path
) -> None:
    accepted, _ = rewritten(upstream)
    with pytest.raises(SourceError, match="does not descend"):
        GitRemote(state, settings(upstream)).fetch(accepted)


def test_a_branch_that_went_back_is_refused(upstream: Repository, state: Path) -> None:
    upstream.commit({"a.yaml": "1"})
    accepted = upstream.commit({"a.yaml": "2"})
    remote = GitRemote(state, settings(upstream))
    remote.fetch(None)
    upstream.git("reset", "--quiet", "--hard", "HEAD~1")
    with pytest.raises(SourceError, match="rewritten, or went back"):
        remote.fetch(accepted)
    upstream.git("reset", "--quiet", "--hard", accepted)
    assert remote.fetch(accepted).id == accepted


def test_a_lost_copy_is_made_anew(upstream: Repository, state: Path) -> None:
    head = upstream.commit({"a.yaml": "1"})
    GitRemote(state, settings(upstream)).fetch(None)
    shutil.rmtree(state / "repository.git")
    assert GitRemote(state, settings(upstream)).fetch(head).id == head


def test_a_lost_copy_gets_its_pins_again(upstream: Repository, state: Path) -> None:
    head = upstream.commit({"a.yaml": "1"})
    remote = GitRemote(state, settings(upstream))
    remote.fetch(None)
    remote.keep_commits([head])
    shutil.rmtree(state / "repository.git")
    remote.fetch(None)
    remote.keep_commits([head])
    assert kept(state) == {head}


def test_a_deleted_branch_is_an_error_that_a_retry_does_not_mend(
    upstream: Repository, state: Path
) -> None:
    upstream.commit({"a.yaml": "1"})
    with pytest.raises(SourceError, match="branch gone: the remote has no such branch") as failure:
        GitRemote(state, replace(settings(upstream), branch="gone")).fetch(None)
    assert not failure.value.is_transient


def test_a_remote_that_is_not_there_may_come_back(upstream: Repository, state: Path) -> None:
    remote = GitRemote(state, settings(upstream))
    shutil.rmtree(upstream.folder)
    with pytest.raises(SourceUnreachable, match="there is no repository at that url"):
        remote.fetch(None)
    head = Repository(upstream.folder).commit({"a.yaml": "1"})
    assert remote.fetch(None).id == head


def test_no_hook_of_either_side_is_run(upstream: Repository, state: Path) -> None:
    upstream.commit({"a.yaml": "1"})
    GitRemote(state, settings(upstream)).fetch(None)
    mark = state / "a hook was run"
    for folder in (upstream.folder / ".git/hooks", state / "repository.git/hooks"):
        folder.mkdir(exist_ok=True)
        for name in ("reference-transaction", "post-checkout", "post-update", "pre-auto-gc"):
            (folder / name).write_text(f"#!/bin/sh\ntouch '{mark}'\n")
            (folder / name).chmod(0o755)
    head = upstream.commit({"a.yaml": "2"})
    mark.unlink(missing_ok=True)
    assert GitRemote(state, settings(upstream)).fetch(None).id == head
    assert not mark.exists()


def test_submodules_are_neither_fetched_nor_followed(
    upstream: Repository, state: Path, tmp_path: Path
) -> None:
    inner = Repository(tmp_path / "inner").commit({"inner.yaml": ""})
    upstream.write({"a.yaml": "1", ".gitmodules": '[submodule "m"]\npath = m\nurl = ../inner\n'})
    upstream.git("add", "--all")
    upstream.git("update-index", "--add", "--cacheinfo", f"160000,{inner},m")
    upstream.git("commit", "--quiet", "--message=Submodule")
    remote = GitRemote(state, settings(upstream))
    snapshot = remote.manifests_of(remote.fetch(None).id).load()
    assert [file.path for file in snapshot.files] == ["a.yaml"]
    assert snapshot.skipped == ("m",)


ODD_TREES = {
    "zeroPaddedFilemode": b"040000 docs",
    "badFilemode": b"100664 a.txt",
    "largePathname": b"100644 " + b"a" * 5000,
    "nullSha1": b"160000 a",
}
"""By Git's name for the finding, an entry that an old or broken tool wrote into a tree."""


@pytest.mark.parametrize("finding", ODD_TREES)
def test_a_history_with_an_odd_tree_is_followed(
    upstream: Repository, state: Path, finding: str
) -> None:
    upstream.commit({"z.yaml": "1"})
    entry = ODD_TREES[finding]
    kind = "tree" if entry.startswith(b"0") else "blob"
    object_id = upstream.git("hash-object", "-w", "-t", kind, "--stdin")
    content = entry + b"\0" + (bytes(20) if kind == "160000" else bytes.fromhex(object_id))
    if entry.startswith(b"160000"):
        content = entry + b"\0" + bytes(20)
    content += b"100644 z.yaml\0" + bytes.fromhex(upstream.git("rev-parse", "HEAD:z.yaml"))
    options = ("-t", "tree", "-w", "--stdin", "--literally")
    tree = upstream.git("hash-object", *options, stdin=content)
    old = upstream.git("commit-tree", tree, "-p", "HEAD", "-m", "Old")
    head = upstream.git("commit-tree", "HEAD^{tree}", "-p", old, "-m", "New")
    upstream.git("update-ref", "refs/heads/main", head)
    remote = GitRemote(state, settings(upstream))
    assert remote.fetch(None).id == head
    assert files(remote, old) == files(remote, head) == {"z.yaml": b"1"}


def test_a_history_with_a_null_character_in_a_message_is_followed(
    upstream: Repository, state: Path
) -> None:
    upstream.commit({"a.yaml": "1"})
    tree = upstream.git("rev-parse", "HEAD^{tree}")
    who = "A <a@x> 1 +0000"
    raw = f"tree {tree}\nauthor {who}\ncommitter {who}\n\nOld\n\0\nGitvs-Allow: empty-state\n"
    options = ("-t", "commit", "-w", "--stdin", "--literally")
    old = upstream.git("hash-object", *options, stdin=raw.encode())
    head = upstream.git("commit-tree", tree, "-p", old, "-m", "New")
    upstream.git("update-ref", "refs/heads/main", head)
    remote = GitRemote(state, settings(upstream))
    assert remote.fetch(None).id == head
    assert texts(remote.manifests_of(old).commit_messages(None)) == ["Old\n"]


def test_each_finding_of_git_is_decided() -> None:
    page = subprocess.run(["git", "help", "fsck"], capture_output=True, text=True, check=False)
    start = page.stdout.find("FSCK MESSAGES")
    if start < 0:
        pytest.skip("Git's manual is not installed here")
    found = re.findall(r"^ {7}([a-z]+[A-Z]\w*)$", page.stdout[start:], re.MULTILINE)
    text = Path(remote_module.__file__).read_text()
    undecided = [name for name in found if not re.search(rf"[\"`]{name}[\"`]", text)]
    about_tags = [name for name in undecided if re.search("Tag|Type|Object$|Header", name)]
    assert (len(found) > 50, undecided) == (True, about_tags)


def test_an_object_that_fsck_refuses_is_not_taken(upstream: Repository, state: Path) -> None:
    blob = upstream.git("hash-object", "-w", "--stdin", stdin=b"x")
    entry = b"100644 .git\0" + bytes.fromhex(blob)
    tree = upstream.git("hash-object", "-w", "-t", "tree", "--literally", "--stdin", stdin=entry)
    commit = upstream.git("commit-tree", tree, "-m", "Evil")
    upstream.git("update-ref", "refs/heads/main", commit)
    with pytest.raises(SourceError, match="Git's own check rejects") as refusal:
        GitRemote(state, settings(upstream)).fetch(None)
    assert not refusal.value.is_transient


ODD_PEOPLE = {
    "badTimezone": (b"author A <a@x> 1270000000 -700", b"committer A <a@x> 1270000000 -700"),
    "badDate": (b"author A <a@x> long ago", b"committer A <a@x> 1270000000 +0000"),
    "badDateOverflow": (b"author A <a@x> 1 +0000", b"committer A <a@x> " + b"9" * 30 + b" +0000"),
    "badEmail": (b"author A <a 1270000000 +0000", b"committer A <a@x> 1270000000 +0000"),
    "badName": (b"author A> <a@x> 1270000000 +0000", b"committer A <a@x> 1270000000 +0000"),
    "missingAuthor": (b"committer A <a@x> 1270000000 +0000",),
    "missingCommitter": (b"author A <a@x> 1270000000 +0000",),
    "missingEmail": (b"author A 1270000000 +0000", b"committer A <a@x> 1270000000 +0000"),
    "missingNameBeforeEmail": (b"author <a@x> 1 +0000", b"committer A <a@x> 1 +0000"),
    "missingSpaceBeforeDate": (b"author A <a@x>1 +0000", b"committer A <a@x> 1 +0000"),
    "missingSpaceBeforeEmail": (b"author A<a@x> 1 +0000", b"committer A <a@x> 1 +0000"),
    "multipleAuthors": (b"author A <a@x> 1 +0000",) * 2 + (b"committer A <a@x> 1 +0000",),
    "zeroPaddedDate": (b"author A <a@x> 01 +0000", b"committer A <a@x> 1 +0000"),
}
"""By Git's name for the finding, the lines of a commit that an old or broken tool wrote."""


@pytest.mark.parametrize("finding", ODD_PEOPLE)
def test_a_commit_with_an_odd_author_or_time_is_followed(
    upstream: Repository, state: Path, finding: str
) -> None:
    upstream.commit({"a.yaml": "1"})
    tree = upstream.git("rev-parse", "HEAD^{tree}").encode()
    content = b"\n".join([b"tree " + tree, *ODD_PEOPLE[finding], b"", b"Old", b""])
    old = upstream.git("hash-object", "-t", "commit", "-w", "--stdin", "--literally", stdin=content)
    head = upstream.git("commit-tree", f"{old}^{{tree}}", "-p", old, "-m", "New")
    upstream.git("update-ref", "refs/heads/main", head)
    remote = GitRemote(state, settings(upstream))
    assert remote.fetch(None).id == head
    assert files(remote, old) == {"a.yaml": b"1"}
    assert remote.read_commit(old).subject == "Old"
    assert remote.is_ancestor(old, head)


@pytest.mark.parametrize("line", ["[submodule '../x']", "path = -x", "url = --upload-pack=x"])
def test_odd_submodules_are_fetched_since_they_are_never_followed(
    upstream: Repository, state: Path, line: str
) -> None:
    text = f"[submodule 'm']\npath = m\nurl = ../m\n{line}\nurl = ../n\n"
    head = upstream.commit({"a.yaml": "1", ".gitmodules": text.replace("'", '"')})
    remote = GitRemote(state, settings(upstream))
    assert remote.fetch(None).id == head
    assert files(remote, head) == {"a.yaml": b"1"}


def test_a_shallow_remote_is_refused(upstream: Repository, state: Path, tmp_path: Path) -> None:
    upstream.commit({"a.yaml": "1"})
    upstream.commit({"a.yaml": "2"})
    shallow = tmp_path / "shallow"
    upstream.git("clone", "--quiet", "--depth=1", f"file://{upstream.folder}", str(shallow))
    with pytest.raises(SourceError):
        GitRemote(state, RemoteSettings(str(shallow), allow_local=True)).fetch(None)


def test_a_local_remote_needs_to_be_allowed(upstream: Repository, state: Path) -> None:
    upstream.commit({"a.yaml": "1"})
    with pytest.raises(SourceError, match="needs allow_local = true"):
        GitRemote(state, replace(settings(upstream), allow_local=False))


@pytest.mark.parametrize("url", ["http://127.0.0.1/r", "git://127.0.0.1/r", "ext::sh -c true"])
def test_other_protocols_are_refused_before_anything_is_sent(url: str, state: Path) -> None:
    with pytest.raises(SourceError):
        GitRemote(state, RemoteSettings(url, allow_local=True))
    assert not state.exists()


def test_the_environment_changes_nothing(
    upstream: Repository, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = upstream.commit({"a.yaml": "1"})
    elsewhere = tmp_path / "elsewhere"
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(f'[url "{elsewhere}"]\ninsteadOf = {upstream.folder}\n')
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_DIR", str(elsewhere))
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "none")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.bare=nonsense'")
    assert GitRemote(state, settings(upstream)).fetch(None).id == head


def test_what_a_killed_fetch_left_does_not_stop_the_next(upstream: Repository, state: Path) -> None:
    upstream.commit({"a.yaml": "1"})
    GitRemote(state, settings(upstream)).fetch(None)
    copy = state / "repository.git"
    leftovers = ["refs/gitvs/head.lock", "packed-refs.lock", "config.lock", "shallow.lock"]
    leftovers += ["HEAD.lock", "objects/pack/tmp_pack_x1"]
    for name in leftovers:
        (copy / name).write_text("left over")
    head = upstream.commit({"a.yaml": "2"})
    assert GitRemote(state, settings(upstream)).fetch(None).id == head
    assert not everything_below(copy) & {Path(name).name for name in leftovers}


def test_two_do_not_fetch_into_one_folder_at_a_time(upstream: Repository, state: Path) -> None:
    upstream.commit({"a.yaml": "1"})
    remote = GitRemote(state, replace(settings(upstream), timeout_seconds=0.2))
    with remote._copy.locked(0), pytest.raises(SourceUnreachable, match="another gitvs"):
        GitRemote(state, replace(settings(upstream), timeout_seconds=0.2)).fetch(None)


def test_a_state_folder_that_cannot_be_written_says_so(upstream: Repository, state: Path) -> None:
    upstream.commit({"a.yaml": "1"})
    state.write_text("a file")
    with pytest.raises(SourceError, match="cannot be written") as failure:
        GitRemote(state, settings(upstream)).fetch(None)
    assert not failure.value.is_transient


# https


def test_a_remote_is_fetched_over_https(upstream: Repository, state: Path, tmp_path: Path) -> None:
    head = upstream.commit({"a.yaml": "1"})
    with git_server(tmp_path) as server:
        url = f"{server.url}/upstream/.git"
        remote = GitRemote(state, RemoteSettings(url, ca_file=server.ca_file))
        assert remote.fetch(None).id == head
        assert files(remote, head) == {"a.yaml": b"1"}
        with pytest.raises(SourceUnreachable, match="its certificate is not trusted"):
            GitRemote(state, RemoteSettings(url)).fetch(None)
        missing = RemoteSettings(f"{server.url}/missing", ca_file=server.ca_file)
        with pytest.raises(SourceUnreachable, match="there is no repository at that url"):
            GitRemote(state, missing).fetch(None)


def test_a_redirect_is_not_followed(upstream: Repository, state: Path, tmp_path: Path) -> None:
    upstream.commit({"a.yaml": "1"})
    with git_server(tmp_path, redirects=True) as server:
        url = f"{server.url}/upstream/.git"
        with pytest.raises(SourceUnreachable, match="set url to that address"):
            GitRemote(state, RemoteSettings(url, ca_file=server.ca_file)).fetch(None)


def test_credentials_come_from_a_file_that_is_never_written(
    upstream: Repository, state: Path, tmp_path: Path
) -> None:
    head = upstream.commit({"a.yaml": "1"})
    file = tmp_path / "credentials"
    with git_server(tmp_path, asks=True) as server:
        url = f"{server.url}/upstream/.git"
        remote = RemoteSettings(url, ca_file=server.ca_file, credentials_file=file)
        for password in ("wrong", PASSWORD):
            line = url.replace("https://", f"https://{USER}:{password}@").split("/upstream")[0]
            file.write_text(f"{line}\n")
            if password == PASSWORD:
                assert GitRemote(state, remote).fetch(None).id == head
            else:
                with pytest.raises(SourceUnreachable, match="it denies access") as failure:
                    GitRemote(state, remote).fetch(None)
                assert password not in str(failure.value)
            assert file.read_text() == f"{line}\n"


def test_a_user_in_a_url_is_not_repeated_in_errors(state: Path) -> None:
    remote = GitRemote(state, RemoteSettings("https://tok3n@127.0.0.1:1/r", timeout_seconds=10))
    with pytest.raises(SourceUnreachable) as failure:
        remote.fetch(None)
    assert "https://127.0.0.1:1/r" in str(failure.value)
    assert "tok3n" not in str(failure.value)
    assert "tok3n" not in str(failure.value.__cause__)


# Bad servers


@contextmanager
def listening(answer: bytes) -> Iterator[int]:
    """Accept every connection, answer it with some bytes, and leave it open."""
    held = []
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.sendall(answer)
                held.append(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in held:
                connection.close()


@pytest.mark.parametrize("scheme", ["https://127.0.0.1:{}/r", "ssh://127.0.0.1:{}/r"])
def test_a_remote_that_never_answers_is_given_up_with_all_its_children(
    state: Path, scheme: str
) -> None:
    with listening(b"") as port:
        remote = GitRemote(state, RemoteSettings(scheme.format(port), timeout_seconds=1))
        with pytest.raises(SourceUnreachable, match="did not end within 1 s") as failure:
            remote.fetch(None)
        assert failure.value.is_transient
        eventually(lambda: not commands_with(str(port)))


def test_an_https_server_that_stops_in_the_middle_of_a_pack_is_given_up(
    upstream: Repository, state: Path, tmp_path: Path
) -> None:
    head = upstream.commit({"a.yaml": "1", "noise": os.urandom(4 * 1024 * 1024)})
    with git_server(tmp_path, stalls_after=1024 * 1024) as server:
        for seconds in (2, 8, 32):  # a slow machine has not come to the pack in the first ones
            remote = RemoteSettings(
                f"{server.url}/upstream/.git", ca_file=server.ca_file, timeout_seconds=seconds
            )
            with pytest.raises(SourceUnreachable, match=f"did not end within {seconds} s"):
                GitRemote(state, remote).fetch(None)
            eventually(lambda: commands_with(server.url) == [])
            packs = (state / "repository.git/objects/pack").glob("tmp_*")
            if halves := [pack for pack in packs if pack.stat().st_size > 512 * 1024]:
                break
    [half] = halves
    assert GitRemote(state, settings(upstream)).fetch(None).id == head
    assert not half.exists()


def commands_with(word: str) -> list[str]:
    """The running processes whose command line has a word."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [command for command in found if word in command]


@pytest.mark.parametrize("scheme", ["https://127.0.0.1:{}/r", "ssh://127.0.0.1:{}/r"])
def test_a_remote_that_sends_garbage_is_unreachable(state: Path, scheme: str) -> None:
    with listening(os.urandom(4096) + b"\n") as port:
        remote = GitRemote(state, RemoteSettings(scheme.format(port), timeout_seconds=5))
        with pytest.raises(SourceUnreachable):
            remote.fetch(None)


def test_a_remote_that_refuses_is_unreachable(state: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    with pytest.raises(SourceUnreachable, match=r"127\.0\.0\.1"):
        GitRemote(state, RemoteSettings(f"https://127.0.0.1:{port}/r")).fetch(None)


# ssh: Git's own transport, with a program named ssh that runs the command here


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an ssh into the path that notes its arguments and runs the command here."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "ssh"
    program.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/arguments\n'
        f"env > {tmp_path}/environment\ngrep Cap /proc/self/status > {tmp_path}/capabilities\n"
        'for last; do :; done\nexec sh -c "$last"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return tmp_path


def test_ssh_asks_nothing_and_trusts_nothing_unknown(
    upstream: Repository, state: Path, ssh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/agent")
    monkeypatch.setenv("GIT_SSH", "/bin/false")
    head = upstream.commit({"a.yaml": "1"})
    key, hosts = ssh / "key", ssh / "hosts"
    for file in (key, hosts):
        file.touch()
    remote = RemoteSettings(f"ssh://git@host{upstream.folder}", ssh_key=key, known_hosts=hosts)
    assert GitRemote(state, remote).fetch(None).id == head
    arguments = (ssh / "arguments").read_text().splitlines()
    for option in ("BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={hosts}"):
        assert arguments[arguments.index(option) - 1] == "-o"
    assert arguments[:4] == ["-F", "/dev/null", "-i", str(key)]
    environment = (ssh / "environment").read_text()
    assert "SSH_AUTH_SOCK" not in environment
    assert "GIT_TERMINAL_PROMPT=0" in environment


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up all but one capability")
@pytest.mark.parametrize("kind", ["ssh", "gpg"])
def test_the_programs_that_check_signatures_hold_no_capability(
    upstream: Repository, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    signers = tmp_path / "signers"
    if kind == "ssh":
        signer = ssh_signer(tmp_path, "ada@example.org")
        head = signer.commit(upstream, {"a.yaml": "1"})
        signers.write_text(signer.allowed)
        program, policy = "ssh-keygen", f"SshSignatures(Path({str(signers)!r}))"
    else:
        with gnupg() as keys:
            key = keys.make_key("Ada <ada@example.org>")
            head = keys.commit(key, upstream, {"a.yaml": "1"})
            signers.write_text(keys.export())
        program = "gpg"
        policy = f"GpgSignatures(Path({str(signers)!r}), frozenset({{{key!r}}}))"
    note_capabilities(tmp_path, program, monkeypatch)
    code = f"""
from pathlib import Path
from gitvs.adapters.git.remote import GitRemote
from gitvs.core.settings import GpgSignatures, RemoteSettings, SshSignatures
settings = RemoteSettings({str(upstream.folder)!r}, allow_local=True, signatures={policy})
print([l for l in open("/proc/self/status") if l.startswith(("CapEff", "CapAmb"))])
print(GitRemote(Path({str(state)!r}), settings).fetch(None).id)
"""
    done = with_net_admin(code)
    assert head in done
    assert "0000000000001000" in done
    noted = (tmp_path / "capabilities").read_text().splitlines()
    assert len(noted) >= 2
    assert {int(line.split()[1], 16) for line in noted} == {0}


def note_capabilities(folder: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program into the path that notes its effective rights and becomes the real one."""
    real = shutil.which(program)
    (folder / "bin").mkdir()
    wrapper = folder / "bin" / program
    wrapper.write_text(
        f'#!/bin/sh\ngrep CapEff /proc/self/status >> {folder}/capabilities\nexec {real} "$@"\n'
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")


def with_net_admin(code: str) -> str:
    """Run Python code as the agent runs: with one capability, which children inherit."""
    rights = ["--inh-caps=+net_admin", "--ambient-caps=+net_admin", "--securebits=+noroot"]
    command = ["setpriv", *rights, sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up all but one capability")
def test_children_hold_no_capability(upstream: Repository, state: Path, ssh: Path) -> None:
    head = upstream.commit({"a.yaml": "1"})
    code = f"""
from pathlib import Path
from gitvs.adapters.git.remote import GitRemote
from gitvs.core.settings import RemoteSettings
print([l for l in open("/proc/self/status") if l.startswith(("CapEff", "CapAmb"))])
print(GitRemote(Path({str(state)!r}), RemoteSettings("ssh://host{upstream.folder}")).fetch(None).id)
"""
    done = with_net_admin(code)
    assert head in done
    assert "0000000000001000" in done
    effective = (ssh / "capabilities").read_text().split("CapEff:\t")[1].split("\n")[0]
    assert int(effective, 16) == 0


def texts(messages: Iterator[tuple[str, str]]) -> list[str]:
    return [text for _, text in messages]


# Processes


def test_one_change_starts_a_fetch_a_listing_and_nothing_else(
    upstream: Repository, state: Path
) -> None:
    commit_ids = [upstream.commit({"a.yaml": str(number)}, f"Change {number}") for number in (1, 2)]
    remote = GitRemote(state, settings(upstream))
    remote.fetch(None)
    remote.keep_commits(commit_ids)
    for number in (3, 4):
        head = upstream.commit({"a.yaml": str(number)}, f"Change {number}")
        with started_programs() as started:
            assert remote.fetch(commit_ids[-1]).id == head
            assert files(remote, head) == {"a.yaml": str(number).encode()}
            assert texts(remote.manifests_of(head).commit_messages(commit_ids[-1])) == [
                f"Change {number}\n"
            ]
            remote.keep_commits([head])
            remote.keep_commits([head])
        commit_ids.append(head)
        assert started == ["fetch", "ls-tree", "update-ref"]


def test_a_history_with_merges_and_long_gaps_is_followed_as_git_does(
    upstream: Repository, state: Path
) -> None:
    base = upstream.commit({"a.yaml": "1"}, "Base")
    many = [upstream.commit({"a.yaml": f"{n}"}, f"{n}") for n in range(30)]
    upstream.git("checkout", "--quiet", "-b", "side", base)
    side = upstream.commit({"b.yaml": "1"}, "Side")
    upstream.git("checkout", "--quiet", "main")
    upstream.git("merge", "--quiet", "--no-edit", "-m", "Merge", side)
    upstream.commit({"a.yaml": "x"}, "After")
    remote = GitRemote(state, settings(upstream))
    head = remote.fetch(None).id
    with remote._copy.objects() as objects:
        for older in (base, side, *many[::7], head):
            expected = upstream.git("rev-list", head, f"^{older}").split()
            assert objects.commits_since(older, head) == expected
            assert objects.is_ancestor(older, head)
            assert objects.commits_since(head, older) == []
            assert objects.is_ancestor(head, older) == (older == head)
        assert objects.commits_since(side, many[-1]) == [many[-1]]
        assert objects.commits_since(many[20], many[-1]) == many[:20:-1]
        assert not objects.is_ancestor(side, many[-1])

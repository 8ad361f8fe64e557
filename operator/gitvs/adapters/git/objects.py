"""Reads commits, trees and blobs by object id from a repository: no checkout, no filters."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gitvs.adapters.git.hardened_git import GitFailed, HardenedGit
from gitvs.adapters.git.object_reader import DamagedObject, ObjectReader
from gitvs.adapters.git.parse_commit import (
    MAX_MESSAGE_BYTES,
    parent_ids,
    parse_commit,
    parse_message,
)
from gitvs.core.errors import SourceError
from gitvs.core.manifests.files import GitFile
from gitvs.core.model.history import Commit

OWN_REFS = "refs/gitvs/"
"""The refs that gitvs itself writes, in its copy of a remote."""

_SHA1_CHARACTERS = 40
_SHORT_ID_CHARACTERS = 12
_OBJECT_ID = re.compile(f"[0-9a-f]{{{_SHA1_CHARACTERS}}}")
_ABBREVIATED_ID = re.compile("[0-9a-f]{4,39}")
_REF_NAME = re.compile(r"(?:[^~^:@]|@(?!\{))*")
"""The name in a revision such as `main~2` or `main@{1}`. Source: gitrevisions(7)."""

_REF_RULES = ("refs/{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}", "refs/remotes/{}/HEAD")

_MAX_STRAIGHT_LINE = 20
"""How many commits are followed one by one before Git is asked; most pushes have fewer."""

MAX_COMMIT_BYTES = MAX_MESSAGE_BYTES + 64 * 1024
"""How much is kept of a commit: its headers, which have a signature, and its message."""

SHALLOW_ADVICE = (
    "this clone is shallow: `git fetch --unshallow` brings the rest (in a CI job, check out with"
    " `fetch-depth: 0` or `GIT_DEPTH: 0`)"
)

_PARTIAL_CLONE_ADVICE = (
    "this clone is partial, and nothing is fetched here; clone without `--filter` (in a CI job,"
    " check out without a filter)"
)


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One entry of a tree.

    `path` is relative to the tree, with bytes that are not UTF-8 escaped. `size` is in bytes,
    or -1 if there is none.
    """

    mode: str
    object_id: str
    size: int
    path: str

    @property
    def is_file(self) -> bool:
        return self.mode.startswith("100")

    @property
    def is_folder(self) -> bool:
        return self.mode == "040000"

    @property
    def is_symlink(self) -> bool:
        return self.mode == "120000"

    @property
    def is_submodule(self) -> bool:
        return self.mode == "160000"


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder of a commit, without what the folders in it have; see `manifests`."""

    tree_id: str
    subfolders: tuple[TreeEntry, ...]
    manifests: tuple[tuple[GitFile, int], ...]
    """The manifest files, with their sizes in bytes."""
    skipped: tuple[str, ...]
    """The paths of links that are named as manifests, and of submodules."""


class GitObjects:
    """The objects of one repository; each object that is read is checked against its id.

    `known_folders` are the folders of the commit that `manifests` listed last, by path with `/`
    at the end. So most folders of the next commit need not be listed.
    """

    def __init__(self, git_dir: Path) -> None:
        self.known_folders: Mapping[str, Folder] = {}
        self._git_dir = git_dir
        self._git = HardenedGit(
            Path("/"), git_dir, git_dir.stat(), environment=quarantine_environment(git_dir)
        )
        self._reader = ObjectReader(self._git, git_dir)

    def resolve(self, revision: str) -> str:
        """Return the id of the commit that a revision names.

        Raises:
            SourceError: there is none; the message suggests why.
        """
        if _OBJECT_ID.fullmatch(revision) and self._find_commit(revision):
            return revision
        if revision.startswith(OWN_REFS) and (found := self._find_commit(f"{revision}^{{commit}}")):
            return found
        try:
            if not revision or revision.startswith("^"):  # `^X` excludes commits and names none
                raise GitFailed(1)
            output = self._git.run(
                "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}"
            )
        except GitFailed as error:
            why = f" ({error.error_text})" if "ambiguous" in error.error_text else ""
            raise SourceError(
                f"{self._git_dir} has no commit, branch or tag {revision or repr('')}{why}"
                f"; {self._hint(revision)}"
            ) from error
        self._refuse_ambiguous(revision)
        commit_id = output.decode().strip()
        if len(commit_id) != _SHA1_CHARACTERS:
            raise SourceError(
                f"{self._git_dir} names its objects by SHA-256, which GitPython does not read yet;"
                " use a repository with SHA-1"
            )
        return commit_id

    def _refuse_ambiguous(self, revision: str) -> None:
        """Reject a name that several refs have, at different commits: Git takes one silently.

        Source: gitrevisions(7), the rules for <refname>.

        Raises:
            SourceError: the message lists the refs.
        """
        name = "".join(_REF_NAME.findall(revision)[:1])
        if name in ("", "HEAD", "@") or name.startswith("refs/"):
            return
        candidates = [rule.format(name) for rule in _REF_RULES]
        output = self._git.run(
            "for-each-ref",
            "--format=%(refname) %(objectname) %(*objectname)",
            *map(_escape_pattern, candidates),
        )
        lines = (line.split() for line in output.decode(errors="replace").splitlines())
        commits = {refname: ids[-1] for refname, *ids in lines if refname in candidates}
        if commits and _ABBREVIATED_ID.fullmatch(name):
            found = self._git.run("rev-parse", f"--disambiguate={name}").decode().split()
            commits |= {object_id: object_id for object_id in found if self._find_commit(object_id)}
        if len(set(commits.values())) > 1:
            raise SourceError(
                f"{name} is ambiguous in {self._git_dir}: it is {' and '.join(sorted(commits))}."
                " Nothing was read; give the whole name of one"
            )

    def _hint(self, revision: str) -> str:
        """Return what to do about a revision that is not in the repository."""
        if not revision:
            return "it is empty: is a variable not set?"
        if not revision.strip("0"):
            return (
                "a CI job sets this for a new branch: compare with the branch that it"
                " will be merged into"
            )
        if ".." in revision:
            return "a range is not a commit: give one end of it"
        if revision in ("HEAD", "@"):
            return "the repository has no commit yet: commit the manifests first"
        output = self._git.run(
            "for-each-ref",
            "--format=%(refname:lstrip=2)",
            f"refs/remotes/*/{_escape_pattern(revision)}",
        )
        if remote_branch := output.decode(errors="replace").split("\n")[0]:
            return f"did you mean {remote_branch}?"
        if self.is_shallow:
            return SHALLOW_ADVICE
        return "look at `git branch --all` and `git tag`"

    @property
    def is_shallow(self) -> bool:
        """Whether the history is incomplete because the clone is shallow."""
        return self._git.run("rev-parse", "--is-shallow-repository").strip() == b"true"

    def has_folder(self, commit_id: str, path: str) -> bool:
        """Whether a commit has a folder at a path."""
        if path in ("", "."):
            return True
        return any(entry.is_folder for entry in self._list_tree(commit_id, "--", path.rstrip("/")))

    def find_tree_id(self, commit_id: str, path: str) -> str:
        """Return the id of the tree at a path; for an empty path, the commit's id, which works too.

        Raises:
            SourceError: there is no folder at the path.
        """
        if path in ("", "."):
            return commit_id
        entries = self._list_tree(commit_id, "--", path.rstrip("/"))
        if entries and entries[0].is_folder:
            return entries[0].object_id
        problem = "has no folder"
        if entries:
            kinds = {"120000": "a symbolic link, which is not followed", "160000": "a submodule"}
            problem = f"has {kinds.get(entries[0].mode, 'a file')}, not a folder, at"
        raise SourceError(f"commit {commit_id[:_SHORT_ID_CHARACTERS]} {problem} {path}")

    def list_everything(self, tree_id: str) -> list[TreeEntry]:
        """Return everything below a tree, folders too."""
        return self._list_tree("-r", "-t", tree_id)

    def list_folder(self, tree_id: str, path: str) -> list[TreeEntry]:
        """Return what is in the one folder of a tree; `path` is its path, with `/` at the end."""
        entries = self._list_tree(tree_id)
        return [replace(entry, path=f"{path}{entry.path}") for entry in entries]

    def _list_tree(self, *args: str) -> list[TreeEntry]:
        try:
            output = self._git.run("ls-tree", "-z", "-l", "--full-tree", *args)
        except GitFailed as error:
            if "promisor" in error.error_text:
                raise SourceError(
                    f"objects of {self._git_dir} are missing: {_PARTIAL_CLONE_ADVICE}"
                ) from error
            raise
        return [_parse_tree_entry(line) for line in output.split(b"\0") if line]

    def expect(self, ids_and_sizes: Sequence[tuple[str, int]]) -> None:
        """Announce which files may be read, and in which order."""
        self._reader.expect(ids_and_sizes)

    def read(self, object_id: str) -> bytes:
        """Return the content of an object.

        Raises:
            DamagedObject: it is missing, or its content does not match its id.
        """
        return self._reader.read(object_id).content

    def _find_commit(self, name: str) -> str | None:
        """Return the id of a commit if there is one; costs no extra process."""
        try:
            found = self._reader.read(name, 0)
        except DamagedObject:
            return None
        return found.id if found.kind == "commit" else None

    def _read_start_of_commit(self, commit_id: str) -> bytes:
        return self._reader.read(commit_id, MAX_COMMIT_BYTES).content

    def read_commit(self, commit_id: str) -> Commit:
        """Return a commit's id, author, subject and time."""
        return parse_commit(commit_id, self._read_start_of_commit(commit_id))

    def commits_since(self, base: str | None, head: str) -> list[str]:
        """Return the commits of `head` that `base` lacks, the newest first.

        The result is `head` alone if `base` is None, is not in the repository any more, or is
        neither an ancestor nor a descendant of `head`. It is empty if `base` is `head` or
        descends from it.
        """
        if base is None:
            return [head]
        if (line := self._straight_line(base, head)) is not None:
            return line
        try:
            bases = self.merge_bases(base, head)
        except GitFailed:
            if self.has_commit(base):
                raise
            return [head]
        if bases == [head]:
            return []
        return self._rev_list(head, f"^{base}") if bases == [base] else [head]

    def read_message(self, commit_id: str) -> str:
        """Return the message of a commit, up to MAX_MESSAGE_BYTES."""
        return parse_message(self._read_start_of_commit(commit_id))

    def first_parents(self, commit_id: str, limit: int) -> list[str]:
        """Return up to `limit` commits before one, along first parents, the newest first."""
        return self._rev_list("--first-parent", "--skip=1", f"--max-count={limit}", commit_id)

    def merge_bases(self, one: str, other: str) -> list[str]:
        """Return the newest common ancestors: usually one; empty if the repository has none."""
        try:
            return self._git.run("merge-base", "--all", one, other).decode().split()
        except GitFailed as error:
            if error.returncode == 1:
                return []
            raise

    def _straight_line(self, base: str, head: str) -> list[str] | None:
        """Do what `commits_since` does, without a process, where history is a short line.

        None if it is longer, if a commit has several parents, or if `base` is not on it.
        """
        if any((self._git_dir / name).exists() for name in ("shallow", "commondir")):
            return None  # what Git takes for parents may not be what the commits name
        line: list[str] = []
        commit_id = head
        try:
            while commit_id != base and len(line) < _MAX_STRAIGHT_LINE:
                line.append(commit_id)
                (commit_id,) = parent_ids(self._read_start_of_commit(commit_id))
        except (DamagedObject, ValueError):  # it has no parent, or several
            return None
        return line if commit_id == base and self.has_commit(base) else None

    def _rev_list(self, *args: str) -> list[str]:
        return self._git.run("rev-list", *args).decode().split()

    def has_commit(self, commit_id: str) -> bool:
        """Whether a commit is in the repository."""
        return self._find_commit(commit_id) is not None

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether `newer` is `older` or descends from it; False if `older` is missing."""
        if self._straight_line(older, newer) is not None:
            return True
        try:
            self._git.run("merge-base", "--is-ancestor", older, newer)
        except GitFailed as error:
            if error.returncode == 1 or not self.has_commit(older):
                return False
            raise
        return True

    def close(self) -> None:
        """End the process that reads objects."""
        self._reader.close()


@contextmanager
def open_objects(git_dir: Path) -> Iterator[GitObjects]:
    """Open the objects of a repository for the duration of the block.

    Raises:
        SourceError: there is no repository at `git_dir`.
    """
    objects = new_objects(git_dir)
    try:
        yield objects
    finally:
        objects.close()


def new_objects(git_dir: Path) -> GitObjects:
    """Return the objects of a repository; the caller closes them.

    Raises:
        SourceError: there is no repository at `git_dir`.
    """
    try:
        return GitObjects(git_dir)
    except OSError as error:
        raise SourceError(f"repository {git_dir}: {error.strerror}") from error


def quarantine_environment(git_dir: Path) -> dict[str, str]:
    """Return what Git needs to see the objects of a push that a hook is judging.

    In `pre-receive` and `update`, Git keeps new objects in a folder of their own below the
    repository's objects. Source: git-receive-pack(1), QUARANTINE ENVIRONMENT.
    """
    quarantine = os.environ.get("GIT_QUARANTINE_PATH", "")
    if not quarantine or Path(quarantine).resolve().parent != (git_dir / "objects").resolve():
        return {}
    names = ("GIT_QUARANTINE_PATH", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")
    return {name: os.environ[name] for name in names if name in os.environ}


def _escape_pattern(text: str) -> str:
    """Escape the special characters of for-each-ref patterns."""
    return re.sub(r"([*?\[\\])", r"\\\1", text)


def _parse_tree_entry(line: bytes) -> TreeEntry:
    """Parse one line of `ls-tree -l`, whose size is `-` or, for a missing object, `BAD`.

    Source: git-ls-tree(1), OUTPUT FORMAT; show_tree_long() in builtin/ls-tree.c.
    """
    columns, _, name = line.partition(b"\t")
    mode, _, object_id, size = columns.decode().split()
    return TreeEntry(mode, object_id, -1 if size in ("-", "BAD") else int(size), os.fsdecode(name))

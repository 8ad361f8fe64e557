"""The bare local copy of a remote's branch: creates, locks, reads, pins and maintains it.

The copy is a cache: if Git finds it broken, it is fetched again into a new one. What is fetched,
and which commits are accepted, is left to `remote`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from gitvs.adapters.git.fetch_errors import known_cause
from gitvs.adapters.git.hardened_git import GitFailed, HardenedGit
from gitvs.adapters.git.objects import OWN_REFS, GitObjects, new_objects
from gitvs.core.errors import SourceError, SourceUnreachable
from gitvs.core.model.history import Commit

REPOSITORY_FOLDER_NAME = "repository.git"
MAINTENANCE_TIMEOUT_SECONDS = 300.0
FETCHED_HEAD_REF = f"{OWN_REFS}head"
"""The branch's head at the last fetch, accepted or not."""

_LOCK_FILE_NAME = "repository.lock"
_LOCK_POLL_SECONDS = 0.05
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
_KEPT_REFS = f"{OWN_REFS}kept"
_PRUNED_WHEN_OLDER_THAN = "2.weeks.ago"

_LEFTOVER_PATTERNS = ("*.lock", "refs/gitvs/*.lock", "objects/pack/tmp_*", "objects/pack/.tmp-*")
"""Files left by a killed Git, except in `refs/gitvs/kept`, which is written without the lock."""

_FOREIGN_NAMES = ("commondir", "shallow", "objects/info/alternates")
"""Files that make Git read other objects, or fewer; gitvs writes none of them."""

_HEAD = b"ref: refs/heads/main\n"
_CONFIGURATION_FILE = b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"
"""The whole configuration in the copy; other lines could change urls, formats or what is run."""

_PACKING_CONFIGURATION = (
    "gc.cruftPacks=true",
    "gc.packRefs=false",  # kept refs are written without the lock: never pack them
    "gc.writeCommitGraph=false",
    "pack.threads=1",
    "pack.windowMemory=32m",
    "core.bigFileThreshold=16m",
)


class GitCopy:
    """A bare repository in the state folder; `remote_name` is used in error messages."""

    def __init__(
        self,
        state_dir: Path,
        remote_name: str,
        configuration: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        """Set the paths and options; nothing is written yet."""
        self.git_dir = state_dir / REPOSITORY_FOLDER_NAME
        self._lock_path = state_dir / _LOCK_FILE_NAME
        self._remote_name = remote_name
        self._kept_commit_ids: frozenset[str] = frozenset()
        # The worker pins commits while the fetch thread maintains or replaces the copy.
        self._kept_refs_lock = threading.Lock()
        self._configuration = (*_PACKING_CONFIGURATION, *configuration)
        self._environment = environment
        self._is_distrusted = False
        self._replaced_head: str | None = None
        self.git = self._git_in(self.git_dir)
        self._written_refs: frozenset[str] | None = None
        """The refs of kept commits that are there; None if that is not known."""
        self._idle_objects: deque[GitObjects] = deque()
        self._generation = 0
        """How often the files of the copy were replaced."""

    @contextmanager
    def objects(self) -> Iterator[GitObjects]:
        """Open the objects of the copy for the duration of the block.

        One process stays for the next block, in any thread, unless something could not be read,
        or all files were replaced: it would still read what was deleted.

        Raises:
            SourceError: there is no copy.
        """
        generation = self._generation
        try:
            objects = self._idle_objects.pop()
        except IndexError:
            objects = new_objects(self.git_dir)
        try:
            yield objects
        except BaseException:
            objects.close()
            raise
        if generation == self._generation:
            self._idle_objects.append(objects)
            self._close_idle_objects(but=1)
        else:
            objects.close()

    def _close_idle_objects(self, but: int = 0) -> None:
        """End the processes that nobody uses now, except so many."""
        with suppress(IndexError):
            while len(self._idle_objects) > but:
                self._idle_objects.popleft().close()

    def _forget_files(self) -> None:
        """Read further objects from the present files of the copy."""
        self._generation += 1
        self._close_idle_objects()

    def _git_in(self, git_dir: Path) -> HardenedGit:
        return HardenedGit(
            Path("/"),
            git_dir,
            configuration=self._configuration,
            environment=self._environment,
        )

    @contextmanager
    def locked(self, wait_seconds: float) -> Iterator[None]:
        """Hold the lock for fetching into this folder and for its maintenance.

        Raises:
            SourceUnreachable: another process still holds the lock after `wait_seconds`.
            SourceError: the state folder cannot be written.
        """
        deadline = time.monotonic() + wait_seconds
        try:
            self._lock_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._lock_path, _LOCK_FLAGS, 0o666)
        except OSError as error:
            raise _unusable(self._lock_path, error) from error
        with open(lock, "rb"):
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise SourceUnreachable(
                            f"{self._remote_name}: another gitvs is fetching into"
                            f" {self.git_dir} now, or cleaning it up"
                        ) from None
                    time.sleep(_LOCK_POLL_SECONDS)
            yield

    def prepare(self) -> None:
        """Create the copy if there is none, and delete what gitvs and Git do not keep in it.

        Raises:
            SourceError: the copy cannot be written.
        """
        for leftover in self._replacement_folders():
            with suppress(OSError):
                _remove(leftover)
        try:
            if not self.git_dir.is_dir():
                _remove(self.git_dir)
            if not (self.git_dir / "HEAD").is_file():
                self._written_refs = None
                self._forget_files()
            for path in _special_files(self.git_dir) if self.git_dir.is_dir() else ():
                path.unlink()
            for pattern in (*_FOREIGN_NAMES, *_LEFTOVER_PATTERNS):
                for path in self.git_dir.glob(pattern):
                    _remove(path)
            _create(self.git_dir)
        except OSError as error:
            raise _unusable(self.git_dir, error) from error

    def distrust(self) -> None:
        """Have the next fetch replace the copy, because something in it could not be read."""
        self._is_distrusted = True

    @property
    def is_distrusted(self) -> bool:
        """Whether to replace the copy even if Git fetches into it.

        A copy that was replaced at the present head is not replaced again: the fault is
        elsewhere.
        """
        return self._is_distrusted and self._replaced_head != self.fetched_head()

    def is_broken(self) -> bool:
        """Whether Git cannot read the copy's settings, refs, commits or trees, or misses files."""
        try:
            self.git.run("rev-list", "--quiet", "--objects", "--all")
        except GitFailed:
            return self.git_dir.exists()
        except SourceUnreachable:
            return False
        return False

    def replace(self, fetch: Callable[[HardenedGit], None]) -> None:
        """Fetch into a new copy, and put it in the place of the broken one.

        Raises:
            SourceError: it could not be fetched or written; the old copy stays.
        """
        new, old = self._replacement_folders()
        try:
            for leftover in (new, old):
                _remove(leftover)
            _create(new)
            fetch(self._git_in(new))
            with self._kept_refs_lock:
                with suppress(FileNotFoundError):
                    os.rename(self.git_dir, old)
                os.rename(new, self.git_dir)
                self._written_refs = None
                self._forget_files()
                self._add_kept_refs()
        except OSError as error:
            raise _unusable(self.git_dir, error) from error
        except GitFailed as error:
            raise SourceError(f"{self.git_dir} cannot be written: {error}") from error
        self._is_distrusted, self._replaced_head = False, self.fetched_head()
        with suppress(OSError):
            _remove(old)

    def fetched_head(self) -> str | None:
        """Return the branch's head at the last fetch, accepted or not; None before the first."""
        if not (self.git_dir / "HEAD").exists():
            return None
        try:
            return (
                self.git.run("rev-parse", "--verify", "--quiet", FETCHED_HEAD_REF).decode().strip()
            )
        except GitFailed:
            return None

    def resolve(self, revision: str) -> str:
        """Return the full id of a commit.

        Raises:
            SourceError: no commit matches, or more than one.
        """
        with self.objects() as objects:
            return objects.resolve(revision)

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether `newer` is `older` or descends from it; False if `older` is not in the copy."""
        with self.objects() as objects:
            return objects.is_ancestor(older, newer)

    def _replacement_folders(self) -> tuple[Path, Path]:
        """Return where a new copy is made, and where the broken one is put before it is deleted."""
        return self.git_dir.with_suffix(".new"), self.git_dir.with_suffix(".broken")

    def has_commit(self, commit_id: str) -> bool:
        """Whether a commit is in the copy."""
        with self.objects() as objects:
            return objects.has_commit(commit_id)

    def read_commit(self, commit_id: str) -> Commit:
        """Return a commit's id, author, subject and time.

        Raises:
            SourceError: the commit is not in the copy.
        """
        with self.objects() as objects:
            return objects.read_commit(objects.resolve(commit_id))

    def keep_commits(self, commit_ids: Iterable[str]) -> None:
        """Keep these commits, and no others, through maintenance, even if they leave the branch.

        It does not take the lock, so it never waits for a fetch.

        Raises:
            SourceError: the copy cannot be written.
        """
        wanted = frozenset(commit_ids)
        with self._kept_refs_lock:
            is_written = self._written_refs is not None and wanted == self._kept_commit_ids
            self._kept_commit_ids = wanted
            if is_written or not (self.git_dir / "HEAD").exists():
                return
            try:
                if self._written_refs is None:
                    self._written_refs = self._kept_refs()
                self._add_kept_refs(unwanted=self._written_refs - wanted)
            except GitFailed as error:
                raise SourceError(f"{self.git_dir} cannot be written: {error}") from error

    def _kept_refs(self) -> frozenset[str]:
        output = self.git.run("for-each-ref", "--format=%(objectname)", _KEPT_REFS)
        return frozenset(output.decode().split())

    def _add_kept_refs(self, unwanted: Iterable[str] = ()) -> None:
        """Write the refs that are missing, and delete unwanted ones; `_kept_refs_lock` is held."""
        written = self._kept_refs() if self._written_refs is None else self._written_refs
        with self.objects() as objects:
            missing = sorted(filter(objects.has_commit, self._kept_commit_ids - written))
        commands = [f"delete {_KEPT_REFS}/{commit_id}\n" for commit_id in sorted(unwanted)]
        commands += [f"update {_KEPT_REFS}/{commit_id} {commit_id}\n" for commit_id in missing]
        self._written_refs = None  # not known if it fails
        if commands:
            self.git.run("update-ref", "--stdin", input="".join(commands).encode())
        self._written_refs = written.difference(unwanted).union(missing)

    def maintain(self) -> None:
        """Pack the objects, and delete unreachable ones that are older than two weeks.

        Raises:
            SourceUnreachable: a fetch is running, or the time was too short; nothing is lost.
            SourceError: the copy cannot be written, or is damaged.
        """
        with self.locked(0):
            self.prepare()
            try:
                with self._kept_refs_lock:
                    for path in (self.git_dir / _KEPT_REFS).glob("*.lock"):
                        path.unlink(missing_ok=True)
                    # Only added: a copy of older settings may know older pins.
                    self._written_refs = None
                    self._add_kept_refs()
                self.git.run(
                    "gc",
                    "--quiet",
                    "--force",  # a gc.pid file is from a killed gc: we hold the lock
                    f"--prune={_PRUNED_WHEN_OLDER_THAN}",
                    timeout_seconds=MAINTENANCE_TIMEOUT_SECONDS,
                )
            except GitFailed as error:
                self._is_distrusted = known_cause(error) is None
                raise SourceError(f"{self.git_dir} cannot be cleaned up: {error}") from error
            finally:
                self._forget_files()


def _create(git_dir: Path) -> None:
    """Make an empty bare repository; if one exists, write its configuration again.

    Not by `git init`, whose formats depend on its version.
    """
    head, configuration = git_dir / "HEAD", git_dir / "config"
    if not head.exists():
        for name in ("objects/info", "objects/pack", "refs"):
            (git_dir / name).mkdir(parents=True, exist_ok=True)
    if not _is_file_with(configuration, _CONFIGURATION_FILE):
        _write(configuration, _CONFIGURATION_FILE)
    if not head.exists():
        _write(head, _HEAD)


def _is_file_with(path: Path, content: bytes) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size != len(content):
        return False
    return path.read_bytes() == content


def _write(path: Path, content: bytes) -> None:
    """Write a file in one step, whatever is in its place."""
    new = path.with_name(f"{path.name}.lock")
    new.write_bytes(content)
    if path.is_dir():
        _remove(path)
    os.replace(new, path)


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _special_files(folder: Path) -> Iterator[Path]:
    """Yield what is neither file, folder nor link: Git would wait for a pipe's other end."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _special_files(Path(entry.path))
            elif not (entry.is_file(follow_symlinks=False) or entry.is_symlink()):
                yield Path(entry.path)


def _unusable(path: Path, error: OSError) -> SourceError:
    """Return the error of a path of the copy that cannot be written."""
    return SourceError(
        f"{error.filename or path} cannot be written: {error.strerror}. Nothing was"
        " fetched; if a file blocks the fetch, remove it. The next fetch makes what it"
        " needs"
    )

"""Our bare copy of a remote's branch: made, locked, asked, pinned and kept small.

What comes into it, and what of that is accepted, is the business of `git_remote`.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from gitvs.adapters.git.git_process import GitFailed, HardenedGit
from gitvs.adapters.git.objects import opened
from gitvs.core.errors import SourceError, SourceUnreachable
from gitvs.core.model.history import Commit

FOLDER_NAME = "repository.git"
MAINTENANCE_SECONDS = 300.0
HEAD = "refs/gitvs/head"
"""What the branch was at the last fetch, accepted or not."""

_LOCK_NAME = "repository.lock"
_LOCK_POLL_SECONDS = 0.05
_PINS = "refs/gitvs/kept"
_PRUNED_WHEN_OLDER_THAN = "2.weeks.ago"

_LEFTOVERS = ("*.lock", "refs/gitvs/*.lock", "objects/pack/tmp_*", "objects/pack/.tmp-*")
"""What a killed Git leaves. `refs/gitvs/kept` is not here: it is written without our lock."""

_FRUGALITY = (
    "gc.cruftPacks=true",
    "gc.packRefs=false",  # so that pins, written without our lock, meet no packed-refs
    "gc.writeCommitGraph=false",
    "pack.threads=1",
    "pack.windowMemory=32m",
    "core.bigFileThreshold=16m",
)


class GitCopy:
    """A bare repository in the state folder. `name` is what errors call the remote."""

    def __init__(
        self,
        state_dir: Path,
        name: str,
        configuration: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        """Prepare to use it; nothing is written yet."""
        self.folder = state_dir / FOLDER_NAME
        self._lock = state_dir / _LOCK_NAME
        self._name = name
        self._pinned: frozenset[str] | None = None
        self.git = HardenedGit(
            Path("/"),
            self.folder,
            configuration=(*_FRUGALITY, *configuration),
            environment=environment,
        )

    @contextmanager
    def locked(self, wait_seconds: float) -> Iterator[None]:
        """Be the only one who fetches into this folder, or tidies it up.

        Raises:
            SourceUnreachable: another process is still at it when the time is up.
            SourceError: the state folder cannot be written.
        """
        deadline = time.monotonic() + wait_seconds
        try:
            self._lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = self._lock.open("w")
        except OSError as error:
            raise SourceError(f"{self._lock} cannot be written: {error.strerror}") from error
        with lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise SourceUnreachable(
                            f"{self._name}: another gitvs is fetching into {self.folder} now, or"
                            " tidying it up"
                        ) from None
                    time.sleep(_LOCK_POLL_SECONDS)
            yield

    def prepare(self) -> None:
        """Make the copy if there is none, and clean up after a Git that was killed.

        Raises:
            SourceError: it cannot be written.
        """
        try:
            if not (self.folder / "HEAD").exists():
                self.git.run("init", "--quiet", "--bare", "--template=", str(self.folder))
            for pattern in _LEFTOVERS:
                for path in self.folder.glob(pattern):
                    path.unlink(missing_ok=True)
        except (OSError, GitFailed) as error:
            raise SourceError(f"{self.folder} cannot be written: {error}") from error

    def head(self) -> str | None:
        """Return what the branch was at the last fetch, accepted or not."""
        if not (self.folder / "HEAD").exists():
            return None
        try:
            return self.git.run("rev-parse", "--verify", "--quiet", HEAD).decode().strip()
        except GitFailed:
            return None

    def resolve(self, revision: str) -> str:
        """Return the full id of a commit.

        Raises:
            SourceError: there is none, or more than one.
        """
        with opened(self.folder) as objects:
            return objects.resolve(revision)

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether `newer` is `older` or descends from it; one that is not here is no ancestor."""
        with opened(self.folder) as objects:
            return objects.is_ancestor(older, newer)

    def commit(self, commit_id: str) -> Commit:
        """Return a commit as people need it.

        Raises:
            SourceError: it is not here.
        """
        with opened(self.folder) as objects:
            return objects.commit(objects.resolve(commit_id))

    def pin(self, commit_ids: Iterable[str]) -> None:
        """Keep these commits through maintenance, whatever becomes of the branch; no others.

        It waits for no fetch, so it does not take the lock.

        Raises:
            SourceError: the copy cannot be written.
        """
        self._pinned = frozenset(commit_ids)
        try:
            self._write_pins(self._pinned)
        except GitFailed as error:
            raise SourceError(f"{self.folder} cannot be written: {error}") from error

    def _write_pins(self, wanted: frozenset[str]) -> None:
        if not (self.folder / "HEAD").exists():
            return
        listed = self.git.run("for-each-ref", "--format=%(objectname)", _PINS)
        there = frozenset(listed.decode().split())
        for commit_id in sorted(there - wanted):
            self.git.run("update-ref", "-d", f"{_PINS}/{commit_id}")
        with opened(self.folder) as objects:
            new = [commit_id for commit_id in sorted(wanted - there) if objects.has(commit_id)]
        for commit_id in new:
            self.git.run("update-ref", f"{_PINS}/{commit_id}", commit_id)

    def maintain(self) -> None:
        """Pack what is there, and drop what nothing leads to and is older than two weeks.

        Raises:
            SourceUnreachable: a fetch is running, or there was not enough time; nothing is lost.
            SourceError: the copy cannot be written, or is damaged.
        """
        with self.locked(0):
            self.prepare()
            for path in (self.folder / _PINS).glob("*.lock"):
                path.unlink(missing_ok=True)
            if self._pinned is not None:
                self.pin(self._pinned)
            try:
                self.git.run(
                    "gc",
                    "--quiet",
                    "--force",  # what a killed one left is not running: we hold the lock
                    f"--prune={_PRUNED_WHEN_OLDER_THAN}",
                    timeout=MAINTENANCE_SECONDS,
                )
            except GitFailed as error:
                raise SourceError(f"{self.folder} cannot be tidied up: {error}") from error

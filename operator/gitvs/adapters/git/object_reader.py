"""Reads objects through one lasting `git cat-file`, several at a time.

Each object is checked against its id. What its content means is left to `objects`.
"""

from __future__ import annotations

import hashlib
import re
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from subprocess import Popen

from gitvs.adapters.git.hardened_git import HardenedGit, kill_and_close
from gitvs.core.errors import SourceError

_PIECE_BYTES = 1024 * 1024
_MAX_AHEAD = 96
"""Objects that are asked for at once. Their ids are within the 4,096 bytes that every pipe takes,
so writing them never waits for Git, which may itself wait until its answers are read."""

_MAX_AHEAD_BYTES = 8 * 1024 * 1024


_HEADER = re.compile(r"(?P<id>[0-9a-f]+) (?P<kind>[a-z]+) (?P<size>[0-9]+)\n")


class _Ended(Exception):
    """The process ended before it answered."""


class DamagedObject(SourceError):
    """An object that is missing, cannot be read, or has another content than its id says."""


@dataclass(frozen=True, slots=True)
class GitObject:
    """An object, with its content or the beginning of it."""

    id: str
    kind: str
    content: bytes


class ObjectReader:
    """Reads the objects of one repository. The process is started when it is needed.

    Objects that are expected in an order are read ahead: asking Git for one at a time takes four
    times as long as asking for 96.
    """

    def __init__(self, git: HardenedGit, name: object) -> None:
        """`name` is what the repository is called in errors."""
        self._git = git
        self._name = name
        self._process: Popen[bytes] | None = None
        self._end: Callable[[], object] = lambda: None
        self._expected: Sequence[tuple[str, int]] = ()
        self._index_by_id: dict[str, int] = {}
        self._ahead: dict[str, GitObject] = {}
        self._next_index, self._window = 0, 1

    def expect(self, ids_and_sizes: Sequence[tuple[str, int]]) -> None:
        """Say which objects may be read, in which order; some of them may be left out."""
        self._expected = ids_and_sizes
        self._index_by_id = {id: i for i, (id, _) in enumerate(ids_and_sizes)}
        self._ahead = {}
        self._next_index, self._window = 0, 1

    def read(self, name: str, max_bytes: int | None = None) -> GitObject:
        """Return the object of an id, or of a name that Git knows.

        Of a larger object than `max_bytes`, only the beginning is kept.

        Raises:
            DamagedObject: it is missing, or its content does not match its id.
            SourceError: Git could not be started.
        """
        if (index := self._index_by_id.get(name)) is None or max_bytes is not None:
            return self._ask([name], max_bytes)[0]
        if (found := self._ahead.pop(name, None)) is None:
            self._read_ahead(index)
            found = self._ahead.pop(name, None) or self._ask([name], None)[0]
        self._next_index = index + 1
        return found

    def _read_ahead(self, index: int) -> None:
        """Read this object and some after it; the number grows while objects are read in order."""
        is_in_order = index == self._next_index
        self._window = min(2 * self._window, _MAX_AHEAD) if is_in_order else 1
        names: list[str] = []
        total = 0
        for object_id, size in self._expected[index : index + self._window]:
            total += size
            if names and total > _MAX_AHEAD_BYTES:
                break
            names.append(object_id)
        try:
            self._ahead = {found.id: found for found in self._ask(names, None)}
        except DamagedObject:
            self._ahead, self._window = {}, 1  # the damaged one is found when it is read

    def _ask(self, names: Sequence[str], max_bytes: int | None) -> list[GitObject]:
        """Ask for objects; once more, if the process was there before and has ended since.

        Raises:
            DamagedObject: as `read`, for any of them.
        """
        is_new = self._process is None
        try:
            return self._exchange(names, max_bytes)
        except (OSError, _Ended) as error:
            self.close()
            if not is_new:
                return self._ask(names, max_bytes)
            raise self._unreadable(names[0]) from error
        except BaseException:
            self.close()  # answers may be left unread
            raise

    def _unreadable(self, name: str) -> DamagedObject:
        return DamagedObject(
            f"object {name} of {self._name} is missing, or cannot be read; `git fsck` shows more"
        )

    def _exchange(self, names: Sequence[str], max_bytes: int | None) -> list[GitObject]:
        if self._process is None:
            self._process = self._git.start("cat-file", "--batch")
            end = self._end = weakref.finalize(self, kill_and_close, self._process)
            end.atexit = False  # Git ends by itself when our end of its input is closed
        assert self._process.stdin is not None
        self._process.stdin.write("".join(f"{name}\n" for name in names).encode())
        self._process.stdin.flush()
        return [self._read_answer(self._process, name, max_bytes) for name in names]

    def _read_answer(self, process: Popen[bytes], name: str, max_bytes: int | None) -> GitObject:
        """Read one answer, whose content is checked a piece at a time.

        Source: git-cat-file(1), BATCH OUTPUT.

        Raises:
            _Ended: the process ended.
            DamagedObject: the object is missing, or the content does not match the id.
        """
        assert process.stdout is not None
        header = process.stdout.readline().decode("utf-8", "replace")
        if not header:
            raise _Ended
        match = _HEADER.fullmatch(header)
        if match is None:
            raise self._unreadable(name)
        object_id, kind, size = match["id"], match["kind"], int(match["size"])
        remaining = size
        digest = hashlib.sha1(f"{kind} {size}\0".encode(), usedforsecurity=False)
        kept = []
        while remaining:
            piece = process.stdout.read(min(remaining, _PIECE_BYTES))
            if not piece:
                raise _Ended
            digest.update(piece)
            if max_bytes is None or size - remaining < max_bytes:
                kept.append(piece)
            remaining -= len(piece)
        process.stdout.read(1)
        if digest.hexdigest() != object_id:
            raise DamagedObject(
                f"object {name} of {self._name} is damaged: its content has another id;"
                " `git fsck` shows more"
            )
        return GitObject(object_id, kind, b"".join(kept)[:max_bytes])

    def close(self) -> None:
        """End the process; the next object starts another one."""
        if self._process is not None:
            self._end()
        self._process = None
        self._ahead = {}

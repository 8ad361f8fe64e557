"""Reports changes of a folder of manifests, once no manifest is being written any more.

A file that is open for writing may be half-written, and half a file may still be valid YAML. So a
change is reported only after every changed file was closed and `QUIET_SECONDS` have passed. Where
files are closed but changed again and again, the folder is read after `LONGEST_WAIT_SECONDS`
anyway. Other files than manifests are ignored.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from watchdog.events import (
    DirDeletedEvent,
    DirModifiedEvent,
    FileClosedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from gitvs.core.errors import SourceError
from gitvs.core.manifests.syntax.yaml_documents import is_manifest
from gitvs.core.problems import printable

log = logging.getLogger(__name__)

QUIET_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 10.0
REPORTED_WAIT_SECONDS = 1.5
"""A wait that is longer is reported: most changes are over by then."""

_POLL_SECONDS = 0.1
_ASSUMED_CLOSED_SECONDS = 60.0
"""A file not changed for this long counts as closed: its close event may have been missed."""


class DirectoryWatch(FileSystemEventHandler):
    """Watches one folder and everything below it, in separate threads."""

    def __init__(self, folder: Path, on_change: Callable[[], None]) -> None:
        """Start watching; `on_change` is called after changes, once the folder is quiet.

        Raises:
            SourceError: the folder cannot be watched.
        """
        self._on_change = on_change
        now = time.monotonic()
        self._changed_at: float | None = now  # somebody may be writing right now
        self._waiting_since = now
        """The first change since the folder was last quiet."""
        self._changed_path = ""
        self._open_files: dict[str, float] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._folder = folder
        self._identity = _identity_of(folder)
        self._is_gone = False
        self._observer = Observer()
        try:
            self._observer.schedule(self, str(folder), recursive=True)
            self._observer.start()
        except OSError as error:
            raise SourceError(f"{folder} cannot be watched: {error.strerror}") from error
        self._thread = threading.Thread(
            target=self._report_changes, name="directory-watch", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the threads."""
        self._stopping.set()
        self._observer.stop()
        self._observer.join()
        self._thread.join()

    def is_alive(self) -> bool:
        """Whether changes are reported: the threads run, and the folder was not replaced.

        A folder that was removed, or renamed to make room for another, takes its watch with it,
        even if the kernel gives the number of its inode to the next one.
        """
        threads = (self._thread, self._observer, *self._observer.emitters)
        if not all(thread.is_alive() for thread in threads):
            self._is_gone = True
        if _identity_of(self._folder) != self._identity:
            self._is_gone = True
        return not self._is_gone

    def is_quiet(self) -> bool:
        """Whether the folder may be read: no manifest is being written, as far as is known."""
        now = time.monotonic()
        with self._lock:
            is_waited_for = self._changed_at is not None and not self._has_settled(now)
            has_waited_enough = now - self._waiting_since >= LONGEST_WAIT_SECONDS
            return not self._open_names(now) and (not is_waited_for or has_waited_enough)

    def problem(self) -> str:
        """Return why the folder is not read now; empty if it is, or will be in a moment."""
        if self.is_quiet() or time.monotonic() - self._waiting_since < REPORTED_WAIT_SECONDS:
            return ""
        with self._lock:
            open_names = self._open_names(time.monotonic())
            name = printable(open_names[0] if open_names else self._name_of(self._changed_path))
        if open_names:
            return (
                f"{self._folder}: file {name} is open for writing. gitvs reads the"
                " folder when the file is closed. Until then, the applied state stays in force"
            )
        return (
            f"{self._folder} changes all the time (last change: {name}). gitvs reads it when the"
            f" changes stop, or {LONGEST_WAIT_SECONDS:g} s after the first change. Until then, the"
            " applied state stays in force"
        )

    def _has_settled(self, now: float) -> bool:
        return self._changed_at is not None and now - self._changed_at >= QUIET_SECONDS

    def _open_names(self, now: float) -> list[str]:
        return [
            self._name_of(path)
            for path, modified_at in self._open_files.items()
            if now - modified_at < _ASSUMED_CLOSED_SECONDS
        ]

    def _name_of(self, path: str) -> str:
        return path.removeprefix(str(self._folder)).lstrip("/")

    def _concerns_manifests(self, event: FileSystemEvent) -> bool:
        """Whether other files than before may be read after an event.

        An event that a folder was modified is ignored: it only repeats that a file in it was
        closed.
        """
        if event.event_type in ("opened", "closed_no_write") or isinstance(event, DirModifiedEvent):
            return False
        for path in filter(None, (str(event.src_path), str(event.dest_path))):
            parent, _, name = self._name_of(path).rpartition("/")
            if any(part.startswith(".") for part in parent.split("/")):
                continue
            if name == ".git" or is_manifest(name):
                return True
            if event.is_directory and not name.startswith("."):
                return True
        return False

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Record a change of what is read; opening and reading a file are not changes."""
        if not self._concerns_manifests(event):
            return
        path, now = str(event.src_path), time.monotonic()
        if isinstance(event, DirDeletedEvent) and path == str(self._folder):
            self._is_gone = True
        with self._lock:
            if self._changed_at is None:
                self._waiting_since = now
            self._changed_at, self._changed_path = now, path
            if isinstance(event, FileModifiedEvent):
                self._open_files[path] = now
            elif isinstance(event, FileClosedEvent | FileDeletedEvent | FileMovedEvent):
                self._open_files.pop(path, None)

    def _report_changes(self) -> None:
        reported_at, reported_problem = float("-inf"), ""
        while not self._stopping.wait(_POLL_SECONDS):
            if self._changed_at is None:
                continue
            now, is_quiet, problem = time.monotonic(), self.is_quiet(), self.problem()
            with self._lock:
                has_settled = is_quiet and self._has_settled(now)
                if has_settled:
                    self._changed_at = None
            is_due = is_quiet and now - reported_at >= LONGEST_WAIT_SECONDS
            if has_settled or is_due or (problem and not reported_problem):
                reported_at = now if is_quiet else reported_at
                reported_problem = problem
                self._on_change()


def _identity_of(folder: Path) -> tuple[int, int] | None:
    """Return device and inode of a folder; None if it is missing."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino

"""Reports changes of a folder of manifests, once no file is being written any more.

A file that is open for writing may be half-written, and half a file may still be valid YAML. So
a change is reported only after every changed file was closed and `QUIET_SECONDS` have passed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from watchdog.events import (
    DirDeletedEvent,
    FileClosedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from gitvs.core.errors import SourceError

log = logging.getLogger(__name__)

QUIET_SECONDS = 0.5
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
        self._changed_at: float | None = time.monotonic()  # somebody may be writing right now
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
        """Whether no file is being written now, as far as is known."""
        now = time.monotonic()
        with self._lock:
            has_settled = self._changed_at is None or now - self._changed_at >= QUIET_SECONDS
            return has_settled and not any(
                now - modified_at < _ASSUMED_CLOSED_SECONDS
                for modified_at in self._open_files.values()
            )

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Record a change; opening and reading a file are not changes."""
        if event.event_type in ("opened", "closed_no_write"):
            return
        path, now = str(event.src_path), time.monotonic()
        if isinstance(event, DirDeletedEvent) and path == str(self._folder):
            self._is_gone = True
        with self._lock:
            self._changed_at = now
            if isinstance(event, FileModifiedEvent):
                self._open_files[path] = now
            elif isinstance(event, FileClosedEvent | FileDeletedEvent | FileMovedEvent):
                self._open_files.pop(path, None)

    def _report_changes(self) -> None:
        while not self._stopping.wait(_POLL_SECONDS):
            if self._changed_at is not None and self.is_quiet():
                with self._lock:
                    self._changed_at = None
                self._on_change()


def _identity_of(folder: Path) -> tuple[int, int] | None:
    """Return device and inode of a folder; None if it is missing."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino

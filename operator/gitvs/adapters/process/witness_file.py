"""A file that holds the newest number of a store, outside the store and until the next boot."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

_FOLDER_MODE = 0o770


class WitnessFile:
    """The file of one store and network namespace; what it holds counts in one boot only.

    Root makes a missing folder. Where it cannot be written, there is no file.
    """

    def __init__(self, folder: Path, name: str, boot_id: str) -> None:
        self._path = folder / f"{name}.number"
        self._boot_id = boot_id

    def read(self) -> int | None:
        """Return the number; None if none was written in this boot."""
        try:
            boot_id, number = self._path.read_text().split()
            return int(number) if boot_id == self._boot_id else None
        except (OSError, ValueError):
            return None

    def write(self, number: int) -> None:
        """Replace the number."""
        draft = self._path.with_suffix(f".{os.getpid()}.new")
        try:
            if os.geteuid() == 0:
                self._path.parent.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
            draft.write_text(f"{self._boot_id} {number}\n")
            draft.replace(self._path)
        except OSError as error:
            with suppress(OSError):
                draft.unlink()
            log.debug("number not kept file=%s reason=%s", self._path, error.strerror)

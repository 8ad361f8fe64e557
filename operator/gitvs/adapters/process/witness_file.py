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

    `name` is the store's id, a full stop, and the namespace's cookie. Root makes a missing
    folder. Where it cannot be written, there is no file.
    """

    def __init__(self, folder: Path, name: str, boot_id: str) -> None:
        self._folder, self._name = folder, name
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

    def supersede_others(self) -> None:
        """Raise the numbers of the other stores of this network namespace: this one replaces them.

        One of them that is brought back is older than its number, and refused.
        """
        _, _, cookie = self._name.rpartition(".")
        names = {path.stem for path in self._folder.glob(f"*.{cookie}.number")}
        for name in names - {self._name}:
            other = WitnessFile(self._folder, name, self._boot_id)
            if (number := other.read()) is not None:
                other.write(number + 1)

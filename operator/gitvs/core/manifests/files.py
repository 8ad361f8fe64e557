"""Manifest files: their bytes, and the size limits for reading them."""

from __future__ import annotations

from collections.abc import (
    Callable,
)
from dataclasses import dataclass, field

from gitvs.core.errors import UnusableManifests


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file of manifests: its path relative to the chosen folder, with `/`, and its bytes."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class GitFile:
    """One file of a repository; `blob_id` identifies its bytes, which `data` reads on demand."""

    path: str
    blob_id: str
    read: Callable[[], bytes] = field(compare=False)

    @property
    def data(self) -> bytes:
        return self.read()


File = ManifestFile | GitFile


MAX_FILE_BYTES = 4 * 1024 * 1024

MAX_READ_BYTES = MAX_FILE_BYTES + 1
"""Enough of a file for the loader to see that it is too large."""

MAX_TOTAL_BYTES = 32 * 1024 * 1024


class TotalSizeLimit:
    """Adds up the sizes of the files of one load."""

    def __init__(self) -> None:
        self._total_bytes = 0

    def add_file(self, size_bytes: int) -> None:
        """Count one file.

        Raises:
            UnusableManifests: the files together are too large.
        """
        self._total_bytes += size_bytes
        if self._total_bytes > MAX_TOTAL_BYTES:
            raise UnusableManifests(
                f"the manifests add up to over {MAX_TOTAL_BYTES // 1024 // 1024} MiB; is this the"
                " right folder?"
            )


def utf8_name(name: str) -> str:
    """Return a file name that can be shown and recorded.

    Raises:
        UnusableManifests: `name` is not UTF-8.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
        raise UnusableManifests(f"file name {shown} is not UTF-8; rename it") from None
    return name

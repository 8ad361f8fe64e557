"""What every source of manifests holds to: how much is read, and which names can be told."""

from __future__ import annotations

from gitvs.core.errors import UnusableManifests
from gitvs.core.manifests.syntax.yaml_documents import MAX_FILE_BYTES

MAX_READ_BYTES = MAX_FILE_BYTES + 1
"""Enough of a file for the loader to see that it is too large."""

MAX_TOTAL_BYTES = 32 * 1024 * 1024


class TotalSizeLimit:
    """Adds up the files of one load."""

    def __init__(self) -> None:
        self._total_bytes = 0

    def add_file(self, size_bytes: int) -> None:
        """Count one file.

        Raises:
            UnusableManifests: all together they are too large.
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
        UnusableManifests: it is not UTF-8.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
        raise UnusableManifests(f"file name {shown} is not UTF-8; rename it") from None
    return name

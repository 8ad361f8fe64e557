"""Files of a repository without one, and texts that last in memory alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from gitvs.core.manifests.files import GitFile


@dataclass
class Texts:
    """Texts in memory, and the keys that were found."""

    kept: dict[str, bytes] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)

    def get(self, key: str) -> bytes | None:
        if key in self.kept:
            self.found.append(key)
        return self.kept.get(key)

    def put(self, key: str, text: bytes) -> None:
        assert b"\n" not in text
        self.kept[key] = text


def stored(path: str, data: bytes) -> GitFile:
    blob = b"blob %d\0" % len(data) + data
    return GitFile(path, hashlib.sha1(blob, usedforsecurity=False).hexdigest(), lambda: data)

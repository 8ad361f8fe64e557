"""Manifests that could not be read, and may contain what others refer to.

An unknown name is a problem, unless it may be in a document that has problems itself: then the
extra problem would only be noise.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field

from gitvs.core.manifests.syntax.source_positions import Document

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_REFERENCED_KINDS = ("Director", "Pool")


@dataclass(slots=True)
class UnreadManifests:
    """Names in documents with problems, and the texts that could not be read."""

    _names: set[tuple[str, str]] = field(default_factory=set)
    _kinds: set[str] = field(default_factory=set)
    _texts: list[str] = field(default_factory=list)

    def add_document(self, document: Document) -> None:
        """Record a document that has problems."""
        data = document.data if isinstance(document.data, dict) else {}
        metadata = data.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        kind = str(data.get("kind"))
        self._names.add((kind, str(name)))
        self._kinds.add(kind)

    def add_text(self, text: str) -> None:
        """Record a text that could not be read, unless it is empty."""
        if text:
            self._texts.append(text)
            self._kinds.update(kind for kind in _REFERENCED_KINDS if kind in text)

    def names_among(self, kind: str, names: Collection[str]) -> set[str]:
        """Return the names of which a document may be in what could not be read.

        All names are looked up at once, so that every text is read once.
        """
        found = {name for name in names if (kind, name) in self._names}
        if len(found) < len(names):
            for text in self._texts:
                found.update(m[0] for m in _NAME.finditer(text) if m[0] in names)
        return found

    def may_contain_any(self, kind: str) -> bool:
        """Return whether any document of a kind may be in what could not be read."""
        return kind in self._kinds

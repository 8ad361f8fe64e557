"""Manifests that could not be read, and may contain what others refer to.

An unknown name is a problem, unless it may be in a document that has problems itself: then the
extra problem would only be noise.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gitvs.core.manifests.syntax.source_positions import Document


@dataclass(slots=True)
class UnreadManifests:
    """Names in documents with problems, and the texts that could not be read."""

    _names: set[tuple[str, str]] = field(default_factory=set)
    _texts: list[str] = field(default_factory=list)

    def add_document(self, document: Document) -> None:
        """Record a document that has problems."""
        data = document.data if isinstance(document.data, dict) else {}
        metadata = data.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        self._names.add((str(data.get("kind")), str(name)))

    def add_text(self, text: str) -> None:
        """Record a text that could not be read, unless it is empty."""
        if text:
            self._texts.append(text)

    def may_contain(self, kind: str, name: str) -> bool:
        """Return whether a document of this name may be in what could not be read."""
        if (kind, name) in self._names:
            return True
        return any(name in text for text in self._texts)

    def may_contain_any(self, kind: str) -> bool:
        """Return whether any document of a kind may be in what could not be read."""
        return any(k == kind for k, _ in self._names) or any(kind in t for t in self._texts)

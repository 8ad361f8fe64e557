"""Defaults by folder: the nearest folder wins, field by field, each field as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from posixpath import dirname
from typing import Any

from gitvs.core.manifests.syntax.source_positions import Document, Origin
from gitvs.core.problems import Problem

_COMPANIONS = {"schedulerFlags": "scheduler", "tunnel": "forwarding"}
"""Each field is filled only from the document of its companion field, or from a nearer one."""


@dataclass(frozen=True, slots=True)
class SpecFields:
    """The fields of one spec with its defaults filled in; null fields are absent from `values`."""

    origin: Origin
    values: Mapping[str, Any]
    origins: Mapping[str, Origin]

    def origin_of(self, name: str) -> Origin:
        return self.origins.get(name, self.origin)


@dataclass(slots=True)
class DefaultsTree:
    """The Defaults documents of a repository, by folder."""

    _by_folder: dict[str, Document] = field(default_factory=dict)
    _unreadable_folders: set[str] = field(default_factory=set)

    def copy(self) -> DefaultsTree:
        """Return a tree of its own with the same documents."""
        return DefaultsTree(self._by_folder.copy(), self._unreadable_folders.copy())

    def add(self, document: Document) -> Problem | None:
        """Add a Defaults document; return a problem if its folder already has one."""
        folder = dirname(document.file)
        first = self._by_folder.setdefault(folder, document)
        if first is document:
            return None
        message = f"a second Defaults document in one folder; the first is {Origin(first)}"
        message += "; make one of the two"
        return Origin(document).problem("several-defaults", message, Origin(first))

    def add_unreadable(self, file: str) -> None:
        """Record that the defaults of a file's folder are unknown."""
        self._unreadable_folders.add(dirname(file))

    def is_unreadable_for(self, file: str) -> bool:
        """Return whether the defaults that apply to a file are unknown."""
        return bool(self._unreadable_folders) and any(
            folder in self._unreadable_folders for folder in _folders(file)
        )

    def applying_to(self, document: Document) -> tuple[Document, ...]:
        """Return the Defaults documents that apply to a document, the nearest first."""
        if not self._by_folder:
            return ()
        folders = _folders(document.file)
        return tuple(self._by_folder[f] for f in folders if f in self._by_folder)

    def fields_of(self, document: Document, section: str) -> SpecFields:
        """Return the spec of a document with `services` or `directors` defaults filled in."""
        layers = [(Origin(document, ("spec",)), document.data.get("spec") or {})]
        layers += [section_of(defaults, section) for defaults in self.applying_to(document)]
        return _with_defaults(layers)


def section_of(defaults: Document, section: str) -> tuple[Origin, Mapping[str, Any]]:
    """Return the origin and values of `services` or `directors` of a Defaults document."""
    values = defaults.data.get("spec", {}).get(section, {})
    return Origin(defaults, ("spec", section)), values


def fields_of_section(defaults: Document, section: str) -> SpecFields:
    """Return a section of a Defaults document by itself, as if it were a spec."""
    return _with_defaults([section_of(defaults, section)])


def _folders(file: str) -> Iterable[str]:
    """Yield the folder of a file, and those above it up to the chosen path, which is ''."""
    folder = dirname(file)
    while folder:
        yield folder
        folder = dirname(folder)
    yield ""


def _with_defaults(layers: Sequence[tuple[Origin, Mapping[str, Any]]]) -> SpecFields:
    if len(layers) == 1:
        origin, given = layers[0]
        values = {name: value for name, value in given.items() if value is not None}
        return SpecFields(origin, values, {name: origin / name for name in given})
    level_by_field: dict[str, int] = {}
    for level, (_, given) in enumerate(layers):
        for name in given:
            level_by_field.setdefault(name, level)
    for name, companion in _COMPANIONS.items():
        if name in level_by_field and level_by_field[name] > level_by_field.get(
            companion, len(layers)
        ):
            del level_by_field[name]
    return SpecFields(
        layers[0][0],
        {n: layers[i][1][n] for n, i in level_by_field.items() if layers[i][1][n] is not None},
        {n: layers[i][0] / n for n, i in level_by_field.items()},
    )

"""Loads the manifests of one commit: every document read, typed and judged, or every problem.

Reading is done by `yaml_documents`, `schema` and `reading_*`; the rules that no
schema can say are in `rules`; what a director gets is the business of `render`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from gitvs.core.defaults import DefaultsTree
from gitvs.core.model import ManifestFile, Policy
from gitvs.core.placement import Directors, Mask, Placed, Pools, place
from gitvs.core.places import Document
from gitvs.core.problems import InvalidManifests, Problem
from gitvs.core.reading import Reader
from gitvs.core.reading_directors import read_defaults, read_director, read_policy
from gitvs.core.reading_services import read_pool, read_service
from gitvs.core.rules import documents as document_rules
from gitvs.core.rules import owners as owner_rules
from gitvs.core.rules import placement as placement_rules
from gitvs.core.rules import references as reference_rules
from gitvs.core.rules.unread import Unread
from gitvs.core.schema import validate
from gitvs.core.written import Director, Pool, Service, WrittenPolicy
from gitvs.core.yaml_documents import Reading, is_manifest, read_documents

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Manifests:
    """Valid manifests: what was written, and where it belongs."""

    services: Sequence[Service]
    pools: Sequence[Pool]
    placement: Directors
    placed: Sequence[Placed]
    policy: Policy

    @property
    def directors(self) -> tuple[str, ...]:
        """The names of the directors, sorted."""
        return tuple(d.name for d in self.placement.all)

    def placed_on(self, mask: Mask) -> Iterator[Placed]:
        """Yield the services that are on any of the directors, in file order."""
        return (placed for placed in self.placed if placed.mask & mask)


def load(files: Iterable[ManifestFile]) -> Manifests:
    """Return the manifests of these files; those that aren't manifests by name are left out.

    Raises:
        InvalidManifests: with every problem, in file order.
    """
    return Loader().load(files)


_Typed = dict[tuple[Document, ...], tuple[Any, list[Problem]]]
"""What documents say, with the problems of that; by the document and the Defaults above it."""


class Loader:
    """Loads the manifests of one commit after another: what stays is read once.

    It keeps what the files of the last commit said.
    """

    def __init__(self) -> None:
        self._readings: dict[ManifestFile, _FileReading] = {}
        self._typed: _Typed = {}

    def load(self, files: Iterable[ManifestFile]) -> Manifests:
        """Do what `load` does."""
        named = sorted((f for f in files if is_manifest(f.path)), key=lambda f: f.path)
        self._readings = {f: self._readings.get(f) or _read_file(f) for f in named}
        loading = _Loading(self._typed)
        for reading in self._readings.values():
            loading.add(reading)
        loading.type_documents()
        self._typed = loading.typed
        manifests = loading.judge()
        if loading.problems:
            raise InvalidManifests(sorted(set(loading.problems)))
        return manifests


@dataclass(frozen=True, slots=True)
class _FileReading:
    """What one file says by itself: its documents, each with its problems."""

    reading: Reading
    documents: tuple[tuple[Document, tuple[Problem, ...]], ...]


def _read_file(file: ManifestFile) -> _FileReading:
    """Read one file, and hold every document against its schema."""
    reading = read_documents(file)
    return _FileReading(reading, tuple((d, tuple(validate(d))) for d in reading.documents))


@dataclass(slots=True)
class _Loading:
    """Manifests on their way in. A document with problems never costs another its checks."""

    former: _Typed
    typed: _Typed = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unread: Unread = field(default_factory=Unread)
    documents: dict[str, list[Document]] = field(default_factory=dict)
    defaults: DefaultsTree = field(default_factory=DefaultsTree)
    services: list[Service] = field(default_factory=list)
    pools: list[Pool] = field(default_factory=list)
    directors: list[Director] = field(default_factory=list)
    policies: list[WrittenPolicy] = field(default_factory=list)

    def add(self, file: _FileReading) -> None:
        """Take in what one file says."""
        self.problems += file.reading.problems
        self.unread.add_text(file.reading.unread)
        for document, found in file.documents:
            self.problems += found
            if document.is_sound and not found:
                self.documents.setdefault(document.data["kind"], []).append(document)
            else:
                self.unread.add_document(document)
                if _kind(document) == "Defaults":
                    self.defaults.add_broken(document.file)

    def type_documents(self) -> None:
        """Fill the defaults in, and type every document that passed its schema."""
        for document in self.documents.get("Defaults", ()):
            self._type_defaults(document)
        for document in self.documents.get("Pool", ()):
            self.pools.append(self._type(document, read_pool))
        for document in self.documents.get("Policy", ()):
            self.policies.append(self._type(document, read_policy))
        for document in self.documents.get("Director", ()):
            if self._has_defaults(document):
                self.directors.append(self._type(document, self._director))
        for document in self.documents.get("Service", ()):
            if self._has_defaults(document):
                self.services.append(self._type(document, self._service))

    def _type(self, document: Document, read: Callable[[Reader, Document], T]) -> T:
        """Return what a document says, as it was read before if nothing of that has changed."""
        key = (document, *self.defaults.above(document))
        known = self.former.get(key)
        if known is None:
            reader = Reader()
            known = read(reader, document), reader.problems
        self.typed[key] = known
        value, problems = known
        self.problems += problems
        return cast(T, value)

    def _director(self, reader: Reader, document: Document) -> Director:
        return read_director(reader, document, self.defaults.fields_of(document, "directors"))

    def _service(self, reader: Reader, document: Document) -> Service:
        return read_service(reader, document, self.defaults.fields_of(document, "services"))

    def _type_defaults(self, document: Document) -> None:
        problem = self.defaults.add(document)
        if problem is not None:
            self.problems.append(problem)
        self._type(document, read_defaults)

    def _has_defaults(self, document: Document) -> bool:
        """Return whether what a document leaves out is known."""
        if self.defaults.is_broken_for(document.file):
            self.unread.add_document(document)
            return False
        return True

    def judge(self) -> Manifests:
        """Hold everything against the rules; the result is good if that found no problem."""
        directors = Directors(_first_of_each_name(self.directors))
        pools = Pools(self.pools)
        placed = [place(service, directors, pools) for service in self.services]
        policy = self.policies[0] if self.policies else None
        self.problems += reference_rules.problems(
            self.services, self.pools, self.directors, self.policies, directors, self.unread
        )
        self.problems += document_rules.problems(self.services, self.pools, self.directors)
        self.problems += placement_rules.problems(placed, directors, pools)
        if policy is not None:
            self.problems += owner_rules.problems(policy, placed, directors, self.directors)
        limits = Policy() if policy is None else policy.limits
        return Manifests(tuple(self.services), tuple(self.pools), directors, tuple(placed), limits)


def _kind(document: Document) -> object:
    return document.data.get("kind") if isinstance(document.data, dict) else None


def _first_of_each_name(directors: Iterable[Director]) -> list[Director]:
    named: dict[str, Director] = {}
    for director in directors:
        named.setdefault(director.name, director)
    return list(named.values())

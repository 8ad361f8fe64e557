"""Loads the manifests of one commit: every document read, typed and judged, or every problem.

Reading is done by `yaml_documents`, `schema` and `reading_*`; the rules that no
schema can say are in `rules`; what a director gets is the business of `render`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import is_
from typing import Any, TypeVar, cast

from gitvs.core.manifests.defaults import DefaultsTree
from gitvs.core.manifests.parse_directors import read_defaults, read_director, read_policy
from gitvs.core.manifests.parse_services import read_pool, read_service
from gitvs.core.manifests.parse_values import Reader
from gitvs.core.manifests.placement import Directors, Mask, Placed, Pools, place
from gitvs.core.manifests.rules import owners as owner_rules
from gitvs.core.manifests.rules import placement as placement_rules
from gitvs.core.manifests.rules import references as reference_rules
from gitvs.core.manifests.rules import single_documents as document_rules
from gitvs.core.manifests.rules.servers import server_problems
from gitvs.core.manifests.rules.unread import Unread
from gitvs.core.manifests.schema import validate
from gitvs.core.manifests.syntax.source_positions import Document
from gitvs.core.manifests.syntax.yaml_documents import Reading, is_manifest, read_documents
from gitvs.core.manifests.types import Director, Pool, Service, WrittenPolicy
from gitvs.core.model.desired import File, Policy
from gitvs.core.problems import InvalidManifests, Problem

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


def load(files: Iterable[File]) -> Manifests:
    """Return the manifests of these files; those that aren't manifests by name are left out.

    Raises:
        InvalidManifests: with every problem, in file order.
    """
    return Loader().load(files)


@dataclass(frozen=True, slots=True)
class FileReading:
    """What one file says by itself: its documents, each with its problems."""

    reading: Reading
    documents: tuple[tuple[Document, tuple[Problem, ...]], ...]

    @property
    def is_sound(self) -> bool:
        """Whether there is no problem in the file by itself."""
        return not self.reading.problems and not any(found for _, found in self.documents)


def read_file(file: File) -> FileReading:
    """Read one file, and hold every document against its schema."""
    reading = read_documents(file)
    return FileReading(reading, tuple((d, tuple(validate(d))) for d in reading.documents))


class Loader:
    """Loads the manifests of one commit after another: what stays is read and judged once.

    It keeps what the last commit said. `read` may do what `read_file` does in another way.
    """

    def __init__(self, read: Callable[[File], FileReading] = read_file) -> None:
        self._memory = _Memory()
        self._read = read

    def load(self, files: Iterable[File]) -> Manifests:
        """Do what `load` does."""
        loading = _Loading(self._memory, self._read)
        for file in sorted(files, key=lambda f: f.path):
            if is_manifest(file.path):
                loading.read(file)
        loading.type_documents()
        manifests = loading.judge()
        self._memory = loading.memory
        if loading.problems:
            raise InvalidManifests(sorted(set(loading.problems)))
        return manifests


@dataclass(slots=True)
class _Memory:
    """What was found of one commit, each with its problems, by what it was found from.

    Objects are told apart by which they are, not by what they say: those of the key are kept
    in the value, lest another take the place of one in memory.
    """

    files: dict[File, FileReading] = field(default_factory=dict)
    typed: dict[tuple[Document, ...], tuple[Any, tuple[Problem, ...]]] = field(default_factory=dict)
    """By a document, and the Defaults above it."""
    directors: Directors = field(default_factory=lambda: Directors(()))
    placed: dict[tuple[int, ...], tuple[tuple[object, ...], Placed, tuple[Problem, ...]]] = field(
        default_factory=dict
    )
    """By a service and its pools; only for the same directors."""


@dataclass(slots=True)
class _Loading:
    """Manifests on their way in. A document with problems never costs another its checks."""

    former: _Memory
    read_file: Callable[[File], FileReading]
    memory: _Memory = field(default_factory=_Memory)
    problems: list[Problem] = field(default_factory=list)
    unread: Unread = field(default_factory=Unread)
    documents: dict[str, list[Document]] = field(default_factory=dict)
    defaults: DefaultsTree = field(default_factory=DefaultsTree)
    services: list[Service] = field(default_factory=list)
    pools: list[Pool] = field(default_factory=list)
    directors: list[Director] = field(default_factory=list)
    policies: list[WrittenPolicy] = field(default_factory=list)

    def read(self, file: File) -> None:
        """Take in what one file says."""
        known = self.former.files.get(file) or self.read_file(file)
        self.memory.files[file] = known
        self.problems += known.reading.problems
        self.unread.add_text(known.reading.unread)
        for document, found in known.documents:
            self.problems += found
            if document.is_sound and not found:
                self.documents.setdefault(document.kind, []).append(document)
            else:
                self.unread.add_document(document)
                if document.kind == "Defaults":
                    self.defaults.add_broken(document.file)

    def type_documents(self) -> None:
        """Fill the defaults in, and type every document that passed its schema."""
        for document in self.documents.get("Defaults", ()):
            self._type_defaults(document)
        for document in self.documents.get("Pool", ()):
            self.pools.append(self._type(document, read_pool, document_rules.pool_problems))
        for document in self.documents.get("Policy", ()):
            self.policies.append(self._type(document, read_policy))
        for document in self.documents.get("Director", ()):
            if self._has_defaults(document):
                self.directors.append(
                    self._type(document, self._director, document_rules.director_problems)
                )
        for document in self.documents.get("Service", ()):
            if self._has_defaults(document):
                self.services.append(
                    self._type(document, self._service, document_rules.service_problems)
                )

    def _type(
        self,
        document: Document,
        read: Callable[[Reader, Document], T],
        rules: Callable[[T], Iterable[Problem]] = lambda _: (),
    ) -> T:
        """Return what a document says, as it was read before if nothing of that has changed."""
        key = (document, *self.defaults.above(document))
        known = self.former.typed.get(key)
        if known is None:
            reader = Reader()
            typed = read(reader, document)
            known = typed, (*reader.problems, *rules(typed))
        self.memory.typed[key] = known
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
        directors = self._directors()
        pools = Pools(self.pools)
        placed = [self._place(service, directors, pools) for service in self.services]
        policy = self.policies[0] if self.policies else None
        self.problems += reference_rules.problems(
            self.services, self.pools, self.directors, self.policies, directors, self.unread
        )
        self.problems += placement_rules.problems(placed, directors)
        if policy is not None:
            self.problems += owner_rules.problems(policy, placed, directors, self.directors)
        limits = Policy() if policy is None else policy.limits
        return Manifests(tuple(self.services), tuple(self.pools), directors, tuple(placed), limits)

    def _directors(self) -> Directors:
        """Return the directors: as they were, if not one has changed."""
        found, former = Directors(_first_of_each_name(self.directors)), self.former.directors
        is_same = len(found.all) == len(former.all) and all(map(is_, found.all, former.all))
        self.memory.directors = former if is_same else found
        return self.memory.directors

    def _place(self, service: Service, directors: Directors, pools: Pools) -> Placed:
        """Return a service on its directors, as before if neither they nor its pools changed."""
        parts = (service, *(pools.get(reference.name) for reference in service.pools))
        key = tuple(map(id, parts))
        known = self.former.placed.get(key) if directors is self.former.directors else None
        if known is None:
            placed = place(service, directors, pools)
            known = parts, placed, tuple(server_problems(placed, directors, pools))
        self.memory.placed[key] = known
        _, placed, problems = known
        self.problems += problems
        return placed


def _first_of_each_name(directors: Iterable[Director]) -> list[Director]:
    named: dict[str, Director] = {}
    for director in directors:
        named.setdefault(director.name, director)
    return list(named.values())

"""One load in progress: files to documents, documents to types, and every rule over them.

`syntax` and `schema` read and validate documents, `parse_services` and `parse_directors` type
them, `rules` checks what no schema can check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

from gitvs.core.checkpoint import Checkpoint, checked, no_checkpoint
from gitvs.core.manifests.defaults import DefaultsTree
from gitvs.core.manifests.files import File
from gitvs.core.manifests.messages.schema_messages import Suggestions
from gitvs.core.manifests.parse_directors import check_defaults, parse_director, parse_policy
from gitvs.core.manifests.parse_services import parse_pool, parse_service
from gitvs.core.manifests.parse_values import ValueParser
from gitvs.core.manifests.placement import (
    DirectorIndex,
    PlacedService,
    PoolIndex,
    place_service,
    updated_index,
)
from gitvs.core.manifests.rules.all_rules import problems_between_documents
from gitvs.core.manifests.rules.health_checks import health_warnings
from gitvs.core.manifests.rules.object_counts import (
    ObjectCounts,
    count_objects,
    object_count_problems,
)
from gitvs.core.manifests.rules.real_servers import server_problems
from gitvs.core.manifests.rules.single_documents import (
    director_problems,
    pool_problems,
    service_problems,
)
from gitvs.core.manifests.rules.unread_manifests import UnreadManifests
from gitvs.core.manifests.schema import FOLDER_HINT, schema_problems
from gitvs.core.manifests.syntax.sound_part import SoundPart, sound_part
from gitvs.core.manifests.syntax.source_positions import Document
from gitvs.core.manifests.syntax.yaml_documents import ParsedFile, is_manifest, parse_file
from gitvs.core.manifests.types import Director, DirectorSet, ManifestPolicy, Pool, Service
from gitvs.core.model.desired import Policy
from gitvs.core.problems import Problem

T = TypeVar("T")

NO_DIRECTOR = Problem(
    ".",
    0,
    0,
    "",
    "no-director",
    "there is no Director document, so no host uses these manifests, and director"
    " selectors were not checked. This is normal for the folder of one team, but wrong"
    " for the folder that agents follow",
)
"""A warning where manifests are checked, and a problem where they are compared or applied."""


@dataclass(frozen=True, slots=True)
class Manifests:
    """Valid manifests: the typed documents, and the services placed on directors."""

    services: Sequence[Service]
    pools: Sequence[Pool]
    director_index: DirectorIndex
    placed_services: Sequence[PlacedService]
    policy: Policy
    warnings: tuple[Problem, ...] = ()
    """What is allowed, and probably not meant."""

    @property
    def director_names(self) -> tuple[str, ...]:
        """The names of the directors, sorted."""
        return tuple(d.name for d in self.director_index.all)

    def placed_services_on(self, on: DirectorSet) -> Iterator[PlacedService]:
        """Yield the services that are on any of the directors, in file order."""
        return (placed for placed in self.placed_services if placed.directors.meets(on))


@dataclass(frozen=True, slots=True)
class ValidatedFile:
    """One file checked on its own: its documents, each with its schema problems."""

    parsed: ParsedFile
    documents: tuple[tuple[Document, tuple[Problem, ...]], ...]

    @property
    def is_valid(self) -> bool:
        """Whether the file has no syntax or schema problem."""
        return not self.parsed.problems and not any(problems for _, problems in self.documents)


def validate_file(file: File, checkpoint: Checkpoint = no_checkpoint) -> ValidatedFile:
    """Parse one file, and validate every document against its schema."""
    parsed, suggestions = parse_file(file, checkpoint), Suggestions()
    documents = (
        (document, tuple(schema_problems(document, suggestions, checkpoint)))
        for document in checked(parsed.documents, checkpoint)
    )
    return ValidatedFile(parsed, tuple(documents))


Validate = Callable[[File, Checkpoint], ValidatedFile]
"""How a file is validated: `validate_file`, or another implementation of it."""


@dataclass(slots=True)
class LoadCache:
    """The results for one commit with their problems, by what they were computed from.

    Documents, services and pools are compared by identity, not by value. Keys made of `id` have
    the objects in the value: while they are in memory, no other object gets the same `id`.
    """

    files: dict[File, ValidatedFile] = field(default_factory=dict)
    parsed_documents: dict[tuple[Document, ...], tuple[Any, tuple[Problem, ...]]] = field(
        default_factory=dict
    )
    """By a document and the Defaults documents that apply to it."""
    director_index: DirectorIndex = field(default_factory=lambda: DirectorIndex(()))
    placed_services: dict[
        tuple[int, ...], tuple[tuple[object, ...], PlacedService, tuple[Problem, ...]]
    ] = field(default_factory=dict)
    """By the `id` of a service and of its pools; valid only for the same `director_index`."""

    def add(self, other: LoadCache) -> None:
        """Add the results of a load of some files, for the same directors."""
        self.files |= other.files
        self.parsed_documents |= other.parsed_documents
        self.placed_services |= other.placed_services


@dataclass(slots=True)
class LoadRun:
    """One load in progress; all other documents are checked even if one has problems."""

    previous_cache: LoadCache
    validate: Validate
    checkpoint: Checkpoint
    cache: LoadCache = field(default_factory=LoadCache)
    problems: list[Problem] = field(default_factory=list)
    unread: UnreadManifests = field(default_factory=UnreadManifests)
    documents_by_kind: dict[str, list[Document]] = field(default_factory=dict)
    sound_parts: list[SoundPart] = field(default_factory=list)
    """Of documents with schema problems."""
    may_have_more: bool = False
    """Whether a part could not be judged."""
    defaults: DefaultsTree = field(default_factory=DefaultsTree)
    services: list[Service] = field(default_factory=list)
    pools: list[Pool] = field(default_factory=list)
    directors: list[Director] = field(default_factory=list)
    policies: list[ManifestPolicy] = field(default_factory=list)
    counts: ObjectCounts = field(default_factory=ObjectCounts)

    place: tuple[str, Document | None] = ("", None)
    """The file, and the document, that the work is about now."""

    def load(self, files: Iterable[File]) -> Manifests:
        """Read, parse and check everything."""
        for file in checked(sorted(files, key=lambda f: f.path), self.checkpoint):
            if is_manifest(file.path):
                self.add_file(file)
        self.parse_documents()
        return self.check_rules()

    def place_problem(self, rule: str, message: str) -> Problem:
        """Return a problem at the place that the work is about now."""
        file, document = self.place
        if document is not None:
            return document.problem((), rule, message)
        return Problem(file, 1, 1, "", rule, message)

    def add_file(self, file: File) -> None:
        """Add the documents and problems of one file."""
        self.place = file.path, None
        validated = self.previous_cache.files.get(file) or self.validate(file, self.checkpoint)
        self.cache.files[file] = validated
        self.problems += validated.parsed.problems
        self.unread.add_text(validated.parsed.unread_text)
        self.may_have_more |= bool(validated.parsed.unread_text)
        for document, problems in validated.documents:
            self.problems += problems
            if document.is_well_formed and not problems:
                self.documents_by_kind.setdefault(document.kind, []).append(document)
            else:
                self.unread.add_document(document)
                if document.kind == "Defaults":
                    self.defaults.add_unreadable(document.file)
                part = sound_part(document, problems, self._is_sound)
                self.sound_parts += () if part is None else (part,)
                is_foreign = any(p.message.endswith(FOLDER_HINT) for p in problems)
                self.may_have_more |= not (is_foreign or (part and part.lacks_only_items))

    def parse_documents(self) -> None:
        """Fill in the defaults, and parse every document that passed its schema."""
        for document in self.documents_by_kind.get("Defaults", ()):
            self._add_defaults(document)
        for document in self.documents_by_kind.get("Pool", ()):
            self.pools.append(self._parse(document, parse_pool, pool_problems))
        for document in self.documents_by_kind.get("Policy", ()):
            self.policies.append(self._parse(document, parse_policy))
        for document in self.documents_by_kind.get("Director", ()):
            if self._has_defaults(document):
                self.directors.append(
                    self._parse(document, self._parse_director, director_problems)
                )
        for document in self.documents_by_kind.get("Service", ()):
            if self._has_defaults(document):
                self.services.append(self._parse(document, self._parse_service, service_problems))

        for part in self.sound_parts:
            self._parse_sound_part(part)

    def _is_sound(self, document: Document) -> bool:
        """Whether a document can be parsed: the parsers take any name, and need no list."""
        problems = schema_problems(document, checkpoint=self.checkpoint)
        return all(p.pointer in ("/spec", "/metadata/name") or p.rule == "empty" for p in problems)

    def _parse_sound_part(self, part: SoundPart) -> None:
        """Find what else is wrong in a document with schema problems."""
        document = part.document
        if not self._has_defaults(document):
            return
        match document.kind:
            case "Service" if part.lacks_only_items:
                service = self._parse(document, self._parse_service, service_problems)
                self.services.append(replace(service, is_complete=False))
            case "Pool" if part.lacks_only_items:
                pool = self._parse(document, parse_pool, pool_problems)
                self.pools.append(replace(pool, is_complete=False))
            case "Service":
                self._parse(document, self._parse_service)
            case "Pool":
                self._parse(document, parse_pool)
            case "Director":
                self._parse(document, self._parse_director)
            case "Policy":
                self._parse(document, parse_policy)

    def _parse(
        self,
        document: Document,
        parse: Callable[[ValueParser, Document], T],
        check: Callable[[T], Iterable[Problem]] = lambda _: (),
    ) -> T:
        """Return a typed document; cached if neither it nor its defaults have changed."""
        self.place = document.file, document
        self.checkpoint()
        key = (document, *self.defaults.applying_to(document))
        cached = self.previous_cache.parsed_documents.get(key)
        if cached is None:
            parser = ValueParser(self.checkpoint)
            parsed = parse(parser, document)
            cached = parsed, (*parser.problems, *check(parsed))
        self.cache.parsed_documents[key] = cached
        value, problems = cached
        self.problems += problems
        return cast(T, value)

    def _parse_director(self, parser: ValueParser, document: Document) -> Director:
        return parse_director(parser, document, self.defaults.fields_of(document, "directors"))

    def _parse_service(self, parser: ValueParser, document: Document) -> Service:
        return parse_service(parser, document, self.defaults.fields_of(document, "services"))

    def _add_defaults(self, document: Document) -> None:
        problem = self.defaults.add(document)
        if problem is not None:
            self.problems.append(problem)
        self._parse(document, check_defaults)

    def _has_defaults(self, document: Document) -> bool:
        """Return whether the defaults of a document are known; if not, record it as unread."""
        if self.defaults.is_unreadable_for(document.file):
            self.unread.add_document(document)
            self.may_have_more = True
            return False
        return True

    def check_rules(self) -> Manifests:
        """Check all rules; the returned manifests are valid only if there is no problem."""
        directors = updated_index(self.previous_cache.director_index, self.directors)
        self.cache.director_index = directors
        pools = PoolIndex(self.pools)
        self.counts = count_objects(self.services, directors, pools)
        too_many = list(object_count_problems(self.counts, self.services, directors, pools))
        self.problems += too_many
        placed_services = [
            self._place_service(service, directors, pools)
            for service in checked(() if too_many else self.services, self.checkpoint)
        ]
        problems = problems_between_documents(
            self.services,
            self.pools,
            self.directors,
            self.policies,
            placed_services,
            directors,
            self.unread,
            self.checkpoint,
        )
        self.problems += checked(problems, self.checkpoint)
        limits = self.policies[0].limits if self.policies else Policy()
        has_directors = bool(directors.all) or self.unread.may_contain_any("Director")
        warnings = set(health_warnings(placed_services, directors))
        if self.cache.files and not has_directors:
            warnings.add(NO_DIRECTOR)
        return Manifests(
            tuple(self.services),
            tuple(self.pools),
            directors,
            tuple(placed_services),
            limits,
            warnings=tuple(sorted(warnings)),
        )

    def _place_service(
        self, service: Service, directors: DirectorIndex, pools: PoolIndex
    ) -> PlacedService:
        """Return a service on its directors; cached if neither they nor its pools have changed."""
        self.place = service.origin.document.file, service.origin.document
        parts = (service, *(pools.get(reference.name) for reference in service.pools))
        key = tuple(map(id, parts))
        cached = (
            self.previous_cache.placed_services.get(key)
            if directors is self.previous_cache.director_index
            else None
        )
        if cached is None:
            placed = place_service(service, directors, pools)
            cached = parts, placed, tuple(server_problems(placed, directors, pools))
        self.cache.placed_services[key] = cached
        _, placed, problems = cached
        self.problems += problems
        return placed

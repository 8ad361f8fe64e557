"""Loads the manifests of one commit: every document parsed and checked, or every problem.

`syntax` and `schema` read and validate documents, `parse_services` and `parse_directors` type
them, `rules` checks what no schema can check. What a director gets is left to `render`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

from gitvs.core.checkpoint import Checkpoint, TookTooLong, checked, no_checkpoint
from gitvs.core.manifests.defaults import DefaultsTree
from gitvs.core.manifests.files import File
from gitvs.core.manifests.parse_directors import check_defaults, parse_director, parse_policy
from gitvs.core.manifests.parse_services import parse_pool, parse_service
from gitvs.core.manifests.parse_values import ValueParser
from gitvs.core.manifests.placement import (
    DirectorIndex,
    DirectorMask,
    PlacedService,
    PoolIndex,
    place_service,
    updated_index,
)
from gitvs.core.manifests.rules.all_rules import problems_between_documents
from gitvs.core.manifests.rules.claims import ClaimIndex, PlacedClaims, claims_of
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
from gitvs.core.manifests.schema import schema_problems
from gitvs.core.manifests.schema_messages import Suggestions
from gitvs.core.manifests.syntax.source_positions import Document
from gitvs.core.manifests.syntax.yaml_documents import ParsedFile, is_manifest, parse_file
from gitvs.core.manifests.types import Director, ManifestPolicy, Pool, Service
from gitvs.core.model.desired import Policy
from gitvs.core.problems import InvalidManifests, Problem

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Manifests:
    """Valid manifests: the typed documents, and the services placed on directors."""

    services: Sequence[Service]
    pools: Sequence[Pool]
    director_index: DirectorIndex
    placed_services: Sequence[PlacedService]
    policy: Policy

    @property
    def director_names(self) -> tuple[str, ...]:
        """The names of the directors, sorted."""
        return tuple(d.name for d in self.director_index.all)

    def placed_services_on(self, mask: DirectorMask) -> Iterator[PlacedService]:
        """Yield the services that are on any of the directors, in file order."""
        return (placed for placed in self.placed_services if placed.mask & mask)


def load_manifest_files(files: Iterable[File], checkpoint: Checkpoint = no_checkpoint) -> Manifests:
    """Return the manifests of these files; files without a manifest name are ignored.

    Raises:
        InvalidManifests: with every problem, in file order.
    """
    return Loader().load(files, checkpoint)


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


class Loader:
    """Loads the manifests of successive commits; unchanged documents are read and checked once.

    It keeps the results of the last commit that was loaded to its end. `new_checkpoint` makes the
    checkpoint of a load that is not given one.
    """

    def __init__(
        self,
        validate: Validate = validate_file,
        new_checkpoint: Callable[[], Checkpoint] = lambda: no_checkpoint,
    ) -> None:
        self._new_checkpoint = new_checkpoint
        self._cache = _LoadCache()
        self._validate = validate
        self._last: _LastLoad | None = None
        """The last commit, if it was valid."""

    def load(self, files: Iterable[File], checkpoint: Checkpoint | None = None) -> Manifests:
        """Do what `load_manifest_files` does; end it where the checkpoint raises."""
        all_files = list(files)
        checkpoint = checkpoint or self._new_checkpoint()
        changed = None if self._last is None else self._last.changed_files(all_files)
        if self._last is not None and changed is not None:
            run = self._last.run_for_changes(self._validate, checkpoint)
            if self._last.accept(run, self._run(run, changed), changed):
                return self._last.manifests
        run = _LoadRun(self._cache, self._validate, checkpoint)
        manifests = self._run(run, all_files)
        self._cache, self._last = run.cache, None
        if run.problems:
            raise InvalidManifests(sorted(set(run.problems)))
        self._last = _LastLoad(run, manifests, {file.path: file for file in all_files})
        return manifests

    def _run(self, run: _LoadRun, files: Iterable[File]) -> Manifests:
        try:
            return run.load(files)
        except TookTooLong as error:
            raise InvalidManifests([run.place_problem("takes-too-long", str(error))]) from error


@dataclass(slots=True)
class _LoadCache:
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

    def add(self, other: _LoadCache) -> None:
        """Add the results of a load of some files, for the same directors."""
        self.files |= other.files
        self.parsed_documents |= other.parsed_documents
        self.placed_services |= other.placed_services


@dataclass(slots=True)
class _LoadRun:
    """One load in progress; all other documents are checked even if one has problems."""

    previous_cache: _LoadCache
    validate: Validate
    checkpoint: Checkpoint
    cache: _LoadCache = field(default_factory=_LoadCache)
    problems: list[Problem] = field(default_factory=list)
    unread: UnreadManifests = field(default_factory=UnreadManifests)
    documents_by_kind: dict[str, list[Document]] = field(default_factory=dict)
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
        for document, problems in validated.documents:
            self.problems += problems
            if document.is_well_formed and not problems:
                self.documents_by_kind.setdefault(document.kind, []).append(document)
            else:
                self.unread.add_document(document)
                if document.kind == "Defaults":
                    self.defaults.add_unreadable(document.file)

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
        return Manifests(
            tuple(self.services), tuple(self.pools), directors, tuple(placed_services), limits
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


_MAX_PARTIAL_LOADS = 100
"""After so many, everything is loaded, and what no file needs any more is dropped."""


class _LastLoad:
    """The last commit, which was valid, to load one in which only single services differ.

    The rules look at the services that changed, and at what these claim that they did not before:
    8 ms if it is one of 10,000, and 130 ms with all of them.
    """

    def __init__(self, run: _LoadRun, manifests: Manifests, files: dict[str, File]) -> None:
        self.manifests = manifests
        self._run = run
        self._files = files
        self._partial_loads = 0
        self._claims: ClaimIndex | None = None
        self._places: dict[str, list[int]] = {}
        for place, service in enumerate(manifests.services):
            self._places.setdefault(_file_of(service), []).append(place)

    def changed_files(self, files: Sequence[File]) -> list[File] | None:
        """Return the files that changed; None if they are not enough to load."""
        known, by_path = self._files, {file.path: file for file in files}
        if len(by_path) != len(files) or by_path.keys() != known.keys():
            return None
        changed = [f for path, f in by_path.items() if known[path] is not f and known[path] != f]
        former = [self._run.cache.files.get(known[file.path]) for file in changed]
        is_enough = self._partial_loads < _MAX_PARTIAL_LOADS and all(
            document.kind == "Service" for v in former if v for document, _ in v.documents
        )
        return sorted(changed, key=lambda f: f.path) if is_enough else None

    def run_for_changes(self, validate: Validate, checkpoint: Checkpoint) -> _LoadRun:
        """Return a load of changed files that takes all else from this one."""
        run = self._run
        return _LoadRun(
            run.cache,
            validate,
            checkpoint,
            defaults=run.defaults.copy(),
            pools=[*run.pools],
            directors=[*run.directors],
            policies=[*run.policies],
        )

    def accept(self, run: _LoadRun, changed: Manifests, files: Sequence[File]) -> bool:
        """Take over the services of changed files, unless the rules must look at all services."""
        places = [place for file in files for place in self._places.get(file.path, ())]
        before = [self.manifests.placed_services[place] for place in places]
        after, directors = changed.placed_services, self.manifests.director_index
        old_services = [placed.service for placed in before]
        counts = self._run.counts + run.counts
        counts -= count_objects(old_services, directors, PoolIndex(run.pools))
        if (
            run.problems
            or not run.documents_by_kind.keys() <= {"Service"}
            or list(map(_file_of, changed.services)) != list(map(_file_of, old_services))
            or not counts.is_within_limits
            or not self._claim(claims_of(after, directors) - claims_of(before, directors))
        ):
            return False
        placed = [*self.manifests.placed_services]
        for place, each in zip(places, after, strict=True):
            placed[place] = each
        services = tuple([each.service for each in placed])
        self.manifests = replace(self.manifests, services=services, placed_services=tuple(placed))
        self._partial_loads += 1
        self._run.counts = counts
        self._run.cache.add(run.cache)
        self._files |= {file.path: file for file in files}
        return True

    def _claim(self, new: PlacedClaims) -> bool:
        """Add claims; return whether they conflict with no other service for certain."""
        if new and self._claims is None:
            manifests = self.manifests
            self._claims = ClaimIndex(manifests.placed_services, manifests.director_index)
        return self._claims is None or self._claims.add(new)


def _file_of(service: Service) -> str:
    return service.origin.document.file

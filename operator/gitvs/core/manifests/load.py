"""Loads the manifests of one commit: every document parsed and checked, or every problem.

A commit after another reads, checks and compares only what differs (`load_run` does the work of
one load). What a director gets is left to `render`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from gitvs.core.checkpoint import Checkpoint, TookTooLong, no_checkpoint
from gitvs.core.manifests.files import File
from gitvs.core.manifests.load_run import LoadCache, LoadRun, Manifests, Validate, validate_file
from gitvs.core.manifests.placement import (
    PoolIndex,
)
from gitvs.core.manifests.rules.claims import ClaimIndex, PlacedClaims, claims_of
from gitvs.core.manifests.rules.health_checks import health_warnings
from gitvs.core.manifests.rules.object_counts import (
    count_objects,
)
from gitvs.core.manifests.schema import FOLDER_HINT
from gitvs.core.manifests.types import Service
from gitvs.core.problems import InvalidManifests, Problem


def no_manifests_problem(where: str = "") -> Problem:
    """Return the problem of a folder without manifests; `where` names it."""
    place = f" in {where}" if where else ""
    message = f"no manifests (*.yaml, *.yml, *.json){place}; is it the right folder?"
    return Problem(".", 0, 0, "", "no-manifests", message)


def load_manifest_files(files: Iterable[File], checkpoint: Checkpoint = no_checkpoint) -> Manifests:
    """Return the manifests of these files; files without a manifest name are ignored.

    Raises:
        InvalidManifests: with every problem, in file order.
    """
    return Loader().load(files, checkpoint)


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
        self._cache = LoadCache()
        self._validate = validate
        self._last: _LastLoad | None = None
        """The last commit, if it was valid."""

    def load(self, files: Iterable[File], checkpoint: Checkpoint | None = None) -> Manifests:
        """Do what `load_manifest_files` does; end it where the checkpoint raises."""
        all_files = list(files)
        checkpoint = checkpoint or self._new_checkpoint()
        changed = None if self._last is None else self._last.changed_files(all_files)
        if self._last is not None and changed is not None:
            last, self._last = self._last, None  # what fails half-way is no base for the next
            run = last.run_for_changes(self._validate, checkpoint)
            if last.accept(run, self._run(run, changed), changed):
                self._last = last
                return last.manifests
        run = LoadRun(self._cache, self._validate, checkpoint)
        manifests = self._run(run, all_files)
        if not run.cache.files:
            run.problems.append(no_manifests_problem())
        self._cache, self._last = run.cache, None
        if run.problems:
            problems = _with_one_folder_hint(sorted(set(run.problems)))
            raise InvalidManifests(problems, run.may_have_more, manifests.warnings)
        self._last = _LastLoad(run, manifests, {file.path: file for file in all_files})
        return manifests

    def _run(self, run: LoadRun, files: Iterable[File]) -> Manifests:
        try:
            return run.load(files)
        except TookTooLong as error:
            raise InvalidManifests([run.place_problem("takes-too-long", str(error))]) from error


def _with_one_folder_hint(problems: Iterable[Problem]) -> list[Problem]:
    """Return problems of which only the first says that the folder may be the wrong one."""
    result, is_said = [], False
    for problem in problems:
        has_hint = problem.message.endswith(FOLDER_HINT)
        message = problem.message.removesuffix(f" {FOLDER_HINT}") if is_said else problem.message
        result.append(replace(problem, message=message))
        is_said |= has_hint
    return result


_MAX_PARTIAL_LOADS = 100
"""After so many, everything is loaded, and what no file needs any more is dropped."""


class _LastLoad:
    """The last commit, which was valid, to load one in which only single services differ.

    The rules look at the services that changed, and at what these claim that they did not before:
    8 ms if it is one of 10,000, and 130 ms with all of them.
    """

    def __init__(self, run: LoadRun, manifests: Manifests, files: dict[str, File]) -> None:
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

    def run_for_changes(self, validate: Validate, checkpoint: Checkpoint) -> LoadRun:
        """Return a load of changed files that takes all else from this one."""
        run = self._run
        return LoadRun(
            run.cache,
            validate,
            checkpoint,
            defaults=run.defaults.copy(),
            pools=[*run.pools],
            directors=[*run.directors],
            policies=[*run.policies],
        )

    def accept(self, run: LoadRun, changed: Manifests, files: Sequence[File]) -> bool:
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
        gone, new = (set(health_warnings(each, directors)) for each in (before, after))
        self.manifests = replace(
            self.manifests,
            services=services,
            placed_services=tuple(placed),
            warnings=tuple(sorted({*self.manifests.warnings} - gone | new)),
        )
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

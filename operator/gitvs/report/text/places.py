"""Places in manifests: from the repository's root, and as links where a forge is known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

from gitvs.core.model.desired import ManifestLocation
from gitvs.core.planning.gates import UNKNOWN_GATE_RULE
from gitvs.core.problems import Problem

_HOST_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?"
_SEGMENT = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]+"
"""A part of a path; `.` and `..` would lead to another project."""
_SERVER_URL = re.compile(rf"https?://{_HOST_NAME}(?::(?P<port>[0-9]{{1,5}}))?(?:/{_SEGMENT})*")
_REPOSITORY = re.compile(rf"{_SEGMENT}/{_SEGMENT}")
_COMMIT_ID = re.compile(r"[0-9a-f]{40,64}")


@dataclass(frozen=True, slots=True)
class Forge:
    """A project on a forge: the URL of its commits and files, and what the CI job is about."""

    project_url: str
    """It ends with `/`; GitLab's has `-/` at its end."""
    commit_id: str = ""

    def commit_url(self, commit_id: str) -> str:
        """Return the page of a commit."""
        return f"{self.project_url}commit/{commit_id}"

    def line_url(self, commit_id: str, path: str, line: int) -> str:
        """Return the page of a line; `path` is from the repository's root."""
        name = quote(path, safe="/-._~", errors="surrogateescape")
        return f"{self.project_url}blob/{commit_id}/{name}#L{line}"


def forge_of(environment: Mapping[str, str]) -> Forge | None:
    """Return the forge that the variables of a CI job name; None if they name none.

    Source: GitHub Docs, "Variables reference"; GitLab Docs, "Predefined CI/CD variables".
    """
    server = environment.get("GITHUB_SERVER_URL", "").rstrip("/")
    repository = environment.get("GITHUB_REPOSITORY", "")
    if _is_server_url(server) and _REPOSITORY.fullmatch(repository):
        return Forge(f"{server}/{repository}/", _commit_id(environment.get("GITHUB_SHA", "")))
    project = environment.get("CI_PROJECT_URL", "").rstrip("/")
    if _is_server_url(project):
        return Forge(f"{project}/-/", _commit_id(environment.get("CI_COMMIT_SHA", "")))
    return None


def _is_server_url(text: str) -> bool:
    """Whether a text is the plain URL of a server or of a folder on it."""
    match = _SERVER_URL.fullmatch(text)
    return match is not None and 0 < int(match["port"] or 443) < 65536


def _commit_id(text: str) -> str:
    return text if _COMMIT_ID.fullmatch(text) else ""


@dataclass(frozen=True, slots=True)
class Places:
    """How places are written; `folder` is the chosen folder in the repository.

    `commit_id` is the commit that is linked to; without it and a forge, nothing is.
    """

    folder: str = ""
    forge: Forge | None = None
    commit_id: str = ""

    def path(self, file: str) -> str:
        """Return the path of a file of the chosen folder from the repository's root."""
        prefix = self.folder.strip("/")
        return f"{prefix}/{file}" if prefix else file

    def location(self, location: ManifestLocation) -> ManifestLocation:
        """Return a location with its path from the repository's root."""
        return replace(location, file=self.path(location.file))

    def problem(self, problem: Problem) -> Problem:
        """Return a problem with its paths from the root; one of no file stays as it is."""
        if not _is_in_file(problem):
            return problem
        return replace(problem, file=self.path(problem.file), message=self.message(problem))

    def message(self, problem: Problem) -> str:
        """Return the message of a problem, in which places are from the root, too."""
        if not problem.named_places or not self.folder:
            return problem.message
        names = "|".join(map(re.escape, problem.named_places))
        return re.sub(
            rf"(?<![\w./-])(?:{names})(?![0-9])",
            lambda found: self.path(found[0]),
            problem.message,
        )

    def line_url(self, file: str, line: int) -> str:
        """Return the page of a line of a file of the chosen folder; empty if there is none."""
        if self.forge is None or not self.commit_id:
            return ""
        return self.forge.line_url(self.commit_id, self.path(file), line)

    def problem_url(self, problem: Problem) -> str:
        """Return the page of a problem's line; empty if there is none."""
        return self.line_url(problem.file, problem.line) if _is_in_file(problem) else ""

    def commit_url(self, commit_id: str | None) -> str:
        """Return the page of a commit; empty if there is none."""
        return "" if self.forge is None or not commit_id else self.forge.commit_url(commit_id)


NO_PLACES = Places()
"""Places in the chosen folder, without links."""


def _is_in_file(problem: Problem) -> bool:
    return bool(problem.line) and problem.rule != UNKNOWN_GATE_RULE

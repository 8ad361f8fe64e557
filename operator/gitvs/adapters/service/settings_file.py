"""The agent's settings: a TOML file, validated by its schema, into typed values.

What a setting does is the business of who uses it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from gitvs.core.durations import seconds_of
from gitvs.core.errors import SettingsError
from gitvs.core.manifests.schema import schema_for
from gitvs.core.manifests.schema_messages import explained
from gitvs.core.manifests.syntax.source_positions import Document, Place, Written
from gitvs.core.problems import Problem
from gitvs.core.remote_url import UnusableUrl, protocol_of
from gitvs.core.settings import (
    DEFAULT_STATE_DIR,
    KEPT_PLANS,
    KEPT_TRANSACTIONS,
    GpgSignatures,
    MetricsSettings,
    RemoteSettings,
    Settings,
    SshSignatures,
)

_TABLE = re.compile(r"\s*\[\s*(?P<name>[^\[\]]+?)\s*\]\s*(#.*)?")
_ASSIGNMENT = re.compile(r"\s*(?P<name>[\w.\"'-]+(?:\s*\.\s*[\w\"'-]+)*)\s*=")
_POSITION = re.compile(r"(?P<text>.*) \(at line (?P<line>\d+), column (?P<column>\d+)\)")


def load_settings(file: Path) -> Settings:
    """Read a settings file.

    Raises:
        SettingsError: it cannot be read, or has problems: all of them, with their lines.
    """
    try:
        text = file.read_bytes().decode()
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: byte {error.start} is not UTF-8; save it as UTF-8") from error
    document = Document(str(file), Written(_parsed(file, text), _places(text)))
    problems = _problems(document)
    if problems:
        raise SettingsError("\n".join(_line(problem) for problem in sorted(problems)))
    return _settings(document.data)


def _parsed(file: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = _POSITION.fullmatch(str(error))
        where, what = (f":{match['line']}", match["text"]) if match else ("", str(error))
        raise SettingsError(f"{file}{where}: not TOML: {what}") from error


def _problems(document: Document) -> list[Problem]:
    validator = Draft202012Validator(schema_for("settings"))
    errors = validator.iter_errors(document.data)
    problems = [problem for error in errors for problem in explained(document, error)]
    return problems or [*_url_problems(document), *_listen_problems(document)]


def _url_problems(document: Document) -> list[Problem]:
    """Find what no schema can say of a URL."""
    source = document.data["source"]
    if "url" not in source:
        return []
    try:
        protocol = protocol_of(source["url"])
    except UnusableUrl as error:
        return [document.problem(("source", "url"), "bad-url", f"source.url: {error}")]
    if protocol == "file" and not source.get("allow_local", False):
        message = "source.url: a remote on this host needs allow_local = true beside it"
        return [document.problem(("source", "url"), "bad-url", message)]
    return []


def _listen_problems(document: Document) -> list[Problem]:
    """Find what no schema can say of an address."""
    metrics = _metrics(document.data)
    try:
        is_usable = not metrics.listen or metrics.address[1] > 0
    except ValueError:
        is_usable = False
    if is_usable:
        return []
    message = (
        f'metrics.listen: "{metrics.listen}" is not an address and a port,'
        ' such as 127.0.0.1:9712 or [::1]:9712; "" serves no metrics'
    )
    return [document.problem(("metrics", "listen"), "bad-address", message)]


def _line(problem: Problem) -> str:
    return f"{problem.file}:{problem.line}: {problem.message}"


def _settings(data: Mapping[str, Any]) -> Settings:
    history = data.get("history", {})
    return Settings(
        _source(data["source"]),
        data.get("director"),
        Path(data.get("state_dir", DEFAULT_STATE_DIR)),
        history.get("transactions", KEPT_TRANSACTIONS),
        history.get("plans", KEPT_PLANS),
        seconds_of(data.get("agent", {}).get("drift", "60s")),
        seconds_of(data.get("restore", {}).get("max_downtime", "24h")),
        metrics=_metrics(data),
    )


def _metrics(data: Mapping[str, Any]) -> MetricsSettings:
    return MetricsSettings(**data.get("metrics", {}))


def _source(data: Mapping[str, Any]) -> RemoteSettings | Path:
    if "directory" in data:
        return Path(data["directory"])
    given: dict[str, Any] = {
        name: data[name] for name in ("url", "branch", "path", "allow_local") if name in data
    }
    for name in ("ssh_key", "known_hosts", "credentials_file", "ca_file"):
        if name in data:
            given[name] = Path(data[name])
    for name in ("timeout", "poll"):
        if name in data:
            given[f"{name}_seconds"] = seconds_of(data[name])
    return RemoteSettings(**given, signatures=_signatures(data))


def _signatures(data: Mapping[str, Any]) -> SshSignatures | GpgSignatures | None:
    match data.get("signatures", "none"):
        case "ssh":
            revoked = data.get("revoked_keys")
            return SshSignatures(
                Path(data["allowed_signers"]), None if revoked is None else Path(revoked)
            )
        case "gpg":
            fingerprints = (text.replace(" ", "").upper() for text in data["gpg_fingerprints"])
            return GpgSignatures(Path(data["gpg_keys"]), frozenset(fingerprints))
    return None


def _places(text: str) -> Place:
    """Return where each field is written, as far as its line tells; others are at their table."""
    root = Place(1, 1)
    table = root
    for number, line in enumerate(text.splitlines(), 1):
        header = _TABLE.fullmatch(line)
        assignment = _ASSIGNMENT.match(line)
        if header is not None:
            table = _place(root, header["name"], number)
        elif assignment is not None:
            _place(table, assignment["name"], number)
    return root


def _place(parent: Place, dotted: str, line: int) -> Place:
    """Return the place of a dotted name below `parent`, made at `line` where it is new."""
    place = parent
    for name in dotted.split("."):
        bare = name.strip().strip("\"'")
        place = place.children.setdefault(bare, Place(line, 1, line, 1))
    return place

"""The agent's settings: a TOML file, validated by its schema, into typed values.

What a setting does is the business of who uses it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from gitvs.adapters.locations import DEFAULT_STATE_DIR
from gitvs.adapters.remote_url import UnusableUrl, protocol_of
from gitvs.adapters.store import KEPT_PLANS, KEPT_TRANSACTIONS
from gitvs.core.durations import seconds_of
from gitvs.core.errors import SettingsError
from gitvs.core.explain import explained
from gitvs.core.places import Document, Place, Written
from gitvs.core.problems import Problem
from gitvs.core.schema import schema_for

_TABLE = re.compile(r"\s*\[\s*(?P<name>[^\[\]]+?)\s*\]\s*(#.*)?")
_ASSIGNMENT = re.compile(r"\s*(?P<name>[\w.\"'-]+(?:\s*\.\s*[\w\"'-]+)*)\s*=")
_POSITION = re.compile(r"(?P<text>.*) \(at line (?P<line>\d+), column (?P<column>\d+)\)")


@dataclass(frozen=True, slots=True)
class SshSignatures:
    """Commits are signed with an SSH key of a file (ssh-keygen(1), ALLOWED SIGNERS)."""

    allowed_signers: Path
    revoked_keys: Path | None = None


@dataclass(frozen=True, slots=True)
class GpgSignatures:
    """Commits are signed with an OpenPGP key of a file whose fingerprint is listed, too."""

    keys: Path
    fingerprints: frozenset[str]


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """A Git remote, and how to get at it."""

    url: str
    branch: str = "main"
    path: str = "."
    timeout_seconds: float = 60.0
    poll_seconds: float = 30.0
    allow_local: bool = False
    ssh_key: Path | None = None
    known_hosts: Path | None = None
    credentials_file: Path | None = None
    ca_file: Path | None = None
    signatures: SshSignatures | GpgSignatures | None = None


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Where metrics are served (nowhere if empty), and of how many real servers one by one."""

    listen: str = "127.0.0.1:9712"
    real_servers: int = 1000

    @property
    def address(self) -> tuple[str, int]:
        """Return the address and the port of `listen`.

        Raises:
            ValueError: it is not that.
        """
        host, _, port = self.listen.rpartition(":")
        is_ipv6 = host.startswith("[") and host.endswith("]")
        address = IPv6Address(host[1:-1]) if is_ipv6 else IPv4Address(host)
        if not (port.isdecimal() and int(port) < 2**16):
            raise ValueError(f"{port} is no port")
        return str(address), int(port)


@dataclass(frozen=True, slots=True)
class Settings:
    """What one settings file says. `source` is a remote, or a folder of this host."""

    source: RemoteSettings | Path
    director: str | None = None
    state_dir: Path = DEFAULT_STATE_DIR
    kept_transactions: int = KEPT_TRANSACTIONS
    kept_plans: int = KEPT_PLANS
    drift_seconds: float = 60.0
    max_downtime_seconds: float = 24 * 3600.0
    metrics: MetricsSettings = MetricsSettings()


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

"""Reads the agent's settings: a TOML file, validated by its schema, as typed values.

What a setting does is left to the module that uses it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gitvs.core.durations import parse_seconds
from gitvs.core.errors import SettingsError
from gitvs.core.manifests.schema import violations
from gitvs.core.manifests.syntax.source_positions import Document, ParsedContent, SourcePosition
from gitvs.core.problems import Problem, printable
from gitvs.core.remote_url import UnusableUrl, protocol_of
from gitvs.core.settings import (
    DEFAULT_STATE_DIR,
    KEPT_PLANS,
    KEPT_TRANSACTIONS,
    GpgSignatures,
    HookSettings,
    MetricsSettings,
    RemoteSettings,
    Settings,
    SshSignatures,
    listen_address,
)

MAX_SETTINGS_BYTES = 1024 * 1024

_TABLE = re.compile(r"\s*\[\s*(?P<name>[^\[\]]+?)\s*\]\s*(#.*)?")
_ASSIGNMENT = re.compile(r"\s*(?P<name>[\w.\"'-]+(?:\s*\.\s*[\w\"'-]+)*)\s*=")
_TOML_ERROR = re.compile(r"(?P<text>.*) \(at line (?P<line>[0-9]+), column (?P<column>[0-9]+)\)")

_MAX_DURATIONS = {
    ("source", "timeout"): "24h",
    ("source", "poll"): "8760h",
    ("agent", "drift"): "8760h",
    ("restore", "max_downtime"): "87600h",
}
"""The longest values of durations: longer ones do not fit into what they are used for."""

_PROTOCOL_OF_SETTING = {
    "ssh_key": "ssh",
    "known_hosts": "ssh",
    "credentials_file": "https",
    "ca_file": "https",
}


def load_settings(file: Path) -> Settings:
    """Read a settings file.

    Raises:
        SettingsError: it cannot be read, or has problems; all of them are listed with their
            lines.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_SETTINGS_BYTES + 1)
        text = data.decode()
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: byte {error.start} is not UTF-8; save it as UTF-8") from error
    if len(data) > MAX_SETTINGS_BYTES:
        raise SettingsError(f"{file} is not a settings file: it is larger than 1 MiB")
    parsed = Document(str(file), ParsedContent(_parse_toml(file, text), _positions(text)))
    problems = _problems(parsed)
    if problems:
        raise SettingsError("\n".join(_problem_line(problem) for problem in sorted(problems)))
    return _settings_from(parsed.data)


def _parse_toml(file: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = _TOML_ERROR.fullmatch(str(error))
        where, what = (f":{match['line']}", match["text"]) if match else ("", str(error))
        raise SettingsError(f"{file}{where}: not TOML: {what}") from error


def _problems(parsed: Document) -> list[Problem]:
    problems = [*violations(parsed, "settings"), *_unprintable_problems(parsed, parsed.data, ())]
    return problems or [
        *_url_problems(parsed),
        *_listen_problems(parsed),
        *_hook_problems(parsed),
        *_duration_problems(parsed),
    ]


def _unprintable_problems(
    parsed: Document, value: object, place: tuple[str | int, ...]
) -> Iterator[Problem]:
    """Find texts with control characters and the like, which no setting can mean."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _unprintable_problems(parsed, item, (*place, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _unprintable_problems(parsed, item, (*place, number))
    elif isinstance(value, str) and not value.isprintable():
        name = printable(".".join(map(str, place)))
        message = f'{name}: "{printable(value)}" has a control character or an odd space'
        yield parsed.problem(place, "unprintable", message)


def _duration_problems(parsed: Document) -> Iterator[Problem]:
    for (table, name), longest in _MAX_DURATIONS.items():
        text = parsed.data.get(table, {}).get(name)
        if text is not None and parse_seconds(text) > parse_seconds(longest):
            message = f"{table}.{name}: {text} is too long; {longest} is the longest"
            yield parsed.problem((table, name), "out-of-range", message)


def _url_problems(parsed: Document) -> list[Problem]:
    """Find problems of the URL, and of what has to go with it, that a schema cannot express."""
    source_table = parsed.data["source"]
    if "url" not in source_table:
        return []
    try:
        protocol = protocol_of(source_table["url"])
    except UnusableUrl as error:
        return [parsed.problem(("source", "url"), "bad-url", f"source.url: {error}")]
    problems = [
        parsed.problem(
            ("source", name),
            "of-another-protocol",
            f"source.{name}: it is for {wanted}, and source.url is {protocol}; remove"
            f" it, or use an {wanted}:// url",
        )
        for name, wanted in _PROTOCOL_OF_SETTING.items()
        if name in source_table and protocol not in (wanted, "file")
    ]
    branch = source_table.get("branch", "")
    if branch.startswith("refs/"):
        name = branch.removeprefix("refs/heads/")
        message = f'source.branch: "{branch}" is a full ref; give the branch\'s name'
        if name != branch:
            message += f', branch = "{name}"'
        problems.append(parsed.problem(("source", "branch"), "bad-branch", message))
    if protocol == "file" and not source_table.get("allow_local", False):
        message = "source.url: a remote on this host needs allow_local = true beside it"
        problems.append(parsed.problem(("source", "url"), "bad-url", message))
    return problems


def _listen_problems(parsed: Document) -> Iterator[Problem]:
    """Find problems of addresses to listen on that a schema cannot express."""
    for table, example_port in (("metrics", 9712), ("hook", 9713)):
        listen = parsed.data.get(table, {}).get("listen", "")
        if listen and not _is_usable_address(listen):
            message = (
                f'{table}.listen: "{listen}" is not an address and a port, such as'
                f' 127.0.0.1:{example_port} or [::1]:{example_port}; "" serves no {table}'
            )
            yield parsed.problem((table, "listen"), "bad-address", message)


def _is_usable_address(listen: str) -> bool:
    try:
        return listen_address(listen)[1] > 0
    except ValueError:
        return False


def _hook_problems(parsed: Document) -> Iterator[Problem]:
    """Find a hook that could prove nothing, or start no fetch."""
    hook = parsed.data.get("hook", {})
    if not hook.get("listen"):
        return
    if "secret_file" not in hook:
        message = (
            "hook.listen: hook.secret_file is missing; without a secret, no push can be proved"
        )
        yield parsed.problem(("hook", "listen"), "missing", message)
    if "url" not in parsed.data["source"]:
        message = "hook.listen: a hook starts a fetch, and source.directory is never fetched"
        yield parsed.problem(("hook", "listen"), "useless", message)


def _problem_line(problem: Problem) -> str:
    return f"{problem.file}:{problem.line}: {problem.message}"


def _settings_from(data: Mapping[str, Any]) -> Settings:
    history = data.get("history", {})
    return Settings(
        _source_settings(data["source"]),
        data.get("director"),
        Path(data.get("state_dir", DEFAULT_STATE_DIR)),
        history.get("transactions", KEPT_TRANSACTIONS),
        history.get("plans", KEPT_PLANS),
        parse_seconds(data.get("agent", {}).get("drift", "60s")),
        parse_seconds(data.get("restore", {}).get("max_downtime", "24h")),
        metrics=MetricsSettings(**data.get("metrics", {})),
        hook=_hook_settings(data.get("hook", {})),
    )


def _hook_settings(data: Mapping[str, Any]) -> HookSettings:
    return HookSettings(data.get("listen", ""), Path(data.get("secret_file", "")))


def _source_settings(data: Mapping[str, Any]) -> RemoteSettings | Path:
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
            given[f"{name}_seconds"] = parse_seconds(data[name])
    return RemoteSettings(**given, signatures=_signature_policy(data))


def _signature_policy(data: Mapping[str, Any]) -> SshSignatures | GpgSignatures | None:
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


def _positions(text: str) -> SourcePosition:
    """Return the position of each field that starts a line; other fields have their table's."""
    root = SourcePosition(1, 1)
    table = root
    for number, line in enumerate(text.splitlines(), 1):
        header = _TABLE.fullmatch(line)
        assignment = _ASSIGNMENT.match(line)
        if header is not None:
            table = _add_position(root, header["name"], number)
        elif assignment is not None:
            _add_position(table, assignment["name"], number)
    return root


def _add_position(parent: SourcePosition, dotted: str, line: int) -> SourcePosition:
    """Return the position of a dotted name below `parent`; a new name is at `line`."""
    position = parent
    for name in dotted.split("."):
        unquoted = name.strip().strip("\"'")
        position = position.children.setdefault(unquoted, SourcePosition(line, 1, line, 1))
    return position

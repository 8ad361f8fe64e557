"""Parses commit objects.

Anyone may have written a commit, with any tool, so malformed text never raises an error.
"""

from __future__ import annotations

import codecs
import re
from datetime import UTC, datetime

from gitvs.core.model.history import Commit

_PERSON_AND_TIME = re.compile(r"(?P<who>.*) (?P<seconds>-?[0-9]{1,20}) [+-][0-9]+", re.DOTALL)
_PARENT = re.compile(rb"^parent ([0-9a-f]+)$", re.MULTILINE)
MAX_MESSAGE_BYTES = 64 * 1024
"""How much of a message is read; nobody writes that much, and a history may have thousands."""

_CODECS_NOT_FOR_TEXT = frozenset(
    {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"}
)
"""Codecs of Python to avoid: some fail, some take hours, some add lines that no one sees."""


def parse_commit(commit_id: str, data: bytes) -> Commit:
    """Return a commit's id, author, subject and time."""
    headers = _parse_headers(data)
    author = _PERSON_AND_TIME.fullmatch(headers.get("author", ""))
    committer = _PERSON_AND_TIME.fullmatch(headers.get("committer", ""))
    message = parse_message(data).replace("\r\n", "\n").strip()
    subject = " ".join(message.partition("\n\n")[0].split("\n"))
    return Commit(
        commit_id,
        author["who"] if author else "",
        subject,
        _utc_time(int(committer["seconds"])) if committer else None,
    )


def parent_ids(data: bytes) -> list[str]:
    """Return the ids of a commit's parents."""
    return [match.decode() for match in _PARENT.findall(data.partition(b"\n\n")[0])]


def parse_message(data: bytes) -> str:
    """Return the beginning of a commit's message, up to a null character, as Git shows it."""
    start = data.partition(b"\n\n")[2][:MAX_MESSAGE_BYTES]
    return _decode(data, start.partition(b"\0")[0])


def _parse_headers(data: bytes) -> dict[str, str]:
    """Return a commit's headers, without continuation lines; if one is repeated, the first."""
    headers: dict[str, str] = {}
    for line in _decode(data, data.partition(b"\n\n")[0]).split("\n"):
        name, _, value = line.partition(" ")
        headers.setdefault(name, value)
    return headers


def _decode(data: bytes, part: bytes) -> str:
    """Decode a part of a commit with the encoding that its header names, or else as UTF-8."""
    match = re.search(rb"^encoding ([^\s\0]+)$", data.partition(b"\n\n")[0], re.MULTILINE)
    encoding = match[1].decode("ascii", "replace") if match else "utf-8"
    try:
        if codecs.lookup(encoding).name not in _CODECS_NOT_FOR_TEXT:
            return part.decode(encoding, "replace")
    except LookupError:
        pass
    return part.decode("utf-8", "replace")


def _utc_time(seconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return None

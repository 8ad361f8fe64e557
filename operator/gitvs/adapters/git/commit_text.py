"""Reads the text of a commit object. Anybody may have written it, with any tool: nothing fails."""

from __future__ import annotations

import codecs
import re
from datetime import UTC, datetime

from gitvs.core.model.history import Commit

_PERSON = re.compile(r"(?P<who>.*) (?P<seconds>-?[0-9]{1,20}) [+-][0-9]+", re.DOTALL)
_NO_CHARACTER_SETS = frozenset(
    {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"}
)
"""What Python can decode too: some fail, some take hours, some make up lines that no one sees."""


def commit_from(commit_id: str, data: bytes) -> Commit:
    """Return a commit as people need it."""
    headers = _headers(data)
    author = _PERSON.fullmatch(headers.get("author", ""))
    committer = _PERSON.fullmatch(headers.get("committer", ""))
    message = message_of(data).replace("\r\n", "\n").strip()
    subject = " ".join(message.partition("\n\n")[0].split("\n"))
    return Commit(
        commit_id,
        author["who"] if author else "",
        subject,
        _time(int(committer["seconds"])) if committer else None,
    )


def message_of(data: bytes) -> str:
    """Return the message of a commit, as far as Git shows it: to the first null character."""
    return _text(data, data.partition(b"\n\n")[2].partition(b"\0")[0])


def _headers(data: bytes) -> dict[str, str]:
    """Return a commit's headers; of a repeated one, the first. Continued lines are left out."""
    headers: dict[str, str] = {}
    for line in _text(data, data.partition(b"\n\n")[0]).split("\n"):
        name, _, value = line.partition(" ")
        headers.setdefault(name, value)
    return headers


def _text(data: bytes, part: bytes) -> str:
    """Decode a part of a commit as the commit says, or as well as possible."""
    match = re.search(rb"^encoding ([^\s\0]+)$", data.partition(b"\n\n")[0], re.MULTILINE)
    encoding = match[1].decode("ascii", "replace") if match else "utf-8"
    try:
        if codecs.lookup(encoding).name not in _NO_CHARACTER_SETS:
            return part.decode(encoding, "replace")
    except LookupError:
        pass
    return part.decode("utf-8", "replace")


def _time(seconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return None

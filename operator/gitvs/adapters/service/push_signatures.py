"""Whether a request proves that its sender knows the hook's secret, as forges and CI jobs do.

A proven request only starts a fetch. So one that is old or repeated is as good as a new one:
neither its time nor its number is checked, and a clock that is wrong does no harm.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import stat
from collections.abc import Callable, Mapping
from email.message import Message
from enum import StrEnum
from pathlib import Path

from gitvs.core.errors import SettingsError

MIN_SECRET_BYTES = 16
MAX_SECRET_BYTES = 4096

_STANDARD_PREFIX = b"whsec_"
_EVENT_HEADERS = ("X-Forgejo-Event", "X-Gitea-Event", "X-GitHub-Event", "X-Gitlab-Event")
_PUSH_EVENTS = ("push", "Push Hook")


class Proof(StrEnum):
    """What a request proves."""

    MISSING = "missing"
    WRONG = "wrong"
    GIVEN = "given"


class Event(StrEnum):
    """What a forge says has happened; a request that names no event announces a push."""

    PUSH = "push"
    PING = "ping"
    OTHER = "other"


def proof_of(headers: Message, body: bytes, secret: bytes) -> Proof:
    """Return whether a request is signed with the secret, in any of the known ways.

    Some forges sign in several ways at once. One that fits is enough: each takes the secret.
    """
    results = [
        is_right(_value(headers, header), headers, body, secret)
        for header, is_right in _SIGNATURE_HEADERS.items()
        if header in headers
    ]
    if not results:
        return Proof.MISSING
    return Proof.GIVEN if any(results) else Proof.WRONG


def event_of(headers: Message) -> Event:
    """Return what a request announces."""
    name = next((_value(headers, h) for h in _EVENT_HEADERS if h in headers), "push")
    if name in _PUSH_EVENTS:
        return Event.PUSH
    return Event.PING if name == "ping" else Event.OTHER


def read_secret(file: Path) -> bytes:
    """Read the secret; white space around it does not count.

    Raises:
        SettingsError: there is no usable secret, or others could read it.
    """
    try:
        # Without O_NONBLOCK, a named pipe in its place would hold up the agent.
        with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            data = opened.read(MAX_SECRET_BYTES + 1) if stat.S_ISREG(mode) else b""
    except OSError as error:
        raise _secret_error(file, f"cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise _secret_error(file, "is not a regular file")
    if mode & 0o007:
        raise _secret_error(
            file, f"may be used by every user of this host (mode {mode & 0o777:04o})"
        )
    secret = data.strip()
    if len(secret) < MIN_SECRET_BYTES:
        what = f"has {len(secret)} bytes; {MIN_SECRET_BYTES} are the fewest"
        raise _secret_error(file, what if secret else "is empty")
    if len(data) > MAX_SECRET_BYTES or len(secret.splitlines()) > 1:
        raise _secret_error(file, f"has more than one line, or over {MAX_SECRET_BYTES} bytes")
    return secret


def _secret_error(file: Path, what: str) -> SettingsError:
    return SettingsError(
        f"hook.secret_file: {file} {what}. No push is accepted until it holds one secret that"
        f" only root and the agent can read: `chgrp gitvs {file}; chmod 640 {file}`"
    )


def _value(headers: Message, name: str) -> str:
    return str(headers.get(name, ""))


def _sent(text: str) -> bytes:
    """Return the bytes of a header, which Python reads as Latin-1."""
    return text.encode("latin-1", "replace")


def _is_equal(given: str, expected: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(_sent(given), expected)


def _is_body_signed(value: str, _headers: Message, body: bytes, secret: bytes) -> bool:
    """Source: GitHub, Validating webhook deliveries; Gitea, Webhooks; Forgejo, Webhooks."""
    digest = hmac.digest(secret, body, "sha256").hex()
    return _is_equal(value.removeprefix("sha256="), digest.encode())


def _is_secret(value: str, _headers: Message, _body: bytes, secret: bytes) -> bool:
    """Source: GitLab, Webhooks, secret token."""
    return _is_equal(value, secret)


def _is_bearer_token(value: str, _headers: Message, _body: bytes, secret: bytes) -> bool:
    """Source: RFC 6750, 2.1."""
    scheme, _, token = value.partition(" ")
    return scheme.lower() == "bearer" and _is_equal(token.strip(), secret)


def _is_message_signed(value: str, headers: Message, body: bytes, secret: bytes) -> bool:
    """Source: Standard Webhooks 1.0.0; GitLab, Webhooks, signing token (`whsec_` and Base64)."""
    if not secret.startswith(_STANDARD_PREFIX):
        return False
    try:
        key = base64.b64decode(secret.removeprefix(_STANDARD_PREFIX), validate=True)
    except binascii.Error:
        return False
    begin = f"{_value(headers, 'webhook-id')}.{_value(headers, 'webhook-timestamp')}."
    digest = hmac.digest(key, _sent(begin) + body, "sha256")
    expected = b"v1," + base64.b64encode(digest)
    return any(_is_equal(signature, expected) for signature in value.split(" "))


_SIGNATURE_HEADERS: Mapping[str, Callable[[str, Message, bytes, bytes], bool]] = {
    "X-Hub-Signature-256": _is_body_signed,
    "X-Forgejo-Signature": _is_body_signed,
    "X-Gitea-Signature": _is_body_signed,
    "X-Gitlab-Token": _is_secret,
    "webhook-signature": _is_message_signed,
    "Authorization": _is_bearer_token,
}

"""Certificates, and servers that speak TLS with them."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache

import trustme

from tests.support.health.servers import Speak, listening

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@cache
def authority() -> trustme.CA:
    """Return an authority that nobody trusts by itself."""
    return trustme.CA()


@contextmanager
def secured(
    speak: Speak,
    *names: str,
    host: str = "127.0.0.1",
    version: ssl.TLSVersion | None = None,
    is_expired: bool = False,
    asked_names: list[str | None] | None = None,
) -> Iterator[int]:
    """Serve over TLS, with a certificate for these names; `asked_names` collects what is asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    end = LONG_AGO if is_expired else None
    authority().issue_cert(*names or ("www.example.org",), not_after=end).configure_cert(context)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if asked_names is not None:
        context.sni_callback = lambda _, name, __: asked_names.append(name)

    def answer(connection: ssl.socket) -> None:  # type: ignore[name-defined]
        with context.wrap_socket(connection, server_side=True) as secure:
            speak(secure)

    with listening(answer, host) as port:
        yield port

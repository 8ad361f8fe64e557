"""Finds the protocol of a Git URL, and rejects URLs that gitvs does not fetch from."""

from __future__ import annotations

import re

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_SCP_LIKE = re.compile(r"[^/:]+:.*", re.DOTALL)
_PASSWORD = re.compile(r"[^/@]*:[^/]*@.*", re.DOTALL)


class UnusableUrl(ValueError):
    """A URL that gitvs does not fetch from, and why."""


def protocol_of(url: str) -> str:
    """Return `https`, `ssh` or `file`.

    Source: git-clone(1), GIT URLS.

    Raises:
        UnusableUrl: another protocol, a password in the URL, or not a URL.
    """
    if url.startswith("-") or not url.isprintable() or " " in url:
        raise UnusableUrl("not a URL: it starts with -, or has white space or control characters")
    match = _SCHEME.fullmatch(url)
    if match is not None:
        return _checked_scheme(match["scheme"], match["rest"])
    if "::" in url:
        raise UnusableUrl("remote helpers (::) run programs of their own; use https:// or ssh://")
    if url.startswith("/"):
        return "file"
    if _SCP_LIKE.fullmatch(url):
        return "ssh"
    raise UnusableUrl("not a URL; use https://, ssh://, user@host:path, or a path from the root")


def _checked_scheme(scheme: str, rest: str) -> str:
    if scheme not in ("https", "ssh", "file"):
        why = {
            "http": "anybody on the network path could change the data",
            "git": "anybody on the network path could change the data",
        }.get(scheme, "gitvs does not know it")
        raise UnusableUrl(f"protocol {scheme} is refused, since {why}; use https:// or ssh://")
    if _PASSWORD.fullmatch(rest):
        raise UnusableUrl(
            "a password in it could be read by every user of this host; put it into a file that"
            " credentials_file names (or use an SSH key), and take it out here"
        )
    if not rest.strip("/"):
        raise UnusableUrl("no host or path")
    return scheme

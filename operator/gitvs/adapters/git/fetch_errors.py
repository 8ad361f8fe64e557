"""Says why a fetch failed: turns Git's error output into the cause and what to do about it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from gitvs.adapters.git.hardened_git import GitFailed, shortened
from gitvs.core.errors import SourceError, SourceUnreachable
from gitvs.core.settings import RemoteSettings

NO_SUCH_BRANCH = "couldn't find remote ref"
"""Git's words for a remote that has no such branch."""

NO_BRANCHES = (
    "the remote answers, but has no branch: the repository is empty, or the url leads"
    " to a web page (such as a login page) instead of a repository"
)

_PERMANENT_FAILURES = (
    (NO_SUCH_BRANCH, "the remote has no such branch"),
    (r"object [0-9a-f]{40}: \w+: |fsck", "Git's own check rejects an object of the"
    " history"),
    ("No space left", "the disk of the state folder is full"),
    ("insufficient permission|unable to (write|create)|Read-only", "the state folder cannot be"
     " written"),
    ("mismatched algorithms|object-format", "the remote uses another hash than SHA-1"),
    ("dubious ownership", "the repository belongs to another user of this host: make gitvs's"
     " user its owner, or fetch it over ssh"),
    ("shallow (repository|clone|update|root)", "the remote is a shallow clone; fetch from one with"
     " all of its history"),
    (r"\bssh: (command )?not found|cannot run ssh",
     "no ssh is installed here, or it is not in PATH; install it"),
    (r"'remote-https?' is not a git command|unable to find remote helper",
     "this host's git cannot fetch over https; install the complete git package"),
)  # fmt: skip
"""Failures that are not worth a quick retry: a pattern of Git's output, and our message."""

_TRANSIENT_FAILURES = (
    (
        "Host key verification failed",
        "its host key is not in known_hosts, or differs from the key there",
    ),
    (
        "Permission denied|Authentication failed|could not read (Username|Password)|error: 40[13]",
        "it denies access; check ssh_key or credentials_file",
    ),
    ("certificate", "its certificate is not trusted; check ca_file"),
    ("redirect|error: 30", "it redirects to another address; set url to that address"),
    (
        "not valid: .*is this a git repository",
        "the answer does not come from a Git repository: the url leads to a web page,"
        " such as a login page",
    ),
    ("git-upload-pack: (command )?not found", "git is not installed on that host"),
    (
        "Could not resolve|Connection (refused|reset|closed)|couldn't connect|Failed to connect"
        "|No route to host|Network is unreachable|timed out",
        "it cannot be reached",
    ),
    (
        "repository .*not found|does not (exist|appear)|could not be found|error: 404",
        "there is no repository at that url",
    ),
)
"""Failures that may go away without action, in the same form."""


def known_cause(error: GitFailed) -> tuple[type[SourceError], str] | None:
    """Return the class and the words for a failed fetch; None if the cause is not known."""
    for error_class, failures in (
        (SourceError, _PERMANENT_FAILURES),
        (SourceUnreachable, _TRANSIENT_FAILURES),
    ):
        for pattern, words in failures:
            for line in error.lines:
                if re.search(pattern, line, re.IGNORECASE):
                    return error_class, f"{words} (git said: {shortened(line)})"
    return None


def require_readable_files(settings: RemoteSettings, protocol: str) -> None:
    """Check the files that a fetch by this protocol reads.

    ssh only warns about a missing key, and Git says nothing about a missing file of credentials.

    Raises:
        SourceError: a file cannot be read; the message names its setting.
    """
    for setting, file in _files_of(settings, protocol):
        try:
            os.close(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as error:
            raise SourceError(
                f"{setting} ({file}) cannot be read: {error.strerror}. Nothing was fetched; put"
                " the file there, readable by gitvs's user"
            ) from error


def _files_of(settings: RemoteSettings, protocol: str) -> Iterator[tuple[str, Path]]:
    files = {
        "ssh": {"ssh_key": settings.ssh_key, "known_hosts": settings.known_hosts},
        "https": {"credentials_file": settings.credentials_file, "ca_file": settings.ca_file},
    }
    for setting, file in files.get(protocol, {}).items():
        if file is not None:
            yield setting, file

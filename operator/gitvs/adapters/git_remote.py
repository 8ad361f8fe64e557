"""Fetches one branch of a Git remote into a bare repository of our own.

Only what descends from the newest accepted commit is accepted. Nothing is checked out, and
nothing that the remote sends is run.
"""

from __future__ import annotations

import fcntl
import logging
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gitvs.adapters.git_objects import opened
from gitvs.adapters.git_process import GitFailed, HardenedGit, without_credentials
from gitvs.adapters.git_source import GitSource
from gitvs.adapters.remote_url import UnusableUrl, protocol_of
from gitvs.adapters.settings import RemoteSettings
from gitvs.core.errors import SourceError, SourceUnreachable
from gitvs.core.history import Commit

log = logging.getLogger(__name__)

FOLDER_NAME = "repository.git"
_LOCK_NAME = "repository.lock"
_HEAD = "refs/gitvs/head"
_SHOWN_CHARACTERS = 12

_CONFIGURATION = (
    "transfer.fsckObjects=true",
    "fetch.fsckObjects=true",
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
    "http.followRedirects=false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=30",
)
_REFUSALS = (
    ("couldn't find remote ref", "the remote has no such branch"),
    (r"fsck|in object [0-9a-f]{40}", "the history has an object that Git's own check refuses"),
    ("No space left", "the disk of the state folder is full"),
    ("insufficient permission|unable to (write|create)|Read-only", "the state folder cannot be"
     " written"),
    ("mismatched algorithms|object-format", "the remote counts in another hash than SHA-1"),
    ("dubious ownership", "the repository belongs to another user of this host: make gitvs's"
     " user its owner, or fetch it over ssh"),
    ("shallow", "the remote is a shallow clone; fetch from one with all of its history"),
)  # fmt: skip
"""What is not worth a quick retry: a pattern of Git's words, and ours."""

_TROUBLES = (
    ("Host key verification failed", "its host key is not in known_hosts, or is another one"),
    (
        "Permission denied|Authentication failed|could not read (Username|Password)|error: 40[13]",
        "it does not let us in; look at ssh_key or credentials_file",
    ),
    ("certificate", "its certificate is not trusted; look at ca_file"),
    ("redirect|error: 30", "it answers from another address; put that one into url"),
    ("not found|does not (exist|appear)|No such file", "there is no repository at that url"),
)
"""What may pass by itself."""


class GitRemote:
    """One branch of a remote, and our copy of it."""

    def __init__(self, state_dir: Path, settings: RemoteSettings) -> None:
        """Prepare for fetching; nothing is written or sent yet.

        Raises:
            SourceError: the URL speaks a protocol that is not allowed.
        """
        self._settings = settings
        self._name = f"{without_credentials(settings.url)}, branch {settings.branch}"
        self._repository = state_dir / FOLDER_NAME
        self._lock = state_dir / _LOCK_NAME
        self._git = HardenedGit(
            Path("/"),
            self._repository,
            configuration=(*_CONFIGURATION, *_for_https(settings)),
            environment={
                "GIT_ALLOW_PROTOCOL": self._protocol(),
                "GIT_SSH_COMMAND": _ssh_command(settings),
                "GIT_SSH_VARIANT": "ssh",
            },
        )

    def _protocol(self) -> str:
        try:
            protocol = protocol_of(self._settings.url)
        except UnusableUrl as error:
            raise SourceError(f"{self._name}: {error}") from error
        if protocol == "file" and not self._settings.allow_local:
            raise SourceError(f"{self._name}: a remote on this host needs allow_local = true")
        return protocol

    def fetch(self, accepted: str | None) -> Commit:
        """Bring the branch here, and return its head.

        Raises:
            SourceUnreachable: the remote did not answer in time, or not sensibly.
            SourceError: there is no such branch, it cannot be used, or its head does not
                descend from `accepted`.
        """
        with self._locked():
            self._prepare()
            self._transfer()
            with opened(self._repository) as objects:
                head = objects.resolve(_HEAD)
                if accepted is not None and not objects.is_ancestor(accepted, head):
                    raise SourceError(self._rewritten(accepted, head))
                commit = objects.commit(head)
        log.debug("fetched commit=%s", head)
        return commit

    def source(self, commit_id: str) -> GitSource:
        """Return the manifests of a commit that was fetched."""
        return GitSource(self._repository, self._settings.path, commit_id)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Be the only one who fetches into this folder.

        Raises:
            SourceUnreachable: another process is at it.
            SourceError: the state folder cannot be written.
        """
        try:
            self._lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = self._lock.open("w")
        except OSError as error:
            raise SourceError(f"{self._lock} cannot be written: {error.strerror}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SourceUnreachable(
                    f"{self._name}: another gitvs is fetching into {self._repository} now"
                ) from None
            yield

    def _prepare(self) -> None:
        """Make our copy if there is none, and clean up after a fetch that was killed."""
        try:
            if not (self._repository / "HEAD").exists():
                self._git.run("init", "--quiet", "--bare", "--template=", str(self._repository))
            for pattern in ("*.lock", "refs/gitvs/*.lock", "objects/pack/tmp_*"):
                for path in self._repository.glob(pattern):
                    path.unlink(missing_ok=True)
        except (OSError, GitFailed) as error:
            raise SourceError(f"{self._repository} cannot be written: {error}") from error

    def _transfer(self) -> None:
        try:
            self._git.run(
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-recurse-submodules",
                "--no-write-fetch-head",
                "--no-auto-maintenance",
                "--refmap=",
                "--",
                self._settings.url,
                f"+refs/heads/{self._settings.branch}:{_HEAD}",
                timeout=self._settings.timeout_seconds,
            )
        except GitFailed as error:
            raise self._explained(error) from error
        except SourceUnreachable as error:
            raise SourceUnreachable(f"{self._name}: {error}") from error

    def _explained(self, error: GitFailed) -> SourceError:
        for kind, table in ((SourceError, _REFUSALS), (SourceUnreachable, _TROUBLES)):
            for pattern, words in table:
                if re.search(pattern, error.text, re.IGNORECASE):
                    return kind(f"{self._name}: {words} ({error})")
        return SourceUnreachable(f"{self._name}: {error}")

    def _rewritten(self, accepted: str, head: str) -> str:
        old, new = accepted[:_SHOWN_CHARACTERS], head[:_SHOWN_CHARACTERS]
        return (
            f"{self._name}: its head {new} does not descend from {old}, the newest commit that was"
            " accepted from it: the branch was rewritten, or went back. The commit in force stays."
            f" If that is meant, merge the accepted commit into the branch and push (`git merge -s"
            f" ours {old}`); a later version has `gitvs accept-rewrite {new}` for it"
        )


def _for_https(settings: RemoteSettings) -> list[str]:
    configuration = []
    if settings.ca_file is not None:
        configuration.append(f"http.sslCAInfo={settings.ca_file}")
    if settings.credentials_file is not None:
        file = shlex.quote(f"--file={settings.credentials_file}")
        # Only ever asked: Git would have the store forget what a server once refused.
        helper = f'!f() {{ test "$1" != get || git credential-store {file} get; }}; f'
        configuration.append(f"credential.helper={helper}")
    return configuration


def _ssh_command(settings: RemoteSettings) -> str:
    """Return how Git calls ssh: no questions, no configuration, no unknown host."""
    options = ["BatchMode=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=15"]
    options += ["ServerAliveInterval=15", "ControlMaster=no", "ControlPath=none"]
    options += ["ForwardAgent=no", "ForwardX11=no", "ClearAllForwardings=yes"]
    command = ["ssh", "-F", "/dev/null"]
    if settings.ssh_key is not None:
        command += ["-i", str(settings.ssh_key)]
        options += ["IdentitiesOnly=yes", "IdentityAgent=none"]
    if settings.known_hosts is not None:
        options += [f"UserKnownHostsFile={settings.known_hosts}", "GlobalKnownHostsFile=/dev/null"]
    return shlex.join([*command, *(word for option in options for word in ("-o", option))])

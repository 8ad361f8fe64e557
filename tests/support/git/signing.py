"""Signers for tests: real SSH and OpenPGP keys, and commits signed with them by Git."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.git.repositories import Repository


@dataclass(frozen=True)
class SshSigner:
    """Somebody with an SSH key."""

    name: str
    key: Path

    @property
    def public(self) -> str:
        """Type and key, as in files of keys."""
        return " ".join(self.key.with_suffix(".pub").read_text().split()[:2])

    @property
    def allowed(self) -> str:
        """The signer's line of an allowed signers file."""
        return f'{self.name} namespaces="git" {self.public}\n'

    def commit(self, repository: Repository, files: dict[str, str | bytes]) -> str:
        """Commit files with a signature; return the commit's id."""
        return _commit(repository, files, "gpg.format=ssh", f"user.signingKey={self.key}")


def ssh_signer(folder: Path, name: str) -> SshSigner:
    """Make a signer with a new key in a folder."""
    key = folder / name.partition("@")[0]
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)]
    subprocess.run(command, check=True)
    return SshSigner(name, key)


class GnuPG:
    """A home folder of GnuPG with secret keys."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._program = home / "program"
        self._program.write_text(f'#!/bin/sh\nexec gpg --homedir {home} --batch --quiet "$@"\n')
        self._program.chmod(0o755)

    def run(self, *args: str, stdin: str = "") -> str:
        """Run gpg here, and return what it wrote."""
        done = subprocess.run(
            [str(self._program), "--passphrase", "", "--pinentry-mode", "loopback", *args],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def make_key(self, name: str) -> str:
        """Make a primary key that signs, years ago; return its fingerprint."""
        long_ago = ("--faked-system-time", "20200101T000000")
        self.run(*long_ago, "--quick-generate-key", name, "ed25519", "sign", "never")
        return self.fingerprints(name)[0]

    def make_subkey(self, fingerprint: str) -> str:
        """Add a subkey that signs; return its fingerprint."""
        self.run("--quick-add-key", fingerprint, "ed25519", "sign", "never")
        return self.fingerprints(fingerprint)[-1]

    def fingerprints(self, key: str) -> list[str]:
        """Return the fingerprints of a key and its subkeys."""
        lines = self.run("--with-colons", "--list-keys", key).splitlines()
        return [line.split(":")[9] for line in lines if line.startswith("fpr:")]

    def expire(self, fingerprint: str) -> None:
        """Let a key have expired long ago."""
        long_ago = ("--faked-system-time", "20200201T000000")
        self.run(*long_ago, "--quick-set-expire", fingerprint, "1d")

    def revoke(self, fingerprint: str) -> None:
        """Revoke a key, with the certificate that was made together with it."""
        certificate = self._home / "openpgp-revocs.d" / f"{fingerprint}.rev"
        text = certificate.read_text().replace(":-----BEGIN", "-----BEGIN")
        self.run("--import", stdin=text)

    def export(self, *keys: str) -> str:
        """Return public keys; of none named, all."""
        return self.run("--armor", "--export", *keys)

    def commit(self, key: str, repository: Repository, files: dict[str, str | bytes]) -> str:
        """Commit files, signed with exactly the named key or subkey; return the commit's id."""
        return _commit(repository, files, f"gpg.program={self._program}", f"user.signingKey={key}!")


@contextmanager
def gnupg() -> Iterator[GnuPG]:
    """Make a home for GnuPG; its agent ends with the block."""
    with TemporaryDirectory(prefix="gpg-", dir="/tmp") as folder:  # a socket's path is short
        try:
            yield GnuPG(Path(folder))
        finally:
            subprocess.run(["gpgconf", "--homedir", folder, "--kill", "all"], check=True)


def _commit(repository: Repository, files: dict[str, str | bytes], *configuration: str) -> str:
    repository.write(files)
    repository.git("add", "--all")
    options = [word for setting in configuration for word in ("-c", setting)]
    repository.git(*options, "commit", "--quiet", "-S", "--allow-empty", "--message=Signed")
    return repository.git("rev-parse", "HEAD")

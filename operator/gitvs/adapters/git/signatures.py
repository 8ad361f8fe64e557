"""Checks who signed a commit, against the signature policy of the settings.

Git and the programs it asks say whether a signature holds; their answer is taken from exit
codes and from the one-letter verdict, never from words, which call a stranger's signature
good. Each check reads the files of the settings anew, and an OpenPGP keyring lasts for one
check: nothing that was trusted once is remembered. Fetching is the business of `git_remote`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import assert_never

from gitvs.adapters.git.git_process import GitFailed, HardenedGit
from gitvs.core.errors import UntrustedCommit
from gitvs.core.settings import GpgSignatures, SshSignatures

_SSH, _OPENPGP = "SSH SIGNATURE", "PGP SIGNATURE"
_KINDS = {
    _SSH: "an SSH signature",
    _OPENPGP: "an OpenPGP signature",
    "SIGNED MESSAGE": "an X.509 signature",
}
_SIGNATURE = re.compile(r"^gpgsig -----BEGIN (?P<kind>[A-Z ]+)-----$", re.MULTILINE)

# A signature of another kind than the policy's is never looked at, whatever Git makes of it.
_NO_OPENPGP = ("gpg.program=/bin/false", "gpg.openpgp.program=/bin/false")
_NO_X509 = "gpg.x509.program=/bin/false"
_NO_SSH = ("gpg.ssh.program=/bin/false", "gpg.ssh.allowedSignersFile=/dev/null")

_GNUPG_OPTIONS = """\
batch
no-tty
no-autostart
no-auto-key-retrieve
no-auto-key-locate
disable-dirmngr
trust-model always
"""
_PUSH = "push a commit signed by a key that is trusted here"


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What Git says of a signature. `letter` is %G?. Source: git-log(1), PRETTY FORMATS."""

    is_accepted: bool
    letter: str
    fingerprint: str
    primary_fingerprint: str
    signer: str
    key: str


class _Untrusted(Exception):
    """Why a commit is kept out, and what to do."""


def verify(git_dir: Path, policy: SshSignatures | GpgSignatures | None, commit_id: str) -> str:
    """Return who signed a commit: a name, and the fingerprint; nothing where anybody may.

    A commit vouches for its whole history, so only its own signature counts.

    Raises:
        UntrustedCommit: it is not signed by somebody that the policy names.
        SourceError: it is not here, or Git or GnuPG cannot be started.
    """
    try:
        match policy:
            case None:
                return ""
            case SshSignatures():
                return _ssh_signer(git_dir, policy, commit_id)
            case GpgSignatures():
                return _gpg_signer(git_dir, policy, commit_id)
            case _:
                assert_never(policy)
    except _Untrusted as error:
        problem, remedy = error.args
        raise UntrustedCommit(commit_id, problem, remedy) from error


def _ssh_signer(git_dir: Path, policy: SshSignatures, commit_id: str) -> str:
    _require_readable("allowed_signers", policy.allowed_signers)
    allowed = (*_NO_OPENPGP, _NO_X509, f"gpg.ssh.allowedSignersFile={policy.allowed_signers}")
    revoked: tuple[str, ...] = ()
    if policy.revoked_keys is not None:
        _require_readable("revoked_keys", policy.revoked_keys)  # Git goes on without it
        revoked = (f"gpg.ssh.revocationFile={policy.revoked_keys}",)
    git = HardenedGit(Path("/"), git_dir, configuration=(*allowed, *revoked))
    _require_kind(git, commit_id, _SSH, "an SSH key")
    verdict = _verdict(git, commit_id)
    if verdict.is_accepted and verdict.letter == "G" and verdict.signer:
        return f"{verdict.signer} ({verdict.fingerprint})"
    if verdict.letter == "U":
        raise _Untrusted(
            f"is signed by the SSH key {verdict.fingerprint}, which allowed_signers"
            f" ({policy.allowed_signers}) does not list for the commit's date",
            f"if the signer is to be trusted, add the key there, or {_PUSH}",
        )
    if revoked and _verdict(HardenedGit(Path("/"), git_dir, configuration=allowed),
                            commit_id).is_accepted:  # fmt: skip
        raise _Untrusted(
            f"is signed by a key that is listed in revoked_keys ({policy.revoked_keys}), or this"
            " file is damaged",
            _PUSH,
        )
    raise _bad(verdict, ", or its key's line in allowed_signers (namespaces)")


def _gpg_signer(git_dir: Path, policy: GpgSignatures, commit_id: str) -> str:
    _require_readable("gpg_keys", policy.keys)
    with _keyring(policy.keys) as environment:
        git = HardenedGit(
            Path("/"), git_dir, configuration=(*_NO_SSH, _NO_X509), environment=environment
        )
        _require_kind(git, commit_id, _OPENPGP, "an OpenPGP key")
        verdict = _verdict(git, commit_id)
    if verdict.is_accepted and verdict.letter == "G":
        shown = f"{verdict.signer} ({verdict.fingerprint})"
        if policy.fingerprints.isdisjoint({verdict.fingerprint, verdict.primary_fingerprint}):
            raise _Untrusted(
                f"is signed by {shown}, a key of {policy.keys} that gpg_fingerprints does not list",
                f"if the signer is to be trusted, add {verdict.primary_fingerprint} there, or"
                f" {_PUSH}",
            )
        return shown
    problem = _GPG_PROBLEMS.get(verdict.letter)
    raise problem(verdict, policy) if problem is not None else _bad(verdict)


def _unknown_key(verdict: _Verdict, policy: GpgSignatures) -> _Untrusted:
    return _Untrusted(
        f"is signed by the OpenPGP key {verdict.key}, which gpg_keys ({policy.keys}) does not hold",
        f"if the signer is to be trusted, add the key there, or {_PUSH}",
    )


def _expired_key(verdict: _Verdict, policy: GpgSignatures) -> _Untrusted:
    return _Untrusted(
        f"is signed by {verdict.signer} with the key {verdict.key}, which has expired",
        f"extend the key and export it to gpg_keys ({policy.keys}) again, or {_PUSH}",
    )


def _revoked_key(verdict: _Verdict, policy: GpgSignatures) -> _Untrusted:
    return _Untrusted(
        f"is signed by {verdict.signer} with the key {verdict.key}, which was revoked", _PUSH
    )


def _expired_signature(verdict: _Verdict, policy: GpgSignatures) -> _Untrusted:
    return _Untrusted(f"has a signature of {verdict.signer} that has expired", _PUSH)


_GPG_PROBLEMS: dict[str, Callable[[_Verdict, GpgSignatures], _Untrusted]] = {
    "E": _unknown_key,
    "R": _revoked_key,
    "X": _expired_signature,
    "Y": _expired_key,
}


def _bad(verdict: _Verdict, or_else: str = "") -> _Untrusted:
    if verdict.letter == "B":
        return _Untrusted(f"has a signature that does not fit its content{or_else}", _PUSH)
    return _Untrusted(
        "has a signature that could not be checked", "look at it with `git verify-commit`"
    )


def _require_readable(name: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise _Untrusted(
            f"cannot be checked, since {name} ({path}) cannot be read: {error.strerror}",
            "give the file back, readable by gitvs's user",
        ) from error


def _require_kind(git: HardenedGit, commit_id: str, kind: str, wanted: str) -> None:
    headers = git.run("cat-file", "commit", commit_id).partition(b"\n\n")[0]
    match = _SIGNATURE.search(headers.decode("utf-8", "replace"))
    if match is None:
        raise _Untrusted("is not signed", f"sign it with {wanted}, or {_PUSH}")
    if match["kind"] != kind:
        found = _KINDS.get(match["kind"], "a signature of another kind")
        raise _Untrusted(
            f"has {found}, and the policy wants one by {wanted}", f"sign it so, or {_PUSH}"
        )


def _verdict(git: HardenedGit, commit_id: str) -> _Verdict:
    """Ask Git twice: its exit code is the stricter, its format tells whose key it was."""
    try:
        git.run("verify-commit", commit_id)
        is_accepted = True
    except GitFailed:
        is_accepted = False
    form = "%x00".join(("%G?", "%GF", "%GP", "%GS", "%GK"))
    answer = git.run(
        "log", "--max-count=1", "--no-show-signature", "--encoding=UTF-8", f"--format={form}",
        "--end-of-options", commit_id,
    )  # fmt: skip
    text = "".join(c if c.isprintable() or c == "\0" else "?" for c in
                   answer.decode("utf-8", "replace").rstrip("\n"))  # fmt: skip
    letter, fingerprint, primary, signer, key = text.split("\0")
    return _Verdict(is_accepted, letter, fingerprint, primary, signer, key)


@contextmanager
def _keyring(keys: Path) -> Iterator[dict[str, str]]:
    """Yield the environment for a GnuPG that knows the keys of a file and no others."""
    with TemporaryDirectory(prefix="gitvs-keyring-") as folder:
        (Path(folder) / "gpg.conf").write_text(_GNUPG_OPTIONS)
        environment = {"GNUPGHOME": folder}
        try:
            HardenedGit(Path("/"), environment=environment).run_beside(
                "gpg", "--quiet", "--import", "--", str(keys)
            )
        except GitFailed as error:
            raise _Untrusted(
                f"cannot be checked, since gpg_keys ({keys}) cannot be read as OpenPGP keys:"
                f" {error.text}",
                "write the file anew with `gpg --armor --export KEY...`",
            ) from error
        yield environment

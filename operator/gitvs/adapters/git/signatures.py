"""Checks who signed a commit against the signature policy of the settings.

The result comes from exit codes and Git's one-letter status, never from message texts, which
call an unknown signer's signature good. Each check reads the files of the settings again, and
an OpenPGP keyring is used for one check only, so no trust is remembered. Fetching is left to
`remote`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import assert_never

from gitvs.adapters.git.hardened_git import GitFailed, HardenedGit
from gitvs.core.errors import SourceError, UntrustedCommit
from gitvs.core.settings import GpgSignatures, SshSignatures

_SSH, _OPENPGP = "SSH SIGNATURE", "PGP SIGNATURE"
_KIND_NAMES = {
    _SSH: "an SSH signature",
    _OPENPGP: "an OpenPGP signature",
    "SIGNED MESSAGE": "an X.509 signature",
}
_SIGNATURE = re.compile(r"^gpgsig -----BEGIN (?P<kind>[A-Z ]+)-----$", re.MULTILINE)

# Git never verifies signatures of other kinds than the policy's.
_DISABLE_OPENPGP = ("gpg.program=/bin/false", "gpg.openpgp.program=/bin/false")
_DISABLE_X509 = "gpg.x509.program=/bin/false"
_DISABLE_SSH = ("gpg.ssh.program=/bin/false", "gpg.ssh.allowedSignersFile=/dev/null")

_GNUPG_OPTIONS = """\
batch
no-tty
no-autostart
no-auto-key-retrieve
no-auto-key-locate
disable-dirmngr
trust-model always
"""
_PUSH_REMEDY = "push a commit signed by a key that is trusted here"


@dataclass(frozen=True, slots=True)
class _SignatureCheck:
    """What Git reports about a signature; `letter` is %G?. Source: git-log(1), PRETTY FORMATS."""

    is_accepted: bool
    letter: str
    fingerprint: str
    primary_fingerprint: str
    signer: str
    key_id: str


class _Untrusted(Exception):
    """Why a commit is rejected, and what to do."""


def verify_signature(
    git_dir: Path, policy: SshSignatures | GpgSignatures | None, commit_id: str
) -> str:
    """Return who signed a commit, as name and fingerprint; empty if no signature is required.

    A commit's signature covers its whole history, so only its own signature counts.

    Raises:
        UntrustedCommit: it is not signed by a signer that the policy lists.
        SourceError: it is not in the repository, or Git or GnuPG cannot be started.
    """
    try:
        match policy:
            case None:
                return ""
            case SshSignatures():
                return _verify_ssh(git_dir, policy, commit_id)
            case GpgSignatures():
                return _verify_gpg(git_dir, policy, commit_id)
            case _:
                assert_never(policy)
    except _Untrusted as error:
        problem, remedy = error.args
        raise UntrustedCommit(commit_id, problem, remedy) from error


def _verify_ssh(git_dir: Path, policy: SshSignatures, commit_id: str) -> str:
    _require_readable("allowed_signers", policy.allowed_signers)
    configuration = (
        *_DISABLE_OPENPGP,
        _DISABLE_X509,
        f"gpg.ssh.allowedSignersFile={policy.allowed_signers}",
    )
    revoked_configuration: tuple[str, ...] = ()
    if policy.revoked_keys is not None:
        _require_readable("revoked_keys", policy.revoked_keys)  # Git ignores a missing file
        revoked_configuration = (f"gpg.ssh.revocationFile={policy.revoked_keys}",)
    git = HardenedGit(Path("/"), git_dir, configuration=(*configuration, *revoked_configuration))
    _require_kind(git, commit_id, _SSH, "an SSH key")
    check = _check_signature(git, commit_id)
    if check.is_accepted and check.letter == "G" and check.signer:
        return f"{check.signer} ({check.fingerprint})"
    if check.letter == "U":
        raise _Untrusted(
            f"is signed by the SSH key {check.fingerprint}, which allowed_signers"
            f" ({policy.allowed_signers}) does not list for the commit's date",
            f"if the signer is to be trusted, add the key there, or {_PUSH_REMEDY}",
        )
    git_without_revocations = HardenedGit(Path("/"), git_dir, configuration=configuration)
    if revoked_configuration and _check_signature(git_without_revocations, commit_id).is_accepted:
        raise _Untrusted(
            f"is signed by a key that is listed in revoked_keys ({policy.revoked_keys}), or this"
            " file is damaged",
            _PUSH_REMEDY,
        )
    raise _invalid_signature(check, ", or its key's line in allowed_signers (namespaces)")


def _verify_gpg(git_dir: Path, policy: GpgSignatures, commit_id: str) -> str:
    _require_readable("gpg_keys", policy.keys)
    with _temporary_keyring(policy.keys) as environment:
        git = HardenedGit(
            Path("/"),
            git_dir,
            configuration=(*_DISABLE_SSH, _DISABLE_X509),
            environment=environment,
        )
        _require_kind(git, commit_id, _OPENPGP, "an OpenPGP key")
        check = _check_signature(git, commit_id)
    if check.is_accepted and check.letter == "G":
        signer = f"{check.signer} ({check.fingerprint})"
        if policy.fingerprints.isdisjoint({check.fingerprint, check.primary_fingerprint}):
            raise _Untrusted(
                f"is signed by {signer}, a key of {policy.keys} that gpg_fingerprints does not"
                " list",
                f"if the signer is to be trusted, add {check.primary_fingerprint} there, or"
                f" {_PUSH_REMEDY}",
            )
        return signer
    problem = _GPG_PROBLEM_BY_LETTER.get(check.letter)
    raise problem(check, policy) if problem is not None else _invalid_signature(check)


def _unknown_key(check: _SignatureCheck, policy: GpgSignatures) -> _Untrusted:
    return _Untrusted(
        f"is signed by the OpenPGP key {check.key_id}, which gpg_keys ({policy.keys}) does not"
        " hold",
        f"if the signer is to be trusted, add the key there, or {_PUSH_REMEDY}",
    )


def _expired_key(check: _SignatureCheck, policy: GpgSignatures) -> _Untrusted:
    return _Untrusted(
        f"is signed by {check.signer} with the key {check.key_id}, which has expired",
        f"extend the key and export it to gpg_keys ({policy.keys}) again, or {_PUSH_REMEDY}",
    )


def _revoked_key(check: _SignatureCheck, policy: GpgSignatures) -> _Untrusted:
    return _Untrusted(
        f"is signed by {check.signer} with the key {check.key_id}, which was revoked", _PUSH_REMEDY
    )


def _expired_signature(check: _SignatureCheck, policy: GpgSignatures) -> _Untrusted:
    return _Untrusted(f"has a signature of {check.signer} that has expired", _PUSH_REMEDY)


_GPG_PROBLEM_BY_LETTER: dict[str, Callable[[_SignatureCheck, GpgSignatures], _Untrusted]] = {
    "E": _unknown_key,
    "R": _revoked_key,
    "X": _expired_signature,
    "Y": _expired_key,
}


def _invalid_signature(check: _SignatureCheck, other_cause: str = "") -> _Untrusted:
    if check.letter == "B":
        return _Untrusted(
            f"has a signature that does not match its content{other_cause}", _PUSH_REMEDY
        )
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
            "restore the file, readable by gitvs's user",
        ) from error


def _require_kind(git: HardenedGit, commit_id: str, kind: str, wanted: str) -> None:
    headers = git.run("cat-file", "commit", commit_id).partition(b"\n\n")[0]
    match = _SIGNATURE.search(headers.decode("utf-8", "replace"))
    if match is None:
        raise _Untrusted("is not signed", f"sign it with {wanted}, or {_PUSH_REMEDY}")
    if match["kind"] != kind:
        found = _KIND_NAMES.get(match["kind"], "a signature of another kind")
        raise _Untrusted(
            f"has {found}, but the policy requires one by {wanted}",
            f"sign it so, or {_PUSH_REMEDY}",
        )


def _check_signature(git: HardenedGit, commit_id: str) -> _SignatureCheck:
    """Ask Git twice: the exit code is stricter, and the format identifies the key."""
    try:
        git.run("verify-commit", commit_id)
        is_accepted = True
    except GitFailed:
        is_accepted = False
    fields = "%x00".join(("%G?", "%GF", "%GP", "%GS", "%GK"))
    output = git.run(
        "log", "--max-count=1", "--no-show-signature", "--encoding=UTF-8", f"--format={fields}",
        "--end-of-options", commit_id,
    )  # fmt: skip
    text = "".join(c if c.isprintable() or c == "\0" else "?" for c in
                   output.decode("utf-8", "replace").rstrip("\n"))  # fmt: skip
    letter, fingerprint, primary, signer, key = text.split("\0")
    return _SignatureCheck(is_accepted, letter, fingerprint, primary, signer, key)


@contextmanager
def _temporary_keyring(keys: Path) -> Iterator[dict[str, str]]:
    """Yield the environment for a GnuPG that knows only the keys of a file."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(
                TemporaryDirectory(prefix="gitvs-keyring-", ignore_cleanup_errors=True)
            )
            (Path(folder) / "gpg.conf").write_text(_GNUPG_OPTIONS)
        except OSError as error:
            raise SourceError(
                "no signature can be checked, since the keyring for that cannot be written to"
                f" the temporary folder: {error.strerror}; make room there, or set TMPDIR"
            ) from error
        environment = {"GNUPGHOME": folder}
        try:
            HardenedGit(Path("/"), environment=environment).run_program(
                "gpg", "--quiet", "--import", "--", str(keys)
            )
        except GitFailed as error:
            raise _Untrusted(
                f"cannot be checked, since gpg_keys ({keys}) cannot be read as OpenPGP keys:"
                f" {error.error_text}",
                "write the file again with `gpg --armor --export KEY...`",
            ) from error
        yield environment

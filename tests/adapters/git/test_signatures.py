"""Signature policies: whose commits are let in, on real keys and real repositories."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gitvs.adapters.git.remote import GitRemote
from gitvs.core.errors import RewrittenBranch, SourceError, UntrustedCommit
from gitvs.core.settings import GpgSignatures, RemoteSettings, SshSignatures
from tests.support.git.repositories import Repository
from tests.support.git.signing import GnuPG, SshSigner, gnupg, ssh_signer


@pytest.fixture
def upstream(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "upstream")


@pytest.fixture
def ada(tmp_path: Path) -> SshSigner:
    return ssh_signer(tmp_path, "ada@example.org")


@pytest.fixture
def eve(tmp_path: Path) -> SshSigner:
    return ssh_signer(tmp_path, "eve@example.org")


@pytest.fixture
def keys() -> Iterator[GnuPG]:
    with gnupg() as home:
        yield home


def remote(
    upstream: Repository, policy: SshSignatures | GpgSignatures | None, path: str = "."
) -> GitRemote:
    settings = RemoteSettings(
        str(upstream.folder), path=path, timeout_seconds=20, allow_local=True, signatures=policy
    )
    return GitRemote(upstream.folder.parent / "state", settings)


def allowing(folder: Path, *signers: SshSigner) -> SshSignatures:
    file = folder / "allowed_signers"
    file.write_text("# who may\n" + "".join(signer.allowed for signer in signers))
    return SshSignatures(file)


def trusting(folder: Path, keys: GnuPG, *fingerprints: str) -> GpgSignatures:
    """The policy that holds all keys, and trusts some."""
    file = folder / "keys.asc"
    file.write_text(keys.export())
    return GpgSignatures(file, frozenset(fingerprints))


def refusal(upstream: Repository, policy: SshSignatures | GpgSignatures) -> str:
    """Why a fetch of the branch is refused."""
    with pytest.raises(UntrustedCommit) as error:
        remote(upstream, policy).fetch(None)
    assert error.value.commit_id == upstream.git("rev-parse", "HEAD")
    assert not error.value.is_transient
    text = str(error.value)
    assert text.startswith(f"commit {error.value.commit_id[:12]} ")
    return text


def test_without_a_policy_anybody_may(upstream: Repository) -> None:
    head = upstream.commit({"a.yaml": "1"})
    ours = remote(upstream, None)
    assert ours.fetch(None).id == head
    assert ours.verify_signature(head) == ""


# SSH


def test_a_commit_of_an_allowed_signer_is_let_in(
    upstream: Repository, tmp_path: Path, ada: SshSigner, eve: SshSigner
) -> None:
    upstream.commit({"a.yaml": "1"})  # the signed commit vouches for its history
    head = ada.commit(upstream, {"a.yaml": "2"})
    ours = remote(upstream, allowing(tmp_path, eve, ada))
    assert ours.fetch(None).id == head
    assert ours.verify_signature(head).startswith("ada@example.org (SHA256:")


def test_an_unsigned_commit_is_refused_though_its_parent_is_signed(
    upstream: Repository, tmp_path: Path, ada: SshSigner
) -> None:
    first = ada.commit(upstream, {"a.yaml": "1"})
    policy = allowing(tmp_path, ada)
    remote(upstream, policy).fetch(None)
    upstream.commit({"a.yaml": "2"})
    with pytest.raises(UntrustedCommit, match=r"is not signed.*sign it with an SSH key"):
        remote(upstream, policy).fetch(first)


def test_an_unsigned_merge_of_signed_commits_is_refused(
    upstream: Repository, tmp_path: Path, ada: SshSigner
) -> None:
    ada.commit(upstream, {"a.yaml": "1"})
    upstream.git("checkout", "--quiet", "-b", "side")
    ada.commit(upstream, {"b.yaml": "1"})
    upstream.git("checkout", "--quiet", "main")
    ada.commit(upstream, {"c.yaml": "1"})
    upstream.git("merge", "--quiet", "--no-ff", "--no-edit", "side")
    assert "is not signed" in refusal(upstream, allowing(tmp_path, ada))


def test_a_strangers_ssh_key_is_refused_and_named(
    upstream: Repository, tmp_path: Path, ada: SshSigner, eve: SshSigner
) -> None:
    eve.commit(upstream, {"a.yaml": "1"})
    said = refusal(upstream, allowing(tmp_path, ada))
    fingerprint = subprocess.run(
        ["ssh-keygen", "-lf", str(eve.key)], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    assert f"is signed by the SSH key {fingerprint}, which allowed_signers" in said


def test_a_key_that_is_allowed_for_files_alone_signs_no_commits(
    upstream: Repository, tmp_path: Path, ada: SshSigner
) -> None:
    ada.commit(upstream, {"a.yaml": "1"})
    policy = allowing(tmp_path)
    policy.allowed_signers.write_text(ada.allowed.replace('"git"', '"file"'))
    assert "its key's line in allowed_signers (namespaces)" in refusal(upstream, policy)


def test_a_signer_whose_line_was_removed_is_refused(
    upstream: Repository, tmp_path: Path, ada: SshSigner, eve: SshSigner
) -> None:
    first = eve.commit(upstream, {"a.yaml": "1"})
    assert remote(upstream, allowing(tmp_path, ada, eve)).fetch(None).id == first
    second = eve.commit(upstream, {"a.yaml": "2"})
    ours = remote(upstream, allowing(tmp_path, ada))
    with pytest.raises(UntrustedCommit, match="does not list"):
        ours.fetch(first)
    for commit_id in (first, second):
        with pytest.raises(UntrustedCommit, match="does not list"):
            ours.verify_signature(commit_id)


def test_what_was_accepted_is_fetched_again_without_complaint_when_its_signer_went(
    upstream: Repository, tmp_path: Path, ada: SshSigner, eve: SshSigner
) -> None:
    head = eve.commit(upstream, {"a.yaml": "1"})
    remote(upstream, allowing(tmp_path, eve)).fetch(None)
    assert remote(upstream, allowing(tmp_path, ada)).fetch(head).id == head


@pytest.mark.parametrize("form", ["keys", "krl"])
def test_a_revoked_ssh_key_is_refused_while_it_is_allowed(
    upstream: Repository, tmp_path: Path, ada: SshSigner, eve: SshSigner, form: str
) -> None:
    policy = replace(allowing(tmp_path, ada, eve), revoked_keys=tmp_path / "revoked")
    assert policy.revoked_keys is not None
    if form == "krl":
        command = ["ssh-keygen", "-q", "-k", "-f", str(policy.revoked_keys), f"{eve.key}.pub"]
        subprocess.run(command, check=True)
    else:
        policy.revoked_keys.write_text(f"# gone\n{eve.public}\n")
    head = ada.commit(upstream, {"a.yaml": "1"})
    assert remote(upstream, policy).fetch(None).id == head
    eve.commit(upstream, {"a.yaml": "2"})
    assert "is signed by a key that is listed in revoked_keys" in refusal(upstream, policy)


def test_without_the_file_of_revoked_keys_nothing_is_let_in(
    upstream: Repository, tmp_path: Path, ada: SshSigner
) -> None:
    ada.commit(upstream, {"a.yaml": "1"})
    policy = replace(allowing(tmp_path, ada), revoked_keys=tmp_path / "revoked")
    said = refusal(upstream, policy)
    assert f"revoked_keys ({policy.revoked_keys}) cannot be read: No such file" in said


def test_a_damaged_file_of_revoked_keys_lets_nothing_in(
    upstream: Repository, tmp_path: Path, ada: SshSigner
) -> None:
    ada.commit(upstream, {"a.yaml": "1"})
    policy = replace(allowing(tmp_path, ada), revoked_keys=tmp_path / "revoked")
    (tmp_path / "revoked").write_text("<html>not found</html>\n")
    assert "or this file is damaged" in refusal(upstream, policy)


def test_without_the_file_of_allowed_signers_nothing_is_let_in(
    upstream: Repository, tmp_path: Path, ada: SshSigner
) -> None:
    ada.commit(upstream, {"a.yaml": "1"})
    policy = allowing(tmp_path, ada)
    policy.allowed_signers.unlink()
    assert f"allowed_signers ({policy.allowed_signers}) cannot be read" in refusal(upstream, policy)
    policy.allowed_signers.write_text("")
    assert "does not list" in refusal(upstream, policy)


@pytest.mark.parametrize("kind", ["ssh", "gpg"])
def test_a_signature_of_another_commit_is_refused(
    upstream: Repository, tmp_path: Path, ada: SshSigner, keys: GnuPG, kind: str
) -> None:
    policy: SshSignatures | GpgSignatures = allowing(tmp_path, ada)
    if kind == "ssh":
        ada.commit(upstream, {"a.yaml": "1"})
    else:
        key = keys.make_key("Ada <ada@example.org>")
        keys.commit(key, upstream, {"a.yaml": "1"})
        policy = trusting(tmp_path, keys, key)
    raw = upstream.git("cat-file", "commit", "HEAD") + "\n"
    forged = raw.replace("author Ada", "author Eve")
    assert forged != raw
    evil = upstream.git("hash-object", "-w", "-t", "commit", "--stdin", stdin=forged.encode())
    upstream.git("update-ref", "refs/heads/main", evil)
    assert "has a signature that does not match its content" in refusal(upstream, policy)


def test_nothing_of_an_untrusted_commit_is_read_before_it_is_refused(
    upstream: Repository, tmp_path: Path, ada: SshSigner
) -> None:
    upstream.commit({"a.yaml": "1"})
    policy = allowing(tmp_path, ada)
    with pytest.raises(UntrustedCommit):
        remote(upstream, policy, path="missing").fetch(None)


def test_a_rewrite_is_judged_by_its_signature_before_anybody_is_advised_to_accept_it(
    upstream: Repository, tmp_path: Path, ada: SshSigner, eve: SshSigner
) -> None:
    accepted = ada.commit(upstream, {"a.yaml": "1"})
    ours = remote(upstream, allowing(tmp_path, ada))
    ours.fetch(None)
    upstream.git("checkout", "--quiet", "--orphan", "other")
    upstream.git("branch", "--quiet", "-D", "main")
    upstream.git("branch", "--quiet", "-m", "main")
    evil = eve.commit(upstream, {"a.yaml": "2"})
    with pytest.raises(UntrustedCommit):
        ours.fetch(accepted)
    with pytest.raises(UntrustedCommit):
        ours.check_rewritten_commit(evil[:12])
    good = ada.commit(upstream, {"a.yaml": "3"})
    with pytest.raises(RewrittenBranch):
        ours.fetch(accepted)
    assert ours.check_rewritten_commit(good[:12]).id == good


def test_a_commit_that_is_not_here_cannot_be_verified(
    upstream: Repository, tmp_path: Path, ada: SshSigner
) -> None:
    ada.commit(upstream, {"a.yaml": "1"})
    ours = remote(upstream, allowing(tmp_path, ada))
    ours.fetch(None)
    with pytest.raises(SourceError):
        ours.verify_signature("f" * 40)


# OpenPGP


def test_a_commit_by_a_trusted_openpgp_key_is_let_in(
    upstream: Repository, tmp_path: Path, keys: GnuPG
) -> None:
    ada = keys.make_key("Ada <ada@example.org>")
    head = keys.commit(ada, upstream, {"a.yaml": "1"})
    ours = remote(upstream, trusting(tmp_path, keys, ada))
    assert ours.fetch(None).id == head
    assert ours.verify_signature(head) == f"Ada <ada@example.org> ({ada})"


def test_a_subkey_is_let_in_by_its_primary_key_or_by_itself(
    upstream: Repository, tmp_path: Path, keys: GnuPG
) -> None:
    ada = keys.make_key("Ada <ada@example.org>")
    subkey = keys.make_subkey(ada)
    head = keys.commit(subkey, upstream, {"a.yaml": "1"})
    for trusted in (ada, subkey):
        ours = remote(upstream, trusting(tmp_path, keys, trusted))
        assert ours.fetch(None).id == head
        assert ours.verify_signature(head) == f"Ada <ada@example.org> ({subkey})"
    keys.commit(ada, upstream, {"a.yaml": "2"})
    said = refusal(upstream, trusting(tmp_path, keys, subkey))
    assert "that gpg_fingerprints does not list" in said


def test_an_openpgp_key_of_the_file_that_is_not_listed_is_refused(
    upstream: Repository, tmp_path: Path, keys: GnuPG
) -> None:
    ada, eve = keys.make_key("Ada <ada@example.org>"), keys.make_key("Eve <eve@example.org>")
    keys.commit(eve, upstream, {"a.yaml": "1"})
    said = refusal(upstream, trusting(tmp_path, keys, ada))
    assert f"is signed by Eve <eve@example.org> ({eve}), a key of" in said
    assert "that gpg_fingerprints does not list" in said


def test_an_openpgp_key_that_is_listed_but_not_in_the_file_is_refused(
    upstream: Repository, tmp_path: Path, keys: GnuPG
) -> None:
    ada, eve = keys.make_key("Ada <ada@example.org>"), keys.make_key("Eve <eve@example.org>")
    keys.commit(eve, upstream, {"a.yaml": "1"})
    policy = trusting(tmp_path, keys, ada, eve)
    policy.keys.write_text(keys.export(ada))
    said = refusal(upstream, policy)
    assert f"is signed by the OpenPGP key {eve[-16:]}, which gpg_keys" in said


def test_an_expired_openpgp_key_is_refused(
    upstream: Repository, tmp_path: Path, keys: GnuPG
) -> None:
    ada = keys.make_key("Ada <ada@example.org>")
    keys.commit(ada, upstream, {"a.yaml": "1"})
    policy = trusting(tmp_path, keys, ada)
    remote(upstream, policy).fetch(None)
    keys.expire(ada)
    said = refusal(upstream, trusting(tmp_path, keys, ada))
    assert "which has expired. It is not used; extend the key" in said


def test_a_revoked_openpgp_key_is_refused(
    upstream: Repository, tmp_path: Path, keys: GnuPG
) -> None:
    ada = keys.make_key("Ada <ada@example.org>")
    keys.commit(ada, upstream, {"a.yaml": "1"})
    keys.revoke(ada)
    assert "which was revoked" in refusal(upstream, trusting(tmp_path, keys, ada))


def test_an_unsigned_commit_is_refused_where_openpgp_is_wanted(
    upstream: Repository, tmp_path: Path, keys: GnuPG
) -> None:
    upstream.commit({"a.yaml": "1"})
    ada = keys.make_key("Ada <ada@example.org>")
    assert "sign it with an OpenPGP key" in refusal(upstream, trusting(tmp_path, keys, ada))


@pytest.mark.parametrize("content", [None, "", "not a key\n"])
def test_without_a_usable_file_of_openpgp_keys_nothing_is_let_in(
    upstream: Repository, tmp_path: Path, keys: GnuPG, content: str | None
) -> None:
    ada = keys.make_key("Ada <ada@example.org>")
    keys.commit(ada, upstream, {"a.yaml": "1"})
    policy = GpgSignatures(tmp_path / "keys.asc", frozenset({ada}))
    if content is not None:
        policy.keys.write_text(content)
    assert f"gpg_keys ({policy.keys}) cannot be read" in refusal(upstream, policy)


def test_without_a_temporary_folder_nothing_is_let_in_and_the_reason_is_told(
    upstream: Repository, tmp_path: Path, keys: GnuPG, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = keys.make_key("Ada <ada@example.org>")
    keys.commit(ada, upstream, {"a.yaml": "1"})
    source = remote(upstream, trusting(tmp_path, keys, ada))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(SourceError, match=r"keyring .* No such file or directory; make room"):
        source.fetch(None)


def test_a_keyring_of_this_host_makes_nobody_trusted(
    upstream: Repository, tmp_path: Path, keys: GnuPG, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, eve = keys.make_key("Ada <ada@example.org>"), keys.make_key("Eve <eve@example.org>")
    home = tmp_path / "home/.gnupg"
    home.mkdir(mode=0o700, parents=True)
    subprocess.run(
        ["gpg", "--homedir", str(home), "--no-autostart", "--quiet", "--import"],
        input=keys.export(), text=True, check=True, capture_output=True,
    )  # fmt: skip
    monkeypatch.setenv("HOME", str(home.parent))
    monkeypatch.setenv("GNUPGHOME", str(home))
    keys.commit(eve, upstream, {"a.yaml": "1"})
    policy = trusting(tmp_path, keys, ada, eve)
    policy.keys.write_text(keys.export(ada))
    assert "does not hold" in refusal(upstream, policy)


# Either kind, where the other is wanted


def test_an_openpgp_signature_does_not_pass_for_an_ssh_one(
    upstream: Repository, tmp_path: Path, ada: SshSigner, keys: GnuPG
) -> None:
    keys.commit(keys.make_key("Ada <ada@example.org>"), upstream, {"a.yaml": "1"})
    said = refusal(upstream, allowing(tmp_path, ada))
    assert "has an OpenPGP signature, but the policy requires one by an SSH key" in said


def test_an_ssh_signature_does_not_pass_for_an_openpgp_one(
    upstream: Repository, tmp_path: Path, ada: SshSigner, keys: GnuPG
) -> None:
    ada.commit(upstream, {"a.yaml": "1"})
    policy = trusting(tmp_path, keys, keys.make_key("Ada <ada@example.org>"))
    assert "has an SSH signature" in refusal(upstream, policy)


def test_a_check_leaves_nothing_running_and_nothing_behind(
    upstream: Repository, tmp_path: Path, keys: GnuPG, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = keys.make_key("Ada <ada@example.org>")
    head = keys.commit(ada, upstream, {"a.yaml": "1"})
    with TemporaryDirectory() as made:  # a short name: GnuPG makes sockets below it
        folder = Path(made)
        monkeypatch.setattr("tempfile.tempdir", made)
        monkeypatch.setenv("TMPDIR", made)
        assert remote(upstream, trusting(tmp_path, keys, ada)).fetch(None).id == head
        assert list(folder.iterdir()) == []
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert not [command for command in running if bytes(folder) in command]

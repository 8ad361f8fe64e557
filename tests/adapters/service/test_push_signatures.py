"""Signatures of pushes: what the forges document is taken, and nothing that differs in a bit."""

from __future__ import annotations

import base64
import hmac
import os
from email.message import Message
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitvs.adapters.service.push_signatures import (
    MAX_SECRET_BYTES,
    Event,
    Proof,
    event_of,
    proof_of,
    read_secret,
)
from gitvs.core.errors import SettingsError

SECRET = "It's a Secret to Everybody"
BODY = b"Hello, World!"
DIGEST = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
"""The values of GitHub's documentation, *Validating webhook deliveries*."""

STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD_BODY = b'{"test": 2432232314}'
STANDARD_HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
"""The values of the specification of Standard Webhooks, which GitLab's signing tokens follow."""

FORGES = {
    "github": {"X-Hub-Signature-256": f"sha256={DIGEST}"},
    "gitea": {"X-Gitea-Signature": DIGEST},
    "forgejo": {"X-Forgejo-Signature": DIGEST},
    "forgejo, all at once": {
        "X-Forgejo-Signature": DIGEST,
        "X-Gitea-Signature": DIGEST,
        "X-Gogs-Signature": DIGEST,
        "X-Hub-Signature": "sha1=" + "0" * 40,
        "X-Hub-Signature-256": f"sha256={DIGEST}",
    },
    "gitlab": {"X-Gitlab-Token": SECRET},
    "bearer": {"Authorization": f"Bearer {SECRET}"},
    "bearer in small letters": {"authorization": f"bearer {SECRET}"},
}


def message(headers: dict[str, str]) -> Message:
    made = Message()
    for name, value in headers.items():
        made[name] = value
    return made


def proof(headers: dict[str, str], body: bytes = BODY, secret: str = SECRET) -> Proof:
    return proof_of(message(headers), body, secret.encode())


@pytest.mark.parametrize("headers", FORGES.values(), ids=FORGES)
def test_each_forge_proves_a_push_as_it_documents(headers: dict[str, str]) -> None:
    assert proof(headers) is Proof.GIVEN
    assert proof(headers, secret="another secret, as long") is Proof.WRONG


@pytest.mark.parametrize("name", ["github", "gitea", "forgejo", "forgejo, all at once"])
def test_a_signature_holds_for_one_body_alone(name: str) -> None:
    assert proof(FORGES[name], BODY + b" ") is Proof.WRONG


def test_the_vector_of_rfc_4231_is_right() -> None:
    digest = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    headers = {"X-Gitea-Signature": digest}
    assert proof(headers, b"what do ya want for nothing?", "Jefe") is Proof.GIVEN


def test_a_signing_token_of_gitlab_signs_as_standard_webhooks_say() -> None:
    assert proof(STANDARD_HEADERS, STANDARD_BODY, STANDARD_SECRET) is Proof.GIVEN
    rotated = {
        **STANDARD_HEADERS,
        "webhook-signature": f"v1,bm90aGluZw== v2,x {STANDARD_HEADERS['webhook-signature']}",
    }
    assert proof(rotated, STANDARD_BODY, STANDARD_SECRET) is Proof.GIVEN
    for name in STANDARD_HEADERS:
        changed = {**STANDARD_HEADERS, name: STANDARD_HEADERS[name] + "1"}
        assert proof(changed, STANDARD_BODY, STANDARD_SECRET) is Proof.WRONG
    assert proof(STANDARD_HEADERS, STANDARD_BODY + b" ", STANDARD_SECRET) is Proof.WRONG
    for secret in (SECRET, STANDARD_SECRET[6:], "whsec_no Base64 at all"):
        assert proof(STANDARD_HEADERS, STANDARD_BODY, secret) is Proof.WRONG


def test_a_signing_token_signs_for_other_forges_as_it_is_written() -> None:
    digest = hmac.digest(STANDARD_SECRET.encode(), BODY, "sha256").hex()
    assert proof({"X-Gitea-Signature": digest}, secret=STANDARD_SECRET) is Proof.GIVEN


def test_one_right_signature_is_enough() -> None:
    """GitLab sends its secret token beside the signature of its signing token."""
    headers = {**STANDARD_HEADERS, "X-Gitlab-Token": "something else"}
    assert proof(headers, STANDARD_BODY, STANDARD_SECRET) is Proof.GIVEN


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-Hub-Signature": "sha1=" + "0" * 40}, {"Content-Type": "application/json"}],
)
def test_a_request_without_a_signature_proves_nothing(headers: dict[str, str]) -> None:
    assert proof(headers) is Proof.MISSING


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Hub-Signature-256": ""},
        {"X-Hub-Signature-256": "sha256="},
        {"X-Hub-Signature-256": f"sha256={DIGEST.upper()}"},
        {"X-Hub-Signature-256": f"sha256={DIGEST[:-1]}"},
        {"X-Hub-Signature-256": f"sha1={DIGEST}"},
        {"X-Gitlab-Token": ""},
        {"X-Gitlab-Token": SECRET[:-1]},
        {"X-Gitlab-Token": "é" * 9},
        {"Authorization": "Bearer "},
        {"Authorization": SECRET},
        {"Authorization": f"Basic {base64.b64encode(SECRET.encode()).decode()}"},
        {"webhook-signature": "v1,"},
    ],
    ids=str,
)
def test_what_is_nearly_right_is_wrong(headers: dict[str, str]) -> None:
    assert proof(headers) is Proof.WRONG


HEADERS = st.sampled_from([*FORGES["forgejo, all at once"], "X-Gitlab-Token", "Authorization"])


@given(st.dictionaries(HEADERS | st.just("webhook-signature"), st.text()), st.binary())
def test_nobody_finds_a_signature_without_the_secret(headers: dict[str, str], body: bytes) -> None:
    assert proof(headers, body, "whsec_" + "0" * 64) is not Proof.GIVEN


@pytest.mark.parametrize(
    ("headers", "event"),
    [
        ({}, Event.PUSH),
        ({"X-GitHub-Event": "push"}, Event.PUSH),
        ({"X-GitHub-Event": "ping"}, Event.PING),
        ({"X-GitHub-Event": "issues"}, Event.OTHER),
        ({"X-Gitea-Event": "push", "X-GitHub-Event": "push", "X-Gogs-Event": "push"}, Event.PUSH),
        ({"X-Forgejo-Event": "create", "X-GitHub-Event": "create"}, Event.OTHER),
        ({"X-Gitlab-Event": "Push Hook"}, Event.PUSH),
        ({"X-Gitlab-Event": "Tag Push Hook"}, Event.OTHER),
        ({"X-Gitlab-Event": "Note Hook"}, Event.OTHER),
        ({"X-Gitlab-Event": ""}, Event.OTHER),
    ],
)
def test_a_forge_names_its_event(headers: dict[str, str], event: Event) -> None:
    assert event_of(message(headers)) is event


# The file of the secret


def secret_file(folder: Path, content: bytes = SECRET.encode(), mode: int = 0o640) -> Path:
    file = folder / "secret"
    file.write_bytes(content)
    file.chmod(mode)
    return file


def refusal(file: Path) -> str:
    with pytest.raises(SettingsError) as refused:
        read_secret(file)
    return str(refused.value)


@pytest.mark.parametrize("content", [SECRET, f"{SECRET}\n", f" {SECRET}\r\n\n"])
def test_white_space_around_a_secret_does_not_count(tmp_path: Path, content: str) -> None:
    assert read_secret(secret_file(tmp_path, content.encode())) == SECRET.encode()


def test_a_secret_in_any_script_signs_its_bytes(tmp_path: Path) -> None:
    text = "пароль из многих букв"
    digest = hmac.digest(text.encode(), BODY, "sha256").hex()
    secret = read_secret(secret_file(tmp_path, text.encode()))
    assert proof_of(message({"X-Gitea-Signature": digest}), BODY, secret) is Proof.GIVEN


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"too short\n", "has 9 bytes; 16 are the fewest"),
        (b"the first secret\nthe second secret\n", "has more than one line"),
        (b"x" * (MAX_SECRET_BYTES + 1), "over 4096 bytes"),
    ],
)
def test_a_file_without_one_good_secret_is_refused(
    tmp_path: Path, content: bytes, what: str
) -> None:
    file = secret_file(tmp_path, content)
    said = refusal(file)
    assert said.startswith(f"hook.secret_file: {file} ")
    assert what in said
    assert f"`chgrp gitvs {file}; chmod 640 {file}`" in said


@pytest.mark.parametrize("mode", [0o644, 0o642, 0o641])
def test_a_secret_that_every_user_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    said = refusal(secret_file(tmp_path, mode=mode))
    assert f"may be used by every user of this host (mode {mode:04o})" in said
    assert SECRET not in said


def test_a_secret_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    assert "cannot be read: No such file or directory" in refusal(tmp_path / "none")
    assert "is not a regular file" in refusal(Path("/dev/null"))
    os.mkfifo(tmp_path / "pipe")
    assert "is not a regular file" in refusal(tmp_path / "pipe")
    assert "cannot be read" in refusal(tmp_path) or "regular" in refusal(tmp_path)

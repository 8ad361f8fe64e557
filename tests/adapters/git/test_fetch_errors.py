"""Why a fetch failed: the cause comes first, once, and without Git's own advice."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gitvs.adapters.git.fetch_errors import known_cause
from gitvs.adapters.git.hardened_git import GitFailed, error_lines
from gitvs.adapters.git.remote import GitRemote
from gitvs.core.errors import SourceError, SourceUnreachable
from gitvs.core.settings import RemoteSettings
from tests.support.git.git_server import git_server
from tests.support.git.repositories import Repository


@pytest.fixture
def upstream(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "upstream")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a proxy of this host out of the way to its loopback."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def failure(state: Path, settings: RemoteSettings) -> SourceError:
    """Fetch what cannot be fetched, and return the error."""
    with pytest.raises(SourceError) as raised:
        GitRemote(state, settings).fetch(None)
    return raised.value


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make PATH a folder with `env` and `sh` alone."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("env", "sh"):
        (folder / name).symlink_to(shutil.which(name) or "")
    (folder / "gits").symlink_to(shutil.which("git") or "")
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_an_error_of_git_comes_without_its_advice(upstream: Repository, state: Path) -> None:
    upstream.commit({"a.yaml": "1"})
    text = str(failure(state, RemoteSettings(str(upstream.folder), "gone", allow_local=True)))
    assert text == (
        f"{upstream.folder}, branch gone: the remote has no such branch (git said: fatal: couldn't"
        " find remote ref refs/heads/gone)"
    )


def test_the_cause_comes_first_and_each_line_once() -> None:
    lines = [
        b"remote: GitLab: welcome",
        b"hint: Turn this message off",
        b"warning: something is deprecated",
        b"error: object 12 is bad",
        b"error: object 12 is bad",
        b"fatal: index-pack failed",
    ]
    found = error_lines(b"\n".join(lines))
    assert found == ["error: object 12 is bad", "remote: GitLab: welcome"]


def test_a_consequence_is_kept_if_there_is_no_cause() -> None:
    assert error_lines(b"hint: x\nfatal: early EOF\n") == ["hint: x", "fatal: early EOF"]


def test_a_long_error_keeps_its_beginning() -> None:
    text = str(GitFailed(1, error_lines(b"fatal: the cause " + b"x" * 10_000)))
    assert text.startswith("git said: fatal: the cause xxx")
    assert (len(text), text[-1]) == (510, "…")


def test_a_cause_is_found_below_many_lines() -> None:
    noise = b"\n".join(b"@ line %d of a notice" % n for n in range(100))
    cause = known_cause(GitFailed(1, error_lines(noise + b"\nHost key verification failed.")))
    assert cause == (
        SourceUnreachable,
        "its host key is not in known_hosts, or differs from the key there (git said:"
        " Host key verification failed.)",
    )


@pytest.mark.parametrize("setting", ["ssh_key", "known_hosts"])
def test_a_missing_file_for_ssh_is_named_by_its_setting(state: Path, setting: str) -> None:
    settings = replace(RemoteSettings("ssh://git@127.0.0.1:1/r"), **{setting: Path("/no/file")})
    error = failure(state, settings)
    assert str(error).startswith(f"{setting} (/no/file) cannot be read: No such file or directory")
    assert not error.is_transient


@pytest.mark.parametrize("setting", ["credentials_file", "ca_file"])
def test_a_missing_file_for_https_is_named_by_its_setting(state: Path, setting: str) -> None:
    settings = replace(RemoteSettings("https://127.0.0.1:1/r"), **{setting: Path("/no/file")})
    assert str(failure(state, settings)).startswith(f"{setting} (/no/file) cannot be read: No such")


def test_a_file_that_this_protocol_does_not_read_may_be_missing(
    upstream: Repository, state: Path
) -> None:
    head = upstream.commit({"a.yaml": "1"})
    settings = RemoteSettings(str(upstream.folder), allow_local=True, ssh_key=Path("/no/file"))
    assert GitRemote(state, settings).fetch(None).id == head


def test_a_missing_ssh_is_called_by_its_name(state: Path, only: Path) -> None:
    (only / "gits").rename(only / "git")
    text = str(failure(state, RemoteSettings("ssh://git@127.0.0.1:1/r")))
    assert ": no ssh is installed here, or it is not in PATH; install it" in text
    assert "no repository" not in text


def test_a_missing_git_is_called_by_its_name(state: Path, only: Path) -> None:
    text = str(failure(state, RemoteSettings("https://127.0.0.1:1/r")))
    assert "no git is installed here, or it is not in PATH" in text


@pytest.mark.parametrize("page", [b"", b"<html>Log in</html>", b"<html>\nLog in\n", b"a\n\tb\n"])
def test_a_page_that_is_no_repository_is_called_one(
    state: Path, tmp_path: Path, page: bytes
) -> None:
    with git_server(tmp_path, page=page) as server:
        settings = RemoteSettings(f"{server.url}/net/lb.git", ca_file=server.ca_file)
        error = failure(state, settings)
    assert "a web page" in str(error)
    assert "such as a login page" in str(error)
    assert "no such branch" not in str(error)
    assert isinstance(error, SourceUnreachable)


def test_a_remote_that_refuses_cannot_be_reached(state: Path) -> None:
    text = str(failure(state, RemoteSettings("https://127.0.0.1:1/r")))
    assert text.startswith("https://127.0.0.1:1/r, branch main: it cannot be reached (git said: ")

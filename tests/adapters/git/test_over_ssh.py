"""Fetching over a real sshd: what gets in, what does not, and servers that fail midway."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gitvs.adapters.git.remote import GitRemote
from gitvs.core.errors import RewrittenBranch, SourceError, SourceUnreachable
from gitvs.core.settings import RemoteSettings
from tests.support.agents import eventually
from tests.support.git.repositories import Repository
from tests.support.git.ssh_server import (
    SshServer,
    free_port,
    hanging_up_after,
    ssh_server,
    stalling_after,
)


@pytest.fixture
def upstream(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "upstream")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    with ssh_server(tmp_path / "sshd") as running:
        yield running


def settings(server: SshServer, upstream: Repository) -> RemoteSettings:
    return RemoteSettings(
        server.url(upstream.folder / ".git"),
        timeout_seconds=20,
        ssh_key=server.key,
        known_hosts=server.known_hosts,
    )


def remote(server: SshServer, upstream: Repository) -> GitRemote:
    return GitRemote(upstream.folder.parent / "state", settings(server, upstream))


def files(remote: GitRemote, commit_id: str) -> dict[str, bytes]:
    return {file.path: file.data for file in remote.manifests_of(commit_id).load().files}


def running(word: str) -> list[str]:
    """The processes whose command line has a word."""
    commands = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            commands.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return [command for command in commands if word in command]


def test_a_branch_is_followed_over_ssh(server: SshServer, upstream: Repository) -> None:
    first = upstream.commit({"a.yaml": "1"})
    ours = remote(server, upstream)
    assert ours.fetch(None).id == first
    second = upstream.commit({"a.yaml": "2"})
    assert ours.fetch(first).id == second
    assert files(ours, second) == {"a.yaml": b"2"}


def test_a_server_with_another_host_key_is_refused(
    server: SshServer, upstream: Repository, tmp_path: Path
) -> None:
    upstream.commit({"a.yaml": "1"})
    other = tmp_path / "known_hosts"
    host = server.known_hosts.read_text().split()[0]
    other.write_text(f"{host} {server.key.with_suffix('.pub').read_text()}")
    (tmp_path / "empty").write_text("")
    for known_hosts in (other, tmp_path / "empty"):
        ours = GitRemote(
            tmp_path / "state", replace(settings(server, upstream), known_hosts=known_hosts)
        )
        with pytest.raises(SourceUnreachable, match="its host key is not in known_hosts"):
            ours.fetch(None)


def test_a_key_that_the_server_does_not_know_is_not_let_in(
    server: SshServer, upstream: Repository, tmp_path: Path
) -> None:
    upstream.commit({"a.yaml": "1"})
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    ours = GitRemote(tmp_path / "state", replace(settings(server, upstream), ssh_key=key))
    with pytest.raises(SourceUnreachable, match="it denies access; check ssh_key"):
        ours.fetch(None)


def test_a_key_with_a_passphrase_does_not_make_it_wait(
    server: SshServer, upstream: Repository, tmp_path: Path
) -> None:
    upstream.commit({"a.yaml": "1"})
    change = ["ssh-keygen", "-q", "-p", "-N", "a secret", "-f", str(server.key)]
    subprocess.run(change, check=True)
    with pytest.raises(SourceUnreachable, match="it denies access"):
        remote(server, upstream).fetch(None)


def test_a_repository_that_is_not_there_may_come_back(
    server: SshServer, upstream: Repository
) -> None:
    head = upstream.commit({"a.yaml": "1"})
    ours = remote(server, upstream)
    away = upstream.folder.with_name("away")
    upstream.folder.rename(away)
    with pytest.raises(SourceUnreachable, match="there is no repository at that url"):
        ours.fetch(None)
    away.rename(upstream.folder)
    assert ours.fetch(None).id == head


def test_a_force_push_and_a_deleted_branch_are_refused_over_ssh(
    server: SshServer, upstream: Repository
) -> None:
    upstream.commit({"a.yaml": "1"})
    accepted = upstream.commit({"a.yaml": "2"})
    ours = remote(server, upstream)
    ours.fetch(None)
    upstream.git("reset", "--quiet", "--hard", "HEAD~1")
    head = upstream.commit({"a.yaml": "3"})
    with pytest.raises(RewrittenBranch) as refusal:
        ours.fetch(accepted)
    assert refusal.value.head == head
    upstream.git("checkout", "--quiet", "--detach")
    upstream.git("branch", "--quiet", "-D", "main")
    with pytest.raises(SourceError, match="the remote has no such branch"):
        ours.fetch(accepted)
    assert files(ours, accepted) == {"a.yaml": b"2"}
    upstream.git("branch", "main", accepted)
    assert ours.fetch(accepted).id == accepted


def test_a_server_that_goes_away_and_comes_back_is_fetched_from_again(
    upstream: Repository, tmp_path: Path
) -> None:
    first = upstream.commit({"a.yaml": "1"})
    with ssh_server(tmp_path / "sshd") as server:
        ours = remote(server, upstream)
        ours.fetch(None)
    second = upstream.commit({"a.yaml": "2"})
    with pytest.raises(SourceUnreachable, match="Connection refused"):
        ours.fetch(first)
    assert files(ours, first) == {"a.yaml": b"1"}
    with ssh_server(tmp_path / "sshd", server.port):
        assert ours.fetch(first).id == second


def test_a_server_that_stops_in_the_middle_of_a_pack_is_given_up_and_leaves_nothing(
    upstream: Repository, tmp_path: Path
) -> None:
    head = upstream.commit({"a.yaml": "1", "noise": os.urandom(4 * 1024 * 1024)})
    port = free_port()
    with ssh_server(tmp_path / "sshd", port, stalling_after(1024 * 1024)) as server:
        for seconds in (2, 8, 32):  # a slow machine has not come to the pack in the first ones
            patience = replace(settings(server, upstream), timeout_seconds=seconds)
            ours = GitRemote(tmp_path / "state", patience)
            with pytest.raises(SourceUnreachable, match=f"did not end within {seconds} s"):
                ours.fetch(None)
            eventually(lambda: running(str(server.key)) == [])
            eventually(lambda: running(str(tmp_path / "state")) == [])
            assert ours.fetched_head() is None
            packs = (tmp_path / "state/repository.git/objects/pack").glob("tmp_*")
            if halves := [pack for pack in packs if pack.stat().st_size > 512 * 1024]:
                break
    [half] = halves
    with ssh_server(tmp_path / "sshd", port) as server:
        assert remote(server, upstream).fetch(None).id == head
    assert not half.exists()


def test_a_server_that_hangs_up_in_the_middle_of_a_pack_is_unreachable(
    upstream: Repository, tmp_path: Path
) -> None:
    upstream.commit({"a.yaml": "1", "noise": os.urandom(4 * 1024 * 1024)})
    command = hanging_up_after(1024 * 1024)
    with ssh_server(tmp_path / "sshd", command=command) as server:
        with pytest.raises(SourceUnreachable) as failure:
            remote(server, upstream).fetch(None)
        assert remote(server, upstream).fetched_head() is None
    assert "did not end within" not in str(failure.value)


@pytest.mark.parametrize("command", ["echo Welcome to this host!", "cat /dev/urandom", "true"])
def test_a_server_that_does_not_speak_git_is_unreachable(
    upstream: Repository, tmp_path: Path, command: str
) -> None:
    upstream.commit({"a.yaml": "1"})
    with ssh_server(tmp_path / "sshd", command=command) as server:
        ours = GitRemote(tmp_path / "state", replace(settings(server, upstream), timeout_seconds=5))
        with pytest.raises(SourceUnreachable):
            ours.fetch(None)


def test_a_server_can_be_asked_for_nothing_but_git(server: SshServer, upstream: Repository) -> None:
    host = server.url(Path("/")).removesuffix("/")
    options = ["-F", "/dev/null", "-i", str(server.key), "-o", "BatchMode=yes"]
    options += ["-o", f"UserKnownHostsFile={server.known_hosts}"]
    done = subprocess.run(["ssh", *options, host, "id"], capture_output=True, check=False)
    assert done.returncode != 0
    assert b"uid=" not in done.stdout


def test_a_repository_full_of_traps_is_fetched_and_read(
    server: SshServer, upstream: Repository, tmp_path: Path
) -> None:
    """Links, a submodule, hooks, a filter, a big file, and names that are not UTF-8."""
    inner = Repository(tmp_path / "inner").commit({"inner.yaml": ""})
    mark = tmp_path / "something was run"
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch '{mark}'\ncat\n")
    trap.chmod(0o755)
    upstream.write(
        {
            "manifests/a.yaml": "a: $Id$\n",
            ".gitattributes": "*.yaml filter=f diff=f merge=f text eol=crlf ident\n",
            ".gitmodules": '[submodule "m"]\npath = manifests/m\nurl = ../inner\n',
            ".lfsconfig": "[lfs]\nurl = https://127.0.0.1:1/\n",
            os.fsdecode(b"caf\xe9.txt"): "x",
            os.fsdecode(b"\xff\xfe/a.yaml"): "x",
            "manifests/.hidden/b.yaml": "x",
        }
    )
    with (upstream.folder / "big.bin").open("wb") as big:
        big.truncate(100 * 1024 * 1024)
    (upstream.folder / "manifests/link.yaml").symlink_to("/etc/passwd")
    (upstream.folder / "manifests/loop").symlink_to("..")
    upstream.git("add", "--all")
    blob = upstream.git("hash-object", "-w", "--no-filters", "--stdin", stdin=b"a: $Id$\n")
    upstream.git("update-index", "--add", "--cacheinfo", f"100644,{blob},manifests/a.yaml")
    upstream.git("update-index", "--add", "--cacheinfo", f"160000,{inner},manifests/m")
    upstream.git("commit", "--quiet", "--message=Traps")
    for name in ("post-checkout", "reference-transaction", "post-merge", "proc-receive"):
        hook = upstream.folder / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_bytes(trap.read_bytes())
        hook.chmod(0o755)
    for part in ("smudge", "clean"):
        upstream.git("config", f"filter.f.{part}", str(trap))
    mark.unlink(missing_ok=True)
    ours = GitRemote(tmp_path / "state", replace(settings(server, upstream), path="manifests"))
    head = ours.fetch(None)
    snapshot = ours.manifests_of(head.id).load()
    assert {file.path: file.data for file in snapshot.files} == {"a.yaml": b"a: $Id$\n"}
    assert snapshot.skipped == ("link.yaml", "m")
    assert not mark.exists()
    ours.maintain()
    assert ours.fetch(head.id).id == head.id

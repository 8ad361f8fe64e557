"""From an announced push to the kernel, with polls an hour apart."""

from __future__ import annotations

import hmac
import logging
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError

import pytest

from gitvs.adapters.git.remote import GitRemote
from gitvs.agent import fetcher
from gitvs.core.model.history import Commit
from gitvs.core.settings import HookSettings, MetricsSettings
from tests.support.agents import Running, Site, eventually, service, site

SECRET = b"correct horse battery staple"


@pytest.fixture
def here(tmp_path: Path) -> Site:
    """A director with a hook, whose polls are too rare to matter."""
    made = site(tmp_path)
    source = made.settings.source
    assert not isinstance(source, Path)
    secret_file = tmp_path / "secret"
    secret_file.write_bytes(SECRET)
    secret_file.chmod(0o640)
    made.settings = replace(
        made.settings,
        source=replace(source, poll_seconds=3600),
        hook=HookSettings("127.0.0.1:0", secret_file),
    )
    return made


@pytest.fixture
def fetches(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Counts fetches, which go on as they are."""
    counted: list[str | None] = []
    fetch: Callable[[GitRemote, str | None], Commit] = GitRemote.fetch

    def counting(remote: GitRemote, accepted_head: str | None) -> Commit:
        counted.append(accepted_head)
        return fetch(remote, accepted_head)

    monkeypatch.setattr(GitRemote, "fetch", counting)
    return counted


def announce(address: str, secret: bytes = SECRET) -> int:
    """Announce a push as Forgejo does; return the status code of the answer."""
    body = b'{"ref": "refs/heads/main"}'
    headers = {
        "X-Forgejo-Event": "push",
        "X-Forgejo-Signature": hmac.digest(secret, body, "sha256").hex(),
    }
    request = urllib.request.Request(f"http://{address}/hooks/push", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            code: int = answer.status
    except HTTPError as error:
        error.close()
        return error.code
    return code


def hook_of(running: Running) -> str:
    return running.agent._hook.address


def test_a_push_is_in_force_without_a_poll(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        for weight in (5, 6):
            here.push(service(weight=weight))
            assert announce(hook_of(running)) == 202
            eventually(lambda weight=weight: here.weights() == [weight] * 2)  # type: ignore[misc]
        hook = running.order("status")["hook"]
        assert hook["listen"] == "127.0.0.1:0"
        assert hook["error"] is None
        assert hook["lastPushAt"] is not None


def test_a_push_that_is_not_proven_is_not_fetched(here: Site, fetches: list[str | None]) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.push(service(weight=5))
        assert announce(hook_of(running), b"another secret of that length") == 403
        assert len(fetches) == 1
        assert here.weights() == [1, 1]
        assert running.order("status")["hook"]["lastPushAt"] is None


def test_a_flood_of_pushes_causes_no_flood_of_fetches(
    here: Site, fetches: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher, "MIN_PUSH_INTERVAL_SECONDS", 3600.0)
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.push(service(weight=5))
        for _ in range(100):
            assert announce(hook_of(running)) == 202
        assert len(fetches) == 1, "the one at the start"
        running.order("sync")
        assert here.weights() == [5, 5]
        assert len(fetches) == 2


def test_requests_of_the_hook_are_counted(here: Site) -> None:
    here.settings = replace(here.settings, metrics=MetricsSettings("127.0.0.1:0"))
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        announce(hook_of(running))
        announce(hook_of(running), b"another secret of that length")
        address = running.agent._reporter.metrics.address
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=20) as answer:
            text = answer.read().decode()
    assert 'gitvs_hook_requests_total{result="accepted"} 1.0' in text
    assert 'gitvs_hook_requests_total{result="wrong-signature"} 1.0' in text


def reload(running: Running) -> None:
    """Have the settings read anew, and wait until they count."""
    follower = running.agent.follower
    running.agent.reload()
    eventually(lambda: running.agent.follower is not follower)
    running.order("sync")


def test_a_reload_keeps_a_hook_that_stays_and_stops_one_that_leaves(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        address = hook_of(running)
        reload(running)
        assert hook_of(running) == address
        here.push(service(weight=5))
        assert announce(address) == 202, "the fetch thread of the new settings is asked"
        eventually(lambda: here.weights() == [5, 5])
        here.settings = replace(here.settings, hook=HookSettings())
        reload(running)
        assert hook_of(running) == ""
        assert running.order("status")["hook"] is None
        with pytest.raises(OSError, match="refused"):
            announce(address)


def test_a_hook_that_cannot_work_keeps_nothing_else_from_working(
    here: Site, caplog: pytest.LogCaptureFixture
) -> None:
    secret_file = here.settings.hook.secret_file
    secret_file.unlink()
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.set_weight(99)
        here.push(service(weight=5))
        assert running.order("sync")["result"] == "applied"
        assert here.weights() == [5, 5]
        assert "No such file" in running.order("status")["hook"]["error"]
        assert announce(hook_of(running)) == 503
        secret_file.write_bytes(SECRET)
        secret_file.chmod(0o640)
        running.agent.work_queue.wake()
        eventually(lambda: running.order("status")["hook"]["error"] is None)
        here.push(service(weight=6))
        assert announce(hook_of(running)) == 202
        eventually(lambda: here.weights() == [6, 6])
    errors = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert errors[0].startswith("no push is accepted reason=hook.secret_file: ")
    assert SECRET.decode() not in caplog.text

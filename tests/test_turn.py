"""One turn of the agent, on real Git repositories and the kernel in memory.

Whatever keeps the newest commit from being applied, the applied one stays in force.
"""

from __future__ import annotations

import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pytest

from gitvs.adapters.git_remote import GitRemote
from gitvs.adapters.memory_kernel import MemoryKernel
from gitvs.adapters.settings import RemoteSettings
from gitvs.adapters.store import SqliteStore
from gitvs.cli.agent import exit_code
from gitvs.core.errors import ExitCode, SourceError
from gitvs.core.history import Result
from gitvs.core.model import RealServer, Scope
from gitvs.ports import Kernel
from gitvs.transaction import Ports
from gitvs.turn import TRIES, Turn, take_turn
from tests.faults import Crashed, FaultyKernel, How
from tests.sweep import TestClock

DIRECTOR = """
apiVersion: gitvs/v1
kind: Director
metadata: {name: lb1}
spec: {}
"""


def service(weight: int = 1, servers: int = 2, scheduler: str = "wlc") -> str:
    """A manifest of one service."""
    lines = [f"  - {{address: 10.0.0.{n}, weight: {weight}}}" for n in range(1, servers + 1)]
    return "\n".join(
        [
            "apiVersion: gitvs/v1",
            "kind: Service",
            "metadata: {name: web}",
            "spec:",
            "  vips: [203.0.113.10]",
            "  ports: [{port: 80}]",
            f"  scheduler: {scheduler}",
            "  realServers:",
            *lines,
        ]
    )


@dataclass
class Site:
    """A remote repository, and a director that follows it."""

    remote: Path
    state_dir: Path
    kernel: MemoryKernel

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.remote), "-c", "user.name=n", "-c", "user.email=n@x"]
        done = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def push(self, text: str, message: str = "change") -> str:
        """Commit a manifest; return the commit."""
        (self.remote / "web.yaml").write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def turn(self, kernel: Kernel | None = None) -> Turn:
        """One run of `gitvs agent --once`."""
        settings = RemoteSettings(str(self.remote), allow_local=True)
        with SqliteStore(self.state_dir) as store:
            ports = Ports(kernel or self.kernel, store, TestClock())
            return take_turn(ports, GitRemote(self.state_dir, settings), self.choose)

    def choose(self, known: Collection[str]) -> str:
        return "lb1"

    def weights(self) -> list[int]:
        """The weights in the kernel."""
        state = self.kernel.observe(Scope(frozenset({"gitvs0"}))).state
        return [s.weight for s in state.of(RealServer)]

    def applied(self) -> str | None:
        """The commit in force."""
        with SqliteStore(self.state_dir) as store:
            applied = store.applied()
            return applied.commit.id if applied is not None and applied.commit else None


@pytest.fixture
def site(tmp_path: Path) -> Site:
    remote = tmp_path / "remote"
    made = Site(remote, tmp_path / "state", MemoryKernel("gitvs:test"))
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(remote)], check=True)
    (remote / "lb1.yaml").write_text(DIRECTOR)
    made.push(service())
    return made


def test_a_turn_applies_the_head(site: Site) -> None:
    head = site.push(service(weight=5))
    turn = site.turn()
    assert turn.done is not None
    assert (turn.done.result, exit_code(turn)) == (Result.APPLIED, ExitCode.DONE)
    assert site.weights() == [5, 5]
    assert site.applied() == head


def test_a_second_turn_has_nothing_to_do(site: Site) -> None:
    site.turn()
    turn = site.turn()
    assert turn.done is not None
    assert turn.done.result is Result.CONVERGED


def drift(site: Site) -> None:
    """Somebody changes a weight by hand."""
    site.kernel.put(
        RealServer(
            *next(
                (s.listener, s.address, s.port, 77)
                for s in site.kernel.observe(Scope()).state.of(RealServer)
            )
        )
    )
    assert 77 in site.weights()


def test_an_invalid_commit_holds_the_applied_one_and_repairs_its_drift(site: Site) -> None:
    site.turn()
    applied = site.applied()
    drift(site)
    site.push(service().replace("scheduler", "shceduler"))
    turn = site.turn()
    assert exit_code(turn) is ExitCode.INVALID
    assert site.weights() == [1, 1]
    assert site.applied() == applied


def test_a_blocked_commit_holds_the_applied_one_and_repairs_its_drift(site: Site) -> None:
    site.turn()
    applied = site.applied()
    drift(site)
    site.push(service(weight=0))
    assert exit_code(site.turn()) is ExitCode.BLOCKED
    assert site.weights() == [1, 1]
    assert site.applied() == applied


def test_a_line_in_any_message_since_the_applied_commit_lifts_a_gate(site: Site) -> None:
    site.turn()
    site.push(service(weight=0), "off\n\nGitvs-Allow: last-real-server lb1\n\nmore")
    site.push(service(weight=0) + "\n", "later\n\nGitvs-Allow: capacity-drop")
    assert exit_code(site.turn()) is ExitCode.DONE
    assert site.weights() == [0, 0]


def test_a_line_from_before_the_applied_commit_lifts_nothing(site: Site) -> None:
    site.push(service(), "Gitvs-Allow: last-real-server\nGitvs-Allow: capacity-drop")
    site.turn()
    site.push(service(weight=0))
    assert exit_code(site.turn()) is ExitCode.BLOCKED


def test_a_remote_that_is_gone_holds_the_newest_accepted_commit(site: Site) -> None:
    site.turn()
    drift(site)
    site.remote.rename(site.remote.with_name("gone"))
    turn = site.turn()
    assert exit_code(turn) is ExitCode.ERROR
    assert site.weights() == [1, 1]


def test_a_remote_that_never_answered_leaves_nothing_to_hold(site: Site) -> None:
    site.remote.rename(site.remote.with_name("gone"))
    turn = site.turn()
    assert turn.done is None
    assert [type(p).__mro__[1] for p in turn.problems] == [SourceError]
    assert site.weights() == []


def test_a_rewritten_branch_is_refused_and_the_accepted_commit_stays(site: Site) -> None:
    site.push(service(weight=5))
    site.turn()
    site.git("reset", "--quiet", "--hard", "HEAD~1")
    site.push(service(weight=9))
    turn = site.turn()
    assert exit_code(turn) is ExitCode.ERROR
    assert "does not descend" in str(turn.problems[0])
    assert site.weights() == [5, 5]


def test_a_commit_that_was_rolled_back_is_tried_once_and_quarantined(site: Site) -> None:
    site.turn()
    site.push(service(weight=5))
    assert exit_code(site.turn(FaultyKernel(site.kernel, 0, How.REFUSED))) is ExitCode.ROLLED_BACK
    turn = site.turn()
    assert exit_code(turn) is ExitCode.ROLLED_BACK
    assert "not tried again" in str(turn.problems[0])
    assert site.weights() == [1, 1]
    site.push(service(weight=6))
    assert exit_code(site.turn()) is ExitCode.DONE
    assert site.weights() == [6, 6]


def test_a_failed_drift_repair_does_not_quarantine_the_commit_in_force(site: Site) -> None:
    site.turn()
    drift(site)
    assert exit_code(site.turn(FaultyKernel(site.kernel, 0, How.REFUSED))) is ExitCode.ROLLED_BACK
    assert exit_code(site.turn()) is ExitCode.DONE
    assert site.weights() == [1, 1]


def test_a_commit_that_crashes_every_time_is_quarantined(site: Site) -> None:
    site.turn()
    site.push(service(weight=5))
    for _ in range(TRIES):
        with pytest.raises(Crashed):
            site.turn(FaultyKernel(site.kernel, 0, How.CRASH_AFTER))
    turn = site.turn()
    assert turn.recovered is not None
    assert f"found open at start {TRIES} times" in str(turn.problems[0])
    assert site.weights() == [1, 1]


def test_a_director_without_a_document_is_invalid_and_never_an_empty_state(site: Site) -> None:
    site.turn()
    (site.remote / "lb1.yaml").write_text(DIRECTOR.replace("lb1", "lb2"))
    site.push(service())
    turn = site.turn()
    assert exit_code(turn) is ExitCode.INVALID
    assert site.weights() == [1, 1]


def test_where_several_exit_codes_hold_the_severest_is_told() -> None:
    every = [*ExitCode]
    assert ExitCode.severest(every) is ExitCode.STUCK
    assert ExitCode.severest([ExitCode.ERROR, ExitCode.BLOCKED]) is ExitCode.BLOCKED
    assert ExitCode.severest([]) is ExitCode.DONE

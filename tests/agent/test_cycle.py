"""One turn of the agent, on real Git repositories and the kernel in memory.

Whatever keeps the newest commit from being applied, the applied one stays in force.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from errno import EACCES
from pathlib import Path

import pytest

from gitvs.adapters.git.remote import GitRemote
from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.agent.actions.single_cycle import run_single_cycle
from gitvs.agent.cycle_result import CycleResult
from gitvs.cli.agent import cycle_exit_code
from gitvs.core.errors import ExitCode, SourceError
from gitvs.core.model.history import Outcome
from gitvs.core.model.resources import RealServer, Vip, VirtualService
from gitvs.core.planning.plan import Change
from gitvs.core.settings import RemoteSettings, SshSignatures
from gitvs.ports import Kernel, Ports, WriteResult
from gitvs.reconcile.quarantine import MAX_TIMES_FOUND_OPEN
from tests.support.agents import DIRECTOR, Site, service
from tests.support.agents import site as make_site
from tests.support.builders import vip
from tests.support.faults import Crashed, FaultyKernel, How, WrappedKernel
from tests.support.git.repositories import Repository
from tests.support.git.signing import ssh_signer
from tests.support.sweep import TestClock


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def turn(
    site: Site,
    kernel: Kernel | None = None,
    policy: SshSignatures | None = None,
    path: str = ".",
) -> CycleResult:
    """One run of `gitvs agent --once`."""
    settings = RemoteSettings(str(site.remote), path=path, allow_local=True, signatures=policy)
    with SqliteStore(site.state_dir) as store:
        ports = Ports(kernel or site.kernel, store, TestClock())
        return run_single_cycle(ports, GitRemote(site.state_dir, settings), site.choose)


def applied_commit(site: Site) -> str | None:
    """The commit in force."""
    with SqliteStore(site.state_dir) as store:
        applied = store.applied()
        return applied.commit.id if applied is not None and applied.commit else None


def test_a_turn_applies_the_head(site: Site) -> None:
    head = site.push(service(weight=5))
    done = turn(site)
    assert done.pass_result is not None
    assert (done.pass_result.outcome, cycle_exit_code(done)) == (Outcome.APPLIED, ExitCode.DONE)
    assert site.weights() == [5, 5]
    assert applied_commit(site) == head


def test_a_second_turn_has_nothing_to_do(site: Site) -> None:
    turn(site)
    done = turn(site)
    assert done.pass_result is not None
    assert done.pass_result.outcome is Outcome.CONVERGED


def test_after_a_restart_the_applied_state_and_the_rendered_one_share_everything(
    site: Site,
) -> None:
    turn(site)
    done = turn(site)
    assert done.pass_result is not None
    planned = done.pass_result.planned
    assert planned is not None
    assert planned.applied is not None
    assert planned.proposal.desired is planned.applied.desired


def drift(site: Site) -> None:
    """Somebody changes a weight by hand."""
    site.set_weight(77)
    assert 77 in site.weights()


def test_an_invalid_commit_holds_the_applied_one_and_repairs_its_drift(site: Site) -> None:
    turn(site)
    applied = applied_commit(site)
    drift(site)
    site.push(service().replace("scheduler", "shceduler"))
    done = turn(site)
    assert cycle_exit_code(done) is ExitCode.INVALID
    assert site.weights() == [1, 1]
    assert applied_commit(site) == applied


def test_a_blocked_commit_holds_the_applied_one_and_repairs_its_drift(site: Site) -> None:
    turn(site)
    applied = applied_commit(site)
    drift(site)
    site.push(service(weight=0))
    assert cycle_exit_code(turn(site)) is ExitCode.BLOCKED
    assert site.weights() == [1, 1]
    assert applied_commit(site) == applied


def test_a_line_in_any_message_since_the_applied_commit_lifts_a_gate(site: Site) -> None:
    turn(site)
    site.push(service(weight=0), "off\n\nGitvs-Allow: last-real-server lb1\n\nmore")
    site.push(service(weight=0) + "\n", "later\n\nGitvs-Allow: capacity-drop")
    assert cycle_exit_code(turn(site)) is ExitCode.DONE
    assert site.weights() == [0, 0]


def two_services(*weights: int) -> str:
    """Manifests of two services, with these weights."""
    other = service(weight=weights[1]).replace("name: web", "name: db").replace(".10]", ".11]")
    return f"{service(weight=weights[0])}\n---\n{other}"


LINES = "\n\nGitvs-Allow: last-real-server\nGitvs-Allow: capacity-drop"


def test_a_line_does_not_cover_what_comes_after_it(site: Site) -> None:
    site.push(two_services(1, 1))
    turn(site)
    site.push(two_services(0, 1), f"web off{LINES}")
    site.push(two_services(0, 0), "db off too")
    assert cycle_exit_code(turn(site)) is ExitCode.BLOCKED
    assert site.weights() == [1, 1, 1, 1]
    site.push(two_services(0, 0), f"yes, both{LINES}")
    assert cycle_exit_code(turn(site)) is ExitCode.DONE
    assert site.weights() == [0, 0, 0, 0]


def test_a_line_of_an_invalid_commit_lifts_nothing_and_that_is_said(site: Site) -> None:
    turn(site)
    invalid = site.push(service().replace("scheduler", "shceduler"), f"off{LINES}")
    site.push(service(weight=0))
    done = turn(site)
    assert cycle_exit_code(done) is ExitCode.BLOCKED
    assert [str(problem) for problem in done.problems] == [
        f"`Gitvs-Allow` in commit {invalid[:12]} is ignored: it is invalid (1 problem)"
    ]


def test_a_line_of_an_unsigned_commit_lifts_nothing_below_a_signed_head(
    site: Site, tmp_path: Path
) -> None:
    signer = ssh_signer(tmp_path, "ada@example.org")
    signers = tmp_path / "allowed_signers"
    signers.write_text(signer.allowed)
    policy = SshSignatures(signers)
    remote = Repository.__new__(Repository)
    remote.folder = site.remote
    signer.commit(remote, {"web.yaml": service()})
    turn(site, policy=policy)
    unsigned = site.push(service(weight=0), f"off{LINES}")
    signer.commit(remote, {"web.yaml": service(weight=0) + "\n"})
    done = turn(site, policy=policy)
    assert cycle_exit_code(done) is ExitCode.BLOCKED
    assert site.weights() == [1, 1]
    [problem] = done.problems
    assert f"`Gitvs-Allow` in commit {unsigned[:12]} is ignored" in str(problem)
    assert "is not signed" in str(problem)
    assert cycle_exit_code(turn(site)) is ExitCode.DONE


@pytest.mark.parametrize("merge_has_the_line", [False, True])
def test_a_line_of_a_branch_that_forked_before_the_applied_commit_lifts_nothing(
    site: Site, merge_has_the_line: bool
) -> None:
    fork = site.push(two_services(1, 0))
    turn(site)
    site.push(two_services(1, 1))
    turn(site)
    applied = applied_commit(site)
    site.git("checkout", "--quiet", "-b", "side", fork)
    side = site.push(two_services(0, 0), f"web off{LINES}")
    site.git("checkout", "--quiet", "main")
    site.git("merge", "--quiet", "--no-ff", "--no-commit", "--strategy=ours", "side")
    message = "Merge, with a conflict resolved wrongly"
    site.push(two_services(0, 0), message + LINES * merge_has_the_line)
    done = turn(site)
    if merge_has_the_line:
        assert cycle_exit_code(done) is ExitCode.DONE
        assert site.weights() == [0, 0, 0, 0]
        return
    assert cycle_exit_code(done) is ExitCode.BLOCKED
    assert site.weights() == [1, 1, 1, 1]
    assert applied is not None
    assert [str(problem) for problem in done.problems] == [
        f"`Gitvs-Allow` in commit {side[:12]} is ignored: its branch began before commit"
        f" {applied[:12]}, so it does not cover later changes; put the line into the"
        " merge commit"
    ]


def test_a_line_from_before_the_applied_commit_lifts_nothing(site: Site) -> None:
    site.push(service(), "Gitvs-Allow: last-real-server\nGitvs-Allow: capacity-drop")
    turn(site)
    site.push(service(weight=0))
    assert cycle_exit_code(turn(site)) is ExitCode.BLOCKED


def test_a_remote_that_is_gone_holds_the_newest_accepted_commit(site: Site) -> None:
    turn(site)
    drift(site)
    site.remote.rename(site.remote.with_name("gone"))
    done = turn(site)
    assert cycle_exit_code(done) is ExitCode.ERROR
    assert site.weights() == [1, 1]


def test_a_remote_that_never_answered_leaves_nothing_to_hold(site: Site) -> None:
    site.remote.rename(site.remote.with_name("gone"))
    done = turn(site)
    assert done.pass_result is None
    assert [type(p).__mro__[1] for p in done.problems] == [SourceError]
    assert site.weights() == []


def test_a_rewritten_branch_is_refused_and_the_accepted_commit_stays(site: Site) -> None:
    site.push(service(weight=5))
    turn(site)
    site.git("reset", "--quiet", "--hard", "HEAD~1")
    site.push(service(weight=9))
    done = turn(site)
    assert cycle_exit_code(done) is ExitCode.ERROR
    assert "does not descend" in str(done.problems[0])
    assert site.weights() == [5, 5]


def test_a_commit_that_was_rolled_back_is_tried_once_and_quarantined(site: Site) -> None:
    turn(site)
    site.push(service(weight=5))
    assert (
        cycle_exit_code(turn(site, FaultyKernel(site.kernel, 0, How.REFUSED)))
        is ExitCode.ROLLED_BACK
    )
    done = turn(site)
    assert cycle_exit_code(done) is ExitCode.ROLLED_BACK
    assert "not tried again" in str(done.problems[0])
    assert site.weights() == [1, 1]
    site.push(service(weight=6))
    assert cycle_exit_code(turn(site)) is ExitCode.DONE
    assert site.weights() == [6, 6]


def test_a_failed_drift_repair_does_not_quarantine_the_commit_in_force(site: Site) -> None:
    turn(site)
    drift(site)
    done = turn(site, FaultyKernel(site.kernel, 0, How.REFUSED))
    assert cycle_exit_code(done) is ExitCode.ERROR
    assert done.pass_result is not None
    assert len(done.pass_result.unrepairable) == 1
    assert cycle_exit_code(turn(site)) is ExitCode.DONE
    assert site.weights() == [1, 1]


def test_a_commit_that_crashes_every_time_is_quarantined(site: Site) -> None:
    turn(site)
    site.push(service(weight=5))
    for _ in range(MAX_TIMES_FOUND_OPEN):
        with pytest.raises(Crashed):
            turn(site, FaultyKernel(site.kernel, 0, How.CRASH_AFTER))
    done = turn(site)
    assert done.recovered is not None
    assert f"found open at start {MAX_TIMES_FOUND_OPEN} times" in str(done.problems[0])
    assert site.weights() == [1, 1]


def push_two_folders(site: Site) -> None:
    """Commit two folders, each with manifests of this director: `a`, and `b` of another VIP."""
    for folder, address, weight in (("a", "203.0.113.10", 1), ("b", "203.0.113.99", 7)):
        (site.remote / folder).mkdir()
        (site.remote / folder / "lb1.yaml").write_text(DIRECTOR)
        text = service(weight=weight).replace("203.0.113.10", address)
        (site.remote / folder / "web.yaml").write_text(text)
    site.git("rm", "--quiet", "lb1.yaml", "web.yaml")
    site.git("add", "--all")
    site.git("commit", "--quiet", "--message", "two folders")


def test_another_state_of_the_applied_commit_is_tried_once_and_quarantined_alone(
    site: Site,
) -> None:
    push_two_folders(site)
    turn(site, path="a")
    site.kernel.refused_keys[vip("203.0.113.99").key] = EACCES
    done = turn(site, path="b")
    assert cycle_exit_code(done) is ExitCode.ROLLED_BACK
    drift(site)
    done = turn(site, path="b")
    assert cycle_exit_code(done) is ExitCode.ROLLED_BACK
    assert "not tried again: it is applied, but means something else" in str(done.problems[0])
    assert "203.0.113.99" in str(done.problems[0])
    assert site.weights() == [1, 1], "what is applied is still repaired"
    with SqliteStore(site.state_dir) as store:
        outcomes = [entry.outcome for entry in store.history()]
        assert outcomes == [Outcome.APPLIED, Outcome.ROLLED_BACK, Outcome.APPLIED]
    assert cycle_exit_code(turn(site, path="a")) is ExitCode.DONE
    site.kernel.refused_keys.clear()
    with SqliteStore(site.state_dir) as store:
        store.clear_quarantine()
    assert cycle_exit_code(turn(site, path="b")) is ExitCode.DONE
    assert site.weights() == [0, 0, 7, 7]


@pytest.mark.parametrize("digest", ["", "0" * 32])
def test_a_failed_state_whose_digest_cannot_be_compared_is_tried_once_more(
    site: Site, digest: str
) -> None:
    """The state may be another one by now; if it is not, it fails and is quarantined again."""
    push_two_folders(site)
    turn(site, path="a")
    site.kernel.refused_keys[vip("203.0.113.99").key] = EACCES
    turn(site, path="b")
    with SqliteStore(site.state_dir) as store:
        [entry] = store.quarantined(site.kernel.incarnation())
        store.quarantine(site.kernel.incarnation(), entry.commit_id, entry.reason, digest)
    for _ in range(2):
        assert cycle_exit_code(turn(site, path="b")) is ExitCode.ROLLED_BACK
        drift(site)
    assert 77 in site.weights()
    turn(site, path="b")
    assert site.weights() == [1, 1]
    with SqliteStore(site.state_dir) as store:
        outcomes = [str(entry.outcome) for entry in store.history()]
        assert outcomes.count("rolled-back") == 2
        [entry] = store.quarantined(site.kernel.incarnation())
    assert entry.state_digest


@pytest.mark.parametrize("digest", ["", "0" * 32])
def test_a_commit_in_quarantine_stays_there_whatever_its_digest_is(site: Site, digest: str) -> None:
    turn(site)
    site.kernel.refused_keys[vip("203.0.113.99").key] = EACCES
    site.push(service().replace("203.0.113.10", "203.0.113.99"))
    turn(site)
    with SqliteStore(site.state_dir) as store:
        [entry] = store.quarantined(site.kernel.incarnation())
        store.quarantine(site.kernel.incarnation(), entry.commit_id, entry.reason, digest)
    assert "is not tried again" in str(turn(site).problems[0])
    with SqliteStore(site.state_dir) as store:
        assert [str(e.outcome) for e in store.history()].count("rolled-back") == 1


def test_another_state_of_the_applied_commit_that_crashes_every_time_is_quarantined(
    site: Site,
) -> None:
    push_two_folders(site)
    turn(site, path="a")
    for _ in range(MAX_TIMES_FOUND_OPEN):
        with pytest.raises(Crashed):
            turn(site, FaultyKernel(site.kernel, 0, How.CRASH_AFTER), path="b")
    done = turn(site, path="b")
    assert f"found open at start {MAX_TIMES_FOUND_OPEN} times" in str(done.problems[0])
    assert site.weights() == [1, 1]


def test_what_an_undo_could_not_put_back_is_repaired_in_the_same_cycle(site: Site) -> None:
    turn(site)

    class Meddling(WrappedKernel):
        """A kernel in which the service goes away, once, while its real servers change."""

        is_done = False

        def execute(self, changes: Sequence[Change]) -> list[WriteResult]:
            if not self.is_done:
                self.is_done = True
                site.kernel.remove(site.state().of_type(VirtualService)[0])
            return super().execute(changes)

    site.push(service(weight=5))
    done = turn(site, Meddling(site.kernel))
    assert cycle_exit_code(done) is ExitCode.ROLLED_BACK
    assert done.pass_result is not None
    assert done.pass_result.transaction is not None
    assert len(done.pass_result.transaction.not_undone) == 2
    assert site.weights() == [1, 1]
    with SqliteStore(site.state_dir) as store:
        [entry] = store.quarantined(site.kernel.incarnation())
    assert "not undone" not in entry.reason


def test_a_director_without_a_document_is_invalid_and_never_an_empty_state(site: Site) -> None:
    turn(site)
    (site.remote / "lb1.yaml").write_text(DIRECTOR.replace("lb1", "lb2"))
    site.push(service())
    done = turn(site)
    assert cycle_exit_code(done) is ExitCode.INVALID
    assert site.weights() == [1, 1]


def test_a_bug_in_loading_holds_the_applied_commit_and_repairs_its_drift(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    turn(site)
    applied = applied_commit(site)
    drift(site)
    head = site.push(service(weight=5))
    site.chooser = _bug
    done = turn(site)
    (problem,) = done.problems
    assert f"commit {head[:12]} was not read: gitvs met a bug, ZeroDivisionError" in str(problem)
    assert "ZeroDivisionError" in caplog.text
    assert cycle_exit_code(done) is ExitCode.ERROR
    assert site.weights() == [1, 1]
    assert applied_commit(site) == applied


def _bug(known: Collection[str]) -> str:
    raise ZeroDivisionError


def test_where_several_exit_codes_hold_the_severest_is_told() -> None:
    every = [*ExitCode]
    assert ExitCode.severest(every) is ExitCode.STUCK
    assert ExitCode.severest([ExitCode.ERROR, ExitCode.BLOCKED]) is ExitCode.BLOCKED
    assert ExitCode.severest([]) is ExitCode.DONE


def test_a_commit_is_not_judged_by_what_cannot_be_repaired(site: Site) -> None:
    turn(site)
    sick = vip("203.0.113.10")
    site.kernel.remove(sick)
    site.kernel.refused_keys[sick.key] = EACCES
    site.push(service(weight=5))
    done = turn(site)
    assert cycle_exit_code(done) is ExitCode.ERROR
    assert [u.key for p in done.pass_results for u in p.unrepairable] == [sick.key]
    assert site.weights() == [5, 5]
    site.kernel.refused_keys.clear()
    assert cycle_exit_code(turn(site)) is ExitCode.DONE
    assert sick.key in site.state()


def test_drift_of_what_a_commit_changes_is_repaired_if_it_is_rolled_back(site: Site) -> None:
    turn(site)
    first, second = site.state().of_type(RealServer)
    drift(site)
    site.kernel.refused_keys[second.key] = EACCES
    site.push(service(weight=5))
    assert cycle_exit_code(turn(site)) is ExitCode.ROLLED_BACK
    assert site.state()[first.key] == first


def test_a_repair_that_cannot_be_read_back_is_not_held_against_the_commit(site: Site) -> None:
    turn(site)
    site.push(service(weight=5))
    for _ in range(MAX_TIMES_FOUND_OPEN):
        site.kernel.remove(site.state().of_type(Vip)[0])
        done = turn(site, FaultyKernel(site.kernel, 1, How.UNREADABLE))
        assert done.pass_result is not None
        assert done.pass_result.transaction is not None
        assert done.pass_result.transaction.is_repair
        assert done.pass_result.outcome is Outcome.ROLLED_BACK
        site.kernel.put(vip("203.0.113.10"))
    assert cycle_exit_code(turn(site)) is ExitCode.DONE
    assert site.weights() == [5, 5]

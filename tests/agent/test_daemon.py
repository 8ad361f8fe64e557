"""The daemon: what sets off a turn, and what operators may ask of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import timedelta
from errno import EACCES
from ipaddress import ip_address
from pathlib import Path
from shutil import rmtree

import pytest

from gitvs.adapters.git.remote import GitRemote
from gitvs.adapters.process.writer_lock import prepare_lock_folder, writer_lock
from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.agent.fetcher import FetchResult
from gitvs.core.errors import KernelUnreadable, LockHeld, StoreDamaged
from gitvs.core.model.history import Commit, Outcome
from gitvs.core.model.observation import Observation, Scope
from gitvs.core.model.resources import RealServer, Vip
from gitvs.core.planning.operations import OperationKind
from gitvs.core.settings import RemoteSettings, Settings, SshSignatures
from tests.support.agents import Running, Site, eventually, service, site
from tests.support.builders import endpoint, vip, virtual_service
from tests.support.faults import FaultyKernel, How, WrappedKernel
from tests.support.git.repositories import Repository
from tests.support.git.signing import SshSigner, ssh_signer
from tests.support.programs import started_programs


@pytest.fixture
def here(tmp_path: Path) -> Site:
    return site(tmp_path)


def problems_of(running: Running) -> str:
    """Why the newest pass did nothing."""
    last_pass = running.status.last_pass
    return "" if last_pass is None else " ".join(last_pass.problems)


def slow_polls(here: Site) -> None:
    """Have the remote asked once at start, and then on demand alone."""
    source = here.settings.source
    assert not isinstance(source, Path)
    here.settings = replace(here.settings, source=replace(source, poll_seconds=3600))


def test_a_commit_is_applied_within_one_poll(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        head = here.push(service(weight=5))
        eventually(lambda: here.weights() == [5, 5])
        eventually(lambda: getattr(running.status.applied_commit, "id", None) == head)
        assert running.status.source.head == running.status.applied_commit


def test_a_change_starts_a_fetch_a_listing_and_a_pin_and_no_other_program(here: Site) -> None:
    slow_polls(here)
    with here.running() as running:
        running.order("sync")
        for weight in (5, 6):
            here.push(service(weight=weight))
            with started_programs(here.state_dir) as started:
                running.order("sync")
                eventually(lambda: "update-ref" in started)  # it comes after the apply
            assert here.weights() == [weight, weight]
        assert started == ["fetch", "ls-tree", "update-ref"]


def test_a_database_that_is_damaged_when_a_commit_comes_ends_the_agent(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_damaged = threading.Event()

    def damaged(store: SqliteStore, commit_id: str) -> None:
        is_damaged.set()
        raise StoreDamaged("not a database")

    def meet_damage() -> None:
        with here.running() as running:
            eventually(lambda: here.weights() == [1, 1])
            monkeypatch.setattr(SqliteStore, "accept_head", damaged)
            here.push(service(weight=7))
            running.agent.work_queue.submit(running.agent.sync)
            assert is_damaged.wait(120)

    slow_polls(here)
    with pytest.raises(StoreDamaged):
        meet_damage()


def test_sync_fetches_at_once_and_waits_for_the_pass(here: Site) -> None:
    slow_polls(here)
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.push(service(weight=7))
        answer = running.order("sync")
        assert (answer["result"], answer["exitCode"]) == ("applied", 0)
        assert here.weights() == [7, 7]


def test_a_reload_fetches_at_once(here: Site) -> None:
    slow_polls(here)
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.push(service(weight=7))
        running.agent.reload()
        eventually(lambda: here.weights() == [7, 7])


def test_settings_that_cannot_be_used_change_nothing_on_reload(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.settings = replace(here.settings, source=here.folder / "nowhere")
        running.agent.reload()
        here.push(service(weight=3))
        eventually(lambda: here.weights() == [3, 3])


def test_drift_is_repaired_within_the_drift_interval(here: Site) -> None:
    here.settings = replace(here.settings, drift_seconds=0.3)
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.set_weight(99)
        eventually(lambda: here.weights() == [1, 1])
        eventually(lambda: running.status.last_pass is not None)


OTHERS = service().replace("web", "other").replace("203.0.113.10", "203.0.113.11")


def test_a_commit_is_applied_from_what_it_is_about_and_the_status_claims_no_more(
    here: Site,
) -> None:
    (here.remote / "other.yaml").write_text(OTHERS)
    here.push(service())
    slow_polls(here)
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1, 1, 1])
        eventually(lambda: running.status.observed_at is not None)
        read_at = running.status.observed_at
        other = here.state().of_type(RealServer)[-1]
        here.kernel.put(replace(other, weight=77))
        here.push(service(weight=5))
        running.order("sync")
        assert here.weights() == [5, 5, 1, 77], "its drift is for the drift timer"
        assert running.status.observed_at == read_at
        running.order("sync")
        assert here.weights() == [5, 5, 1, 1]
        assert running.status.observed_at != read_at


class Counting(WrappedKernel):
    """A kernel that counts its readings, and takes its time."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.kernel)
        self.readings = 0

    def observe(self, scope: Scope) -> Observation:
        self.readings += 1
        time.sleep(0.05)
        return self._kernel.observe(scope)


def test_a_thousand_events_make_one_or_two_passes(here: Site) -> None:
    slow_polls(here)
    kernel = Counting(here)
    with here.running(kernel) as running:
        eventually(lambda: here.weights() == [1, 1])
        running.order("sync")
        before = kernel.readings
        for _ in range(1000):
            running.agent.work_queue.add_trigger("address changed", 0.1)
        eventually(lambda: kernel.readings > before)
        time.sleep(0.5)
        assert kernel.readings - before <= 2


def blocked_lines(caplog: pytest.LogCaptureFixture) -> int:
    return caplog.text.count("pass result=blocked")


def drift_pass(running: Running) -> None:
    """Have a drift pass made, and wait for it."""
    before = running.status.last_pass
    running.agent.work_queue.add_trigger("drift timer")
    eventually(lambda: running.status.last_pass not in (None, before))


def test_what_stays_blocked_is_planned_and_told_once_and_again_when_something_changed(
    here: Site, caplog: pytest.LogCaptureFixture
) -> None:
    slow_polls(here)
    kernel = Counting(here)
    with here.running(kernel) as running:
        running.order("sync")
        here.push(service(weight=0))
        assert running.order("sync")["exitCode"] == 3
        assert blocked_lines(caplog) == 1
        before = kernel.readings
        for number in range(1, 4):
            drift_pass(running)
            assert kernel.readings - before == number, "one reading, for the applied commit"
            assert running.status.last_pass is not None
            assert [g.name for g in running.status.last_pass.gates if not g.is_allowed] != []
        here.set_weight(77)
        drift_pass(running)
        assert here.weights() == [1, 1]
        assert blocked_lines(caplog) == 1
        running.order("drain", subject="s1")
        assert blocked_lines(caplog) == 2, "it depends on operations"
        running.order("undrain", subject="s1")
        here.push(
            service(weight=0) + "\n",
            "off\n\nGitvs-Allow: last-real-server\nGitvs-Allow: capacity-drop",
        )
        assert running.order("sync")["exitCode"] == 0
        assert here.weights() == [0, 0]


def test_what_a_conflict_blocks_is_applied_once_the_conflict_is_gone(
    here: Site, caplog: pytest.LogCaptureFixture
) -> None:
    slow_polls(here)
    foreign = virtual_service(endpoint("203.0.113.11", 80))
    here.kernel.add_gateway(ip_address("192.0.2.1"))  # as every host has one
    with here.running() as running:
        running.order("sync")
        here.kernel.put(foreign)
        (here.remote / "other.yaml").write_text(OTHERS)
        here.push(service(weight=5))
        assert running.order("sync")["exitCode"] == 3
        drift_pass(running)
        drift_pass(running)
        assert blocked_lines(caplog) == 1
        here.kernel.remove(foreign)
        drift_pass(running)
        assert here.weights() == [5, 5, 1, 1]


def test_an_idle_drain_ends_though_the_remote_hangs(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.remote.rename(here.folder / "gone")
        eventually(lambda: running.status.source.failure_count > 0)
        (here.folder / "gone").rename(here.remote)
        here.push(service(servers=1))
        for server in here.state().of_type(RealServer):
            here.kernel.set_connections(server, active=1)
        running.order("sync")
        assert here.weights() == [1, 0]
        here.remote.rename(here.folder / "gone")
        here.clock.ahead_seconds += 61
        eventually(lambda: here.weights() == [1])


def test_a_remote_that_vanishes_is_told_and_comes_back_by_itself(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.remote.rename(here.folder / "gone")
        eventually(lambda: running.status.source.failure_count > 1)
        assert "no repository" in running.status.source.error
        (here.folder / "gone").rename(here.remote)
        here.push(service(weight=4))
        eventually(lambda: here.weights() == [4, 4])
        eventually(lambda: running.status.source.error == "")


def test_a_kernel_that_cannot_be_read_is_tried_again(here: Site) -> None:
    kernel = FaultyKernel(here.kernel, 0, How.UNREADABLE)
    with here.running(kernel):
        eventually(lambda: here.weights() == [1, 1])
    assert kernel.has_struck


def test_a_rolled_back_commit_is_quarantined_until_a_retry(here: Site) -> None:
    with here.running():
        eventually(lambda: here.weights() == [1, 1])
    slow_polls(here)
    kernel = FaultyKernel(here.kernel, 0, How.REFUSED)
    here.push(service(weight=5))
    with here.running(kernel) as running:
        eventually(lambda: bool(running.status.quarantined))
        assert here.weights() == [1, 1]
        assert running.order("sync")["exitCode"] == 6
        answer = running.order("sync", retry=True)
        assert answer["result"] == "applied"
        assert here.weights() == [5, 5]


def test_a_bug_in_one_pass_is_told_and_does_not_end_the_agent(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Counting):
        def observe(self, scope: Scope) -> Observation:
            if self.readings == 0:
                self.readings += 1
                raise ZeroDivisionError("a bug")
            return super().observe(scope)

    with here.running(Broken(here)):  # type: ignore[arg-type]  # breaks once, else the same
        eventually(lambda: here.weights() == [1, 1])


def test_a_damaged_store_ends_the_agent_with_clear_words(here: Site) -> None:
    with here.running():
        eventually(lambda: here.weights() == [1, 1])
    database = here.state_dir / "gitvs.db"
    database.write_bytes(b"not a database" * 100)
    for journal in here.state_dir.glob("gitvs.db-*"):
        journal.unlink()
    with pytest.raises(StoreDamaged, match="is damaged"), here.running():
        pass
    assert here.weights() == [1, 1]


# Pause


def test_a_pause_stops_commits_and_repairs_until_resume(here: Site) -> None:
    here.settings = replace(here.settings, drift_seconds=0.2)
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        answer = running.order("pause", seconds=600, why="racks")
        assert answer["exitCode"] == 0
        here.set_weight(99)
        head = here.push(service(weight=5))
        eventually(lambda: running.status.source.head is not None)
        eventually(lambda: running.status.source.head.id == head)  # type: ignore[union-attr]  # checked above
        time.sleep(0.6)
        assert sorted(here.weights()) == [1, 99]
        pause = running.status.operations.pause
        assert pause is not None
        assert (pause.who, pause.why) == ("root", "racks")
        running.order("resume")
        assert here.weights() == [5, 5]


def test_a_pause_expires(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        running.order("pause", seconds=600)
        here.push(service(weight=5))
        here.clock.ahead_seconds += 601
        eventually(lambda: here.weights() == [5, 5])
        eventually(lambda: running.status.operations.pause is None)


def test_a_pause_survives_a_restart(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        running.order("pause", seconds=600)
    here.push(service(weight=5))
    with here.running() as running:
        eventually(lambda: running.status.source.head is not None)
        assert here.weights() == [1, 1]
        assert running.status.operations.pause is not None


def test_a_pause_lets_due_drains_end(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.push(service(servers=1))
        for server in here.state().of_type(RealServer):
            here.kernel.set_connections(server, active=1)
        running.order("sync")
        running.order("pause", seconds=600)
        assert here.weights() == [1, 0]
        here.set_weight(9)
        here.clock.ahead_seconds += 61
        eventually(lambda: here.weights() == [9])


def test_a_pause_does_not_keep_a_kernel_empty_after_a_reboot(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        running.order("pause", seconds=600)
    here.kernel.reboot()
    with here.running():
        eventually(lambda: here.weights() == [1, 1])


def test_a_pause_lets_others_write(here: Site) -> None:
    held = threading.Semaphore()

    class Lock:
        def __enter__(self) -> Callable[[], None]:
            assert held.acquire(blocking=False)
            return lambda: None

        def __exit__(self, *_: object) -> None:
            held.release()

    here.lock = Lock
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        assert not held.acquire(blocking=False)
        running.order("pause", seconds=600)
        assert held.acquire(blocking=False)
        held.release()
        running.order("resume")
        assert not held.acquire(blocking=False)


def test_an_agent_whose_lock_file_was_removed_writes_nothing_beside_a_second_writer(
    here: Site, tmp_path: Path
) -> None:
    folder = tmp_path / "run" / "lock"
    prepare_lock_folder(folder)
    here.lock = lambda: writer_lock(folder=folder)
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        rmtree(folder.parent)
        prepare_lock_folder(folder)
        with writer_lock(folder=folder):  # a second writer, of whatever state folder
            here.push(service(weight=5))
            eventually(lambda: "has one writer at a time" in problems_of(running))
            assert here.weights() == [1, 1]
        eventually(lambda: here.weights() == [5, 5])
        with pytest.raises(LockHeld), writer_lock(folder=folder):
            pytest.fail("there were two writers")


# Rollback


def test_a_rollback_goes_back_pins_and_bars_what_it_left(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        first = here.git("rev-parse", "HEAD")
        left = here.push(service(weight=5))
        running.order("sync")
        assert here.weights() == [5, 5]
        answer = running.order("rollback", seconds=3600, why="502s")
        assert (answer["result"], answer["exitCode"]) == ("applied", 0)
        assert here.weights() == [1, 1]
        pin = running.status.operations.pin
        assert pin is not None
        assert pin.subject == first
        assert [q.commit_id for q in running.status.quarantined] == [left]
        here.push(service(weight=6))
        running.order("sync")
        assert here.weights() == [1, 1]


def test_a_rollback_goes_back_to_what_was_different_here(here: Site) -> None:
    """Commits that change nothing on this director are nothing to go back to."""
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        good = here.push(service(weight=3))
        running.order("sync")
        bad = here.push(service(weight=50))
        running.order("sync")
        same = []
        for count in (1, 2):
            same.append(here.push(service(weight=50) + "\n" * count))
            assert running.order("sync")["result"] == "converged"
        answer = running.order("rollback", seconds=3600)
        assert (answer["result"], answer["exitCode"]) == ("applied", 0)
        assert here.weights() == [3, 3]
        pin = running.status.operations.pin
        assert pin is not None
        assert pin.subject == good
    with SqliteStore(here.state_dir) as store:
        found = [(str(e.outcome), e.commit.id) for e in store.history() if e.commit]
    assert found[:4] == [
        ("applied", good),
        ("converged", same[1]),
        ("converged", same[0]),
        ("applied", bad),
    ]


def test_a_commit_of_which_only_checks_differ_is_in_force_and_can_be_rolled_back(
    here: Site,
) -> None:
    health = "  health: {checks: [{tcp: {}}]}"
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        bare = here.git("rev-parse", "HEAD")
        eventually(lambda: running.status.desired_digest != "")
        without = running.status.desired_digest
        checked = here.push(service(more=health))
        assert running.order("sync")["result"] == "converged"
        assert running.status.desired_digest != without
        with SqliteStore.open_readonly(here.state_dir) as store:
            applied = store.applied()
            assert applied is not None
            assert applied.commit_id == checked
            assert list(applied.desired.health) == ["tcp 203.0.113.10:80"]
        running.order("rollback", seconds=3600)
        pin = running.status.operations.pin
        assert pin is not None
        assert pin.subject == bare
        assert running.status.desired_digest == without


@pytest.mark.parametrize("digest", ["", "0" * 32, "1:" + "0" * 32])
def test_a_rollback_judges_what_an_older_gitvs_recorded_by_rendering_it(
    here: Site, digest: str
) -> None:
    """An older gitvs recorded no digest, or one that cannot be compared with today's."""
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        first = here.git("rev-parse", "HEAD")
        for text in (service(weight=5), service(weight=5) + "\n"):
            here.push(text)
            running.order("sync")
    with SqliteStore(here.state_dir) as store, store._writing(is_about_kernel=False):
        older = [replace(entry, state_digest=digest) for entry in store._records.history()]
        store._records.add_history(older)
    with here.running() as running:
        eventually(lambda: running.status.last_pass is not None)
        running.order("rollback", seconds=3600)
        assert here.weights() == [1, 1]
        pin = running.status.operations.pin
        assert pin is not None
        assert pin.subject == first


def test_what_a_rollback_left_does_not_come_back_when_its_pin_expires(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.push(service(weight=5))
        running.order("sync")
        running.order("rollback", seconds=3600)
        here.clock.ahead_seconds += 3601
        eventually(lambda: running.status.operations.pin is None)
        running.order("sync")
        assert here.weights() == [1, 1]
    here.kernel.reboot()
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        running.order("sync")
        assert here.weights() == [1, 1]
        here.push(service(weight=6))
        running.order("sync")
        assert here.weights() == [6, 6]


def test_a_rollback_that_a_gate_blocks_pins_nothing(here: Site) -> None:
    here.push(service(servers=1), "Gitvs-Allow: capacity-drop")
    with here.running() as running:
        eventually(lambda: here.weights() == [1])
        first = here.git("rev-parse", "HEAD")
        here.push(service(servers=4))
        running.order("sync")
        assert here.weights() == [1, 1, 1, 1]
        answer = running.order("rollback", subject=first[:10], seconds=3600)
        assert answer["exitCode"] == 3
        assert any("capacity-drop" in p for p in answer["problems"])
        assert running.status.operations.pin is None
        answer = running.order(
            "rollback", subject=first[:10], seconds=3600, allow=["capacity-drop"]
        )
        assert answer["exitCode"] == 0
        assert running.status.operations.pin is not None


def test_a_misspelt_gate_lifts_nothing_and_is_a_warning_of_its_commit(
    here: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        assert running.status.warnings == ()
        commit_id = here.push(service(weight=0), "Off\n\nGitvs-Allow: last-real-servers")
        assert running.order("sync")["exitCode"] == 3
        running.order("sync")
        [warning] = running.status.warnings
        assert (warning.file, warning.line) == (f"commit {commit_id[:12]}", 3)
        assert (warning.rule, here.weights()) == ("unknown-gate", [1, 1])
        lines = "Gitvs-Allow: last-real-server\nGitvs-Allow: capacity-drop"
        here.push(service(weight=0), f"Off\n\n{lines}")
        running.order("sync")
        assert (here.weights(), running.status.warnings) == ([0, 0], (warning,))
        here.push(service(weight=0, scheduler="wrr"))
        running.order("sync")
        assert running.status.warnings == ()
    assert caplog.text.count("last-real-servers") == 1


def test_a_misspelt_gate_is_a_warning_where_no_gate_blocks_too(here: Site) -> None:
    """As in a preview, which knows every message of the step."""
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.push(service(weight=2), "More\n\nGitvs-Allow: last-real-servers")
        assert running.order("sync")["exitCode"] == 0
        [warning] = running.status.warnings
        assert (warning.rule, here.weights()) == ("unknown-gate", [2, 2])


def test_the_last_change_is_known_after_a_restart_and_a_pass_without_changes(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        head = here.push(service(weight=2))
        running.order("sync")
        here.push(service(weight=2) + "\n", "Nothing")
        running.order("sync")
        change = running.status.last_change
        assert change is not None
        assert change.commit is not None
        assert (change.commit.id, sum(change.summary.values())) == (head, 2)
    with here.running() as running:
        eventually(lambda: running.status.last_pass is not None)
        assert running.status.last_change == change


def test_a_commit_of_another_branch_is_nothing_to_go_back_to(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        assert "no earlier commit" in running.refusal("rollback", seconds=60)


# Drains by hand


def test_a_real_server_drained_by_hand_stays_out_until_undrain(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        answer = running.order("drain", subject="s2", why="disk")
        assert answer["text"] == "s2 gets no new connections in 1 virtual service; none open"
        assert here.weights() == [1, 0]
        here.push(service(weight=5))
        running.order("sync")
        assert here.weights() == [5, 0]
        running.order("undrain", subject="s2")
        assert here.weights() == [5, 5]


@pytest.mark.parametrize("subject", ["10.0.0.2", "10.0.0.2:80", "s2"])
def test_a_real_server_is_drained_by_address_port_or_name(here: Site, subject: str) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        running.order("drain", subject=subject)
        assert here.weights() == [1, 0]


def test_a_real_server_that_goes_now_is_removed_and_comes_back(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        for server in here.state().of_type(RealServer):
            here.kernel.set_connections(server, active=1)
        running.order("drain", subject="s2", now=True)
        assert here.weights() == [1]
        running.order("undrain", subject="s2")
        assert here.weights() == [1, 1]


def test_a_drain_by_hand_survives_a_restart_and_ends_with_its_time(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        running.order("drain", subject="s2", seconds=600)
    with here.running() as running:
        eventually(lambda: bool(running.status.operations.drains))
        assert here.weights() == [1, 0]
        here.clock.ahead_seconds += 601
        eventually(lambda: here.weights() == [1, 1])


def test_a_drain_by_hand_ends_when_git_gives_the_server_no_place(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        running.order("drain", subject="s2")
        here.push(service(servers=1))
        running.order("sync")
        eventually(lambda: not running.status.operations.drains)
        here.push(service(servers=2))
        running.order("sync")
        assert here.weights() == [1, 1]


def test_a_drain_by_hand_works_while_paused_and_repairs_nothing_else(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        running.order("pause", seconds=600)
        here.set_weight(9)
        running.order("drain", subject="s2")
        assert here.weights() == [9, 0]
        running.order("undrain", subject="s2")
        assert here.weights() == [9, 1]


def test_an_unknown_real_server_is_refused_with_what_is_near(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        assert "Did you mean 10.0.0.2?" in running.refusal("drain", subject="10.0.0.22")
        assert "not drained by hand" in running.refusal("undrain", subject="s1")


def test_the_last_active_real_server_is_drained_with_a_warning(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        assert running.order("drain", subject="s1")["warnings"] == []
        (warning,) = running.order("drain", subject="s2")["warnings"]
        assert "tcp 203.0.113.10:80 has no active real server" in warning


# Standby


def test_standby_unbinds_the_vips_and_active_binds_them_again(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        running.order("standby", why="kernel update")
        assert here.state().of_type(Vip) == []
        assert here.weights() == [1, 1]
        assert running.status.is_standby
        running.order("active")
        assert [str(v.address) for v in here.state().of_type(Vip)] == ["203.0.113.10"]
        assert "nothing to end" in running.refusal("active")


# A rewritten branch


def test_a_rewritten_branch_is_followed_once_that_is_accepted(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.push(service(weight=5))
        running.order("sync")
        here.git("reset", "--quiet", "--hard", "HEAD~1")
        head = here.push(service(weight=6))
        answer = running.order("sync")
        assert answer["exitCode"] == 1
        assert f"gitvs accept-rewrite {head[:12]}" in answer["problems"][0]
        assert here.weights() == [5, 5]
        running.order("accept-rewrite", subject=head[:12])
        assert here.weights() == [6, 6]
        here.push(service(weight=7))
        running.order("sync")
        assert here.weights() == [7, 7]


# A folder instead of a remote


def of_folder(here: Site) -> None:
    here.settings = Settings(here.remote, metrics=here.settings.metrics)


def test_a_changed_folder_is_applied_by_itself(here: Site) -> None:
    of_folder(here)
    with here.running():
        eventually(lambda: here.weights() == [1, 1])
        (here.remote / "web.yaml").write_text(service(weight=8))
        eventually(lambda: here.weights() == [8, 8])


def test_a_half_written_file_is_never_applied(here: Site) -> None:
    of_folder(here)
    text = service(servers=4, weight=3)
    half = text.index("  - {name: s3")
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        with (here.remote / "web.yaml").open("w") as file:
            file.write(text[:half])
            file.flush()
            time.sleep(1.5)
            running.agent.work_queue.add_trigger("drift timer")
            time.sleep(0.5)
            assert here.weights() == [1, 1]
            file.write(text[half:])
        eventually(lambda: here.weights() == [3, 3, 3, 3])


# Loading that goes wrong in ways that nobody foresaw


def test_a_folder_that_cannot_be_read_keeps_no_drift_from_being_repaired(here: Site) -> None:
    of_folder(here)
    here.settings = replace(here.settings, drift_seconds=0.3)
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        (here.remote / "sub").symlink_to("sub")
        (here.remote / "more.yaml").mkdir()
        (here.remote / "web.yaml").unlink()
        (here.remote / "web.yaml").mkdir()
        here.set_weight(99)
        eventually(lambda: here.weights() == [1, 1])
        (here.remote / "web.yaml").rmdir()
        (here.remote / "web.yaml").write_text(service(weight=8))
        eventually(lambda: here.weights() == [8, 8])
        assert running.status.last_pass is not None


def test_a_bug_in_judging_a_commit_is_that_commits_and_drains_end(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.push(service(servers=1))
        for server in here.state().of_type(RealServer):
            here.kernel.set_connections(server, active=1)
        eventually(lambda: here.weights() == [1, 0])
        here.chooser = _bug
        head = here.push(service(weight=5, servers=1))
        eventually(lambda: "met a bug" in str(running.status.last_pass))
        assert running.status.source.error == "", "the source did nothing wrong"
        assert getattr(running.status.source.head, "id", None) == head
        here.clock.ahead_seconds += 61
        eventually(lambda: here.weights() == [1])
        here.chooser = lambda known: "lb1"
        here.push(service(weight=6, servers=1))
        eventually(lambda: here.weights() == [6])


def _bug(known: Collection[str]) -> str:
    raise ZeroDivisionError


# What it tells


def test_the_store_knows_when_the_agent_was_last_alive(here: Site) -> None:
    with here.running():
        eventually(lambda: here.weights() == [1, 1])
    with SqliteStore(here.state_dir) as store:
        alive_at = store.alive_at()
    assert alive_at is not None
    assert abs((here.clock.now() - alive_at).total_seconds()) < 60


def test_an_invalid_commit_is_told_while_the_applied_one_stays(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.push(service().replace("scheduler", "shceduler"))
        answer = running.order("sync")
        assert answer["exitCode"] == 4
        assert "did you mean scheduler" in answer["problems"][0]
        last = running.status.last_pass
        assert last is not None
        assert last.outcome is Outcome.CONVERGED
        assert "did you mean scheduler" in last.problems[0]


def test_what_is_not_ours_is_counted_and_left_alone(here: Site) -> None:
    theirs = virtual_service(endpoint("198.51.100.1"))
    here.kernel.put(theirs)
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        running.order("sync")
        assert running.status.foreign_objects == (theirs.key,)
        assert running.status.vips == ("203.0.113.10/32 dev gitvs0",)


def test_an_order_that_is_none_is_refused(here: Site) -> None:
    with here.running() as running:
        assert "has no command 'reboot'" in running.refusal("reboot")
        assert "at most 1000 printable characters" in running.refusal("pause", why="a\nb")
        assert "has to be from 1s" in running.refusal("pause", seconds=0)
        assert "seconds has to be a number, not a text" in running.refusal("pause", seconds="4h")


def test_root_says_for_whom_it_acts(here: Site) -> None:
    with here.running() as running:
        running.order("standby", **{"for": "alice"})
        (standby,) = running.status.operations.all
        assert (standby.kind, standby.who) == (OperationKind.STANDBY, "alice (as root)")


# What a second look found


def test_a_second_rollback_goes_further_back(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        for weight in (2, 3):
            here.push(service(weight=weight))
            running.order("sync")
        running.order("rollback", seconds=600)
        assert here.weights() == [2, 2]
        running.order("rollback", seconds=600)
        assert here.weights() == [1, 1]
        assert len(running.status.quarantined) == 2
        assert "no earlier commit" in running.refusal("rollback")


def test_what_is_long_out_of_date_waits_for_the_source(here: Site) -> None:
    with here.running():
        eventually(lambda: here.weights() == [1, 1])
    here.kernel.reboot()
    here.clock.ahead_seconds += 30 * 24 * 3600
    here.remote.rename(here.folder / "gone")
    with here.running() as running:
        eventually(lambda: running.status.source.failure_count > 1)
        assert here.weights() == []
        last = running.status.last_pass
        assert last is not None
        assert "was down for 30 days" in last.problems[-1]
        (here.folder / "gone").rename(here.remote)
        eventually(lambda: here.weights() == [1, 1])


def test_a_drain_by_hand_survives_another_name_in_git(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        running.order("drain", subject="s2", service="web", why="disk")
        renamed = service().replace("name: s2", "name: s2-ams").replace("name: web", "name: www")
        here.push(renamed)
        running.order("sync")
        assert here.weights() == [1, 0]
        (operation,) = running.status.operations.drains
        assert (operation.subject, operation.server_name) == ("10.0.0.2", "s2")
        running.order("undrain", subject="s2")
        assert here.weights() == [1, 1]


def test_a_drain_by_hand_survives_a_rollback_to_before_the_server(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.push(service(servers=3))
        running.order("sync")
        running.order("drain", subject="s3")
        running.order("rollback", seconds=600, allow=["capacity-drop"])
        assert len(running.status.operations.drains) == 1
        running.order("resume")
        here.push(service(servers=3, weight=2))
        running.order("sync")
        assert here.weights() == [2, 2, 0]


def test_resume_ends_a_pause_and_only_then_a_pin(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.push(service(weight=2))
        running.order("sync")
        running.order("rollback")
        running.order("pause")
        assert "still pinned" in running.order("resume")["text"]
        assert running.status.operations.pin is not None
        running.order("resume")
        assert running.status.operations.pin is None


def test_pauses_and_pins_expire_whether_or_not_a_time_was_said(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.push(service(weight=2))
        running.order("sync")
        running.order("rollback")
        running.order("pause")
        assert all(o.expires_at is not None for o in running.status.operations.all)


@pytest.mark.parametrize("set_by_hours", [48.0, -48.0])
def test_a_clock_that_is_set_neither_ends_nor_prolongs_what_has_a_time(
    here: Site, set_by_hours: float
) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        running.order("drain", subject="s2", seconds=3600)
        here.clock.wall_ahead_seconds = set_by_hours * 3600
        running.order("sync")
        assert here.weights() == [1, 0]
        [drain] = running.status.operations.drains
        assert drain.expires_at is not None
        left = drain.expires_at - here.clock.now()
        assert timedelta(minutes=59) < left <= timedelta(hours=1)
    with here.running() as running:
        eventually(lambda: running.status.last_pass is not None)
        assert here.weights() == [1, 0]
        here.clock.ahead_seconds = 3601
        eventually(lambda: here.weights() == [1, 1])
        eventually(lambda: running.status.operations.drains == ())


def test_break_glass_succeeds_whatever_git_says(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.push(service().replace("scheduler", "shceduler"))
        assert running.order("sync")["exitCode"] == 4
        answer = running.order("drain", subject="s2")
        assert (answer["exitCode"], answer["problems"]) == (0, [])
        assert "did you mean scheduler" in answer["warnings"][0]
        assert here.weights() == [1, 0]


def test_a_drain_that_the_kernel_refuses_is_no_success(here: Site) -> None:
    with here.running():
        eventually(lambda: here.weights() == [1, 1])
    kernel = FaultyKernel(here.kernel, 0, How.REFUSED)
    with here.running(kernel) as running:
        eventually(lambda: running.status.last_pass is not None)
        answer = running.order("drain", subject="s2")
        assert answer["exitCode"] == 1
        assert answer["text"].startswith("recorded, but not yet in effect in the kernel")
        assert running.order("sync")["exitCode"] == 0
        assert here.weights() == [1, 0]


def test_what_cannot_be_repaired_is_told_once_and_stops_neither_commits_nor_operators(
    here: Site, caplog: pytest.LogCaptureFixture
) -> None:
    sick = vip("203.0.113.10")
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.kernel.refuse_from_now_on(sick, EACCES)
        answer = running.order("sync")
        assert answer["exitCode"] == 1
        assert answer["problems"][0].startswith(f"not repaired: VIP {sick.key}")
        assert [u.key for u in running.status.unrepairable] == [sick.key]
        answer = running.order("drain", subject="s2")
        assert answer["exitCode"] == 0
        assert here.weights() == [1, 0]
        running.order("undrain", subject="s2")
        here.push(service(weight=5))
        eventually(lambda: here.weights() == [5, 5])
        assert running.status.quarantined == ()
        assert running.order("standby")["exitCode"] == 0
        assert running.status.unrepairable == ()
        assert running.order("active")["exitCode"] == 1
        here.kernel.refused_keys.clear()
        assert running.order("sync")["exitCode"] == 0
        assert running.status.unrepairable == ()
        assert sick.key in here.state()
    told = [r.getMessage() for r in caplog.records if "not repaired key=" in r.getMessage()]
    assert len(told) == 2  # once before the standby, and once after it


def test_a_drain_by_hand_under_dh_is_told_to_refuse_clients(here: Site) -> None:
    here.push(service(scheduler="dh", drain="0s"))
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        (warning,) = running.order("drain", subject="s2")["warnings"]
        assert "uses scheduler dh, which refuses the clients" in warning


def test_a_reading_that_fails_once_quarantines_nothing(here: Site) -> None:
    with here.running():
        eventually(lambda: here.weights() == [1, 1])
    slow_polls(here)
    here.push(service(weight=5))
    kernel = FaultyKernel(here.kernel, 2, How.UNREADABLE)  # start, plan, then the read-back
    with here.running(kernel) as running:
        eventually(lambda: kernel.has_struck)
        eventually(lambda: here.weights() == [5, 5])
        assert running.status.quarantined == ()


class Unwilling(Counting):
    """A kernel that cannot be read for a while."""

    is_unwilling = False

    def observe(self, scope: Scope) -> Observation:
        self.readings += 1
        if self.is_unwilling:
            raise KernelUnreadable("not now")
        return self._kernel.observe(scope)


def test_a_due_drain_that_cannot_end_yet_is_tried_again_with_pauses(here: Site) -> None:
    kernel = Unwilling(here)
    with here.running(kernel) as running:  # type: ignore[arg-type]  # unwilling, else the same
        eventually(lambda: here.weights() == [1, 1])
        here.push(service(servers=1))
        for server in here.state().of_type(RealServer):
            here.kernel.set_connections(server, active=1)
        running.order("sync")
        kernel.is_unwilling = True
        here.clock.ahead_seconds += 61
        before = kernel.readings
        time.sleep(1.0)
        assert kernel.readings - before < 10
        kernel.is_unwilling = False
        eventually(lambda: here.weights() == [1])


def test_a_fetch_that_was_under_way_at_a_reload_counts_no_more(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        old = running.agent.follower.source
        assert isinstance(old, GitRemote)
        here.git("branch", "stable")
        late = here.push(service(weight=9))
        eventually(lambda: here.weights() == [9, 9])
    with here.running() as running:
        eventually(lambda: running.status.source.head is not None)
        old = running.agent.follower.source
        assert isinstance(old, GitRemote)
        running.agent.reload()
        eventually(lambda: running.agent.follower.source is not old)
        commit = replace(old.read_commit(late), id="0" * 40)
        running.agent._on_fetch_result(FetchResult(99, old, commit))
        running.order("sync")
        assert running.status.source.head is not None
        assert running.status.source.head.id == late


def test_what_was_undrained_under_a_pause_is_seen_to_by_a_later_pass(here: Site) -> None:
    kernel = Unwilling(here)
    with here.running(kernel) as running:  # type: ignore[arg-type]  # unwilling, else the same
        eventually(lambda: here.weights() == [1, 1])
        running.order("pause")
        running.order("drain", subject="s2")
        kernel.is_unwilling = True
        assert "not now" in running.refusal("undrain", subject="s2")
        kernel.is_unwilling = False
        eventually(lambda: here.weights() == [1, 1])


def test_a_fetch_that_was_under_way_when_a_head_was_accepted_brings_no_rewritten_branch(
    here: Site,
) -> None:
    """It compared the branch with the head before."""
    slow_polls(here)
    with here.running() as running:
        running.order("sync")
        before = here.git("rev-parse", "HEAD")
        accepted = here.push(service(weight=5))
        running.order("sync")
        here.git("reset", "--quiet", "--hard", "HEAD~1")
        here.push(service(weight=6))
        remote = running.agent.follower.source
        assert isinstance(remote, GitRemote)
        rewritten = remote.fetch(before)
        running.agent._on_fetch_result(FetchResult(99, remote, rewritten, accepted_head=before))
        eventually(lambda: "does not descend" in (running.status.source.error or ""))
        head = running.status.source.head
        assert head is not None
        assert head.id == accepted
        assert here.weights() == [5, 5]


def test_a_head_that_another_process_has_accepted_is_gone_on_from(here: Site) -> None:
    """During a pause, `gitvs agent --once` may be such a process."""
    slow_polls(here)
    with here.running() as running:
        running.order("sync")
        second = here.push(service(weight=5))
        with SqliteStore(here.state_dir) as store:
            store.accept_head(second)
        here.push(service(weight=6))
        assert running.order("sync")["exitCode"] == 0
        assert here.weights() == [6, 6]


def test_a_fetch_that_was_under_way_when_a_rewrite_was_accepted_refuses_it_no_more(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_polls(here)
    with here.running() as running:
        here.push(service(weight=5))
        running.order("sync")
        here.git("reset", "--quiet", "--hard", "HEAD~1")
        head = here.push(service(weight=6))
        assert running.order("sync")["exitCode"] == 1
        remote = running.agent.follower.source
        assert isinstance(remote, GitRemote)
        is_judged, may_tell, fetch = threading.Event(), threading.Event(), remote.fetch

        def slow_fetch(accepted: str | None) -> Commit:
            try:
                return fetch(accepted)
            finally:
                is_judged.set()
                may_tell.wait()

        monkeypatch.setattr(remote, "fetch", slow_fetch)
        answers: list[dict[str, object]] = []
        sync = threading.Thread(target=lambda: answers.append(running.order("sync")))
        sync.start()
        is_judged.wait()
        running.order("accept-rewrite", subject=head[:12])
        may_tell.set()
        sync.join()
        assert (answers[0]["exitCode"], answers[0]["problems"]) == (0, [])
        assert running.status.source.failure_count == 0


def test_a_kernel_that_cannot_be_read_is_asked_less_and_less_often(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitvs.agent.timed_work._MIN_RETRY_SECONDS", 0.1)
    slow_polls(here)
    kernel = Unwilling(here)
    kernel.is_unwilling = True
    with here.running(kernel):  # type: ignore[arg-type]  # unwilling, else the same
        time.sleep(2.0)
        assert kernel.readings <= 6
        eventually(lambda: kernel.readings >= 3)


# Signatures


def sign_with(here: Site, *signers: SshSigner) -> None:
    """Have the director accept what these people sign."""
    file = here.folder / "allowed_signers"
    file.write_text("".join(signer.allowed for signer in signers))
    source = here.settings.source
    assert isinstance(source, RemoteSettings)
    policy = SshSignatures(file)
    here.settings = replace(here.settings, source=replace(source, signatures=policy))


def repository(here: Site) -> Repository:
    """The remote, for those who sign."""
    return Repository(here.remote)


def test_an_unsigned_commit_is_not_even_parsed_and_a_signed_one_is_followed(here: Site) -> None:
    ada = ssh_signer(here.folder, "ada@example.org")
    sign_with(here, ada)
    ada.commit(repository(here), {"web.yaml": service(weight=2)})
    with here.running() as running:
        eventually(lambda: here.weights() == [2, 2])
        eventually(lambda: running.status.source.signed_by != "")
        here.push("nonsense: [")
        answer = running.order("sync")
        assert answer["exitCode"] == 1
        (problem,) = answer["problems"]
        assert "signed" in problem
        assert "nonsense" not in problem
        ada.commit(repository(here), {"web.yaml": service(weight=3)})
        running.order("sync")
        assert here.weights() == [3, 3]


def test_a_commit_whose_signer_left_before_it_was_applied_stays_away(here: Site) -> None:
    ada, eve = (ssh_signer(here.folder, f"{name}@example.org") for name in ("ada", "eve"))
    sign_with(here, ada, eve)
    ada.commit(repository(here), {"web.yaml": service(weight=2)})
    with here.running() as running:
        eventually(lambda: here.weights() == [2, 2])
        running.order("pause")
        eve.commit(repository(here), {"web.yaml": service(weight=9)})
        running.order("sync")
        sign_with(here, ada)
        answer = running.order("resume")
        assert "signed" in answer["problems"][0]
        assert here.weights() == [2, 2]

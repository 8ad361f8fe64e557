"""The agent follows health checks: real servers that are dead leave, and come back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gitvs.adapters.git.remote import GitRemote
from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.agent.actions.single_cycle import run_single_cycle
from gitvs.core.health.check_states import Standing
from gitvs.core.model.history import Outcome
from gitvs.core.model.resources import RealServer, VirtualService
from gitvs.core.settings import RemoteSettings
from gitvs.ports import Ports
from tests.support.agents import Running, Site, eventually, service, site
from tests.support.health.checker import GivenResults

ONE, TWO, THREE, FOUR = (f"10.0.0.{n}" for n in range(1, 5))
CHECKS = "  health: {checks: [{tcp: {}}]}"


class Ward(Site):
    """A site whose checks say what a test says."""

    checker: GivenResults

    def make(self, on_news: object) -> GivenResults:
        self.checker = GivenResults(on_news)  # type: ignore[arg-type]
        return self.checker

    def by_address(self) -> dict[str, int]:
        return {str(s.address): s.weight for s in self.state().of_type(RealServer)}


@pytest.fixture
def here(tmp_path: Path) -> Ward:
    made = site(tmp_path)
    ward = Ward(made.folder)
    ward.make_checker = ward.make
    ward.push(service(weight=10, servers=4, more=CHECKS))
    return ward


def settle(here: Ward, **weights: int) -> None:
    """Wait until the kernel has the weights of the real servers s1, s2 and so on."""
    wanted = {f"10.0.0.{name.removeprefix('s')}": weight for name, weight in weights.items()}
    eventually(lambda: here.by_address() == wanted, f"it never was {wanted}")


def begin(here: Ward, running: Running) -> None:
    """Wait until the checks run, and have all pass once."""
    settle(here, s1=10, s2=10, s3=10, s4=10)
    eventually(lambda: len(here.checker.probe_set.probes) == 4)
    here.checker.give()
    eventually(lambda: standings(running) == {Standing.UP})


def standings(running: Running) -> set[Standing]:
    """What is known of the real servers."""
    services = list(running.agent.health.tracker.services.values())
    return {server.standing for s in services for server in s.verdicts.servers.values()}


def test_a_dead_server_leaves_and_comes_back(here: Ward) -> None:
    with here.running() as running:
        begin(here, running)
        here.checker.give([ONE], count=3)
        settle(here, s1=0, s2=10, s3=10, s4=10)
        here.checker.give(count=2)
        settle(here, s1=10, s2=10, s3=10, s4=10)
        assert running.status.drifted_keys == ()
        assert running.status.last_pass is not None
        assert running.status.last_pass.trigger != "health", "it is about commits"


def test_flips_are_no_history(here: Ward) -> None:
    with here.running() as running:
        begin(here, running)
        for _ in range(3):
            here.checker.give([ONE], count=3)
            settle(here, s1=0, s2=10, s3=10, s4=10)
            here.checker.give(count=20)
            settle(here, s1=10, s2=10, s3=10, s4=10)
    with SqliteStore(here.state_dir) as store:
        assert [entry.outcome for entry in store.history()] == [Outcome.APPLIED]


def test_a_restart_knows_who_is_down(here: Ward) -> None:
    with here.running() as running:
        begin(here, running)
        here.checker.give([ONE, TWO], count=3)
        settle(here, s1=0, s2=0, s3=10, s4=10)
    with here.running():
        eventually(lambda: len(here.checker.probe_set.probes) == 4)
        here.checker.give([ONE, TWO])
        settle(here, s1=0, s2=0, s3=10, s4=10)
        here.checker.give(count=2)
        settle(here, s1=10, s2=10, s3=10, s4=10)


def test_health_goes_on_during_a_pause_and_leaves_what_somebody_changed(here: Ward) -> None:
    with here.running() as running:
        begin(here, running)
        running.order("pause", seconds=3600)
        server = next(s for s in here.state().of_type(RealServer) if str(s.address) == FOUR)
        here.kernel.put(replace(server, weight=77))
        here.checker.give([ONE], count=3)
        settle(here, s1=0, s2=10, s3=10, s4=77)
        here.checker.give(count=2)
        settle(here, s1=10, s2=10, s3=10, s4=77)


def test_health_goes_on_while_the_newest_commit_is_blocked(here: Ward) -> None:
    with here.running() as running:
        begin(here, running)
        here.push(service(weight=10, servers=1, more=CHECKS))
        eventually(lambda: is_blocked(running))
        here.checker.give([ONE], count=3)
        settle(here, s1=0, s2=10, s3=10, s4=10)
        assert is_blocked(running)


def is_blocked(running: Running) -> bool:
    last_pass = running.status.last_pass
    return last_pass is not None and any(not gate.is_allowed for gate in last_pass.gates)


def test_an_operators_drain_is_above_health(here: Ward) -> None:
    with here.running() as running:
        begin(here, running)
        here.checker.give([ONE], count=3)
        settle(here, s1=0, s2=10, s3=10, s4=10)
        running.order("drain", subject=ONE)
        here.checker.give(count=2)
        settle(here, s1=0, s2=10, s3=10, s4=10)
        running.order("undrain", subject=ONE)
        settle(here, s1=10, s2=10, s3=10, s4=10)


def test_a_server_that_is_added_serves_after_its_first_pass(here: Ward) -> None:
    with here.running() as running:
        begin(here, running)
        here.push(service(weight=10, servers=5, more=CHECKS))
        settle(here, s1=10, s2=10, s3=10, s4=10, s5=0)
        eventually(lambda: len(here.checker.probe_set.probes) == 5)
        here.checker.give()
        settle(here, s1=10, s2=10, s3=10, s4=10, s5=10)


def test_a_commit_that_takes_the_checks_away_brings_everybody_back(here: Ward) -> None:
    with here.running() as running:
        begin(here, running)
        here.checker.give([ONE], count=3)
        settle(here, s1=0, s2=10, s3=10, s4=10)
        here.push(service(weight=10, servers=4))
        settle(here, s1=10, s2=10, s3=10, s4=10)
        eventually(lambda: here.checker.probe_set.probes == {})


def test_a_pause_of_health_takes_nobody_out_and_its_end_does(here: Ward) -> None:
    with here.running() as running:
        begin(here, running)
        here.checker.give([TWO], count=3)
        settle(here, s1=10, s2=0, s3=10, s4=10)
        answer = running.order("pause", seconds=3600, subject="health")
        assert "nothing that health checks say" in answer["text"]
        here.checker.give([ONE], count=5)
        running.order("drain", subject=THREE)
        settle(here, s1=10, s2=0, s3=0, s4=10)
        running.order("resume")
        settle(here, s1=0, s2=10, s3=0, s4=10)


def test_a_pause_of_health_outlives_a_restart(here: Ward) -> None:
    with here.running() as running:
        begin(here, running)
        here.checker.give([TWO], count=3)
        settle(here, s1=10, s2=0, s3=10, s4=10)
        running.order("pause", seconds=3600, subject="health")
    with here.running() as running:
        eventually(lambda: running.status.operations.pause is not None)
        settle(here, s1=10, s2=0, s3=10, s4=10)
        running.order("resume")
        eventually(lambda: len(here.checker.probe_set.probes) == 4)
        here.checker.give(count=2)
        settle(here, s1=10, s2=10, s3=10, s4=10)


def run_once(here: Ward) -> None:
    """Run `gitvs agent --once`, which checks nothing."""
    settings = RemoteSettings(str(here.remote), allow_local=True)
    with SqliteStore(here.state_dir) as store:
        ports = Ports(here.kernel, store, here.clock)
        done = run_single_cycle(ports, GitRemote(here.state_dir, settings), here.chooser)
    assert done.problems == ()


@pytest.mark.parametrize(("later_seconds", "is_known"), [(240, True), (360, False)])
def test_a_run_without_checks_goes_by_results_that_are_not_older_than_five_minutes(
    here: Ward, later_seconds: float, is_known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with here.running() as running:
        begin(here, running)
        here.checker.give([ONE], count=3)
        settle(here, s1=0, s2=10, s3=10, s4=10)
    here.clock.ahead_seconds += later_seconds
    run_once(here)
    others = {TWO: 10, THREE: 10, FOUR: 10}
    assert here.by_address() == (others if is_known else {ONE: 10, **others}), "out, and removed"
    assert ("health unknown" in caplog.text) is not is_known


def test_changes_are_counted_as_long_as_there_are_checks(here: Ward) -> None:
    with here.running() as running:
        begin(here, running)
        here.checker.give([ONE], count=3)
        settle(here, s1=0, s2=10, s3=10, s4=10)
        counts = running.status.health.change_counts
        assert {str(standing): n for (_, standing), n in counts.items()} == {"up": 4, "down": 1}
        here.push(service(weight=10, servers=4))
        settle(here, s1=10, s2=10, s3=10, s4=10)
        here.push(service(weight=10, servers=4, more=CHECKS))
        eventually(lambda: len(here.checker.probe_set.probes) == 4)
        eventually(lambda: running.status.health.tracked != {})
        assert running.status.health.change_counts == {}


@pytest.mark.parametrize("scheduler", ["mh", "sh"])
def test_under_a_hashing_scheduler_nobody_is_sent_to_a_dead_server(
    here: Ward, scheduler: str
) -> None:
    here.push(service(weight=1, servers=4, scheduler=scheduler, more=CHECKS))
    with here.running() as running:
        settle(here, s1=1, s2=1, s3=1, s4=1)
        eventually(lambda: len(here.checker.probe_set.probes) == 4)
        here.checker.give()
        eventually(lambda: standings(running) == {Standing.UP})
        here.checker.give([ONE], count=3)
        settle(here, s1=0, s2=1, s3=1, s4=1)
        eventually(lambda: flags(here) == {f"{scheduler}-fallback"})
        here.checker.give(count=2)
        settle(here, s1=1, s2=1, s3=1, s4=1)
        eventually(lambda: flags(here) == set())


def flags(here: Ward) -> set[str]:
    """The flags of the only virtual service in the kernel."""
    (virtual_service,) = here.state().of_type(VirtualService)
    return {flag.value for flag in virtual_service.flags}

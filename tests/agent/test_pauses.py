"""A pause: what it keeps, what operators may do during it, and what a crash leaves of that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EACCES
from pathlib import Path

import pytest

from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.core.model.observation import Observation, Scope
from gitvs.core.model.resources import RealServer, Vip, VirtualService
from gitvs.ports import Kernel
from tests.support.agents import Running, Site, eventually, service, site
from tests.support.faults import Crashed, WrappedKernel


@pytest.fixture
def here(tmp_path: Path) -> Site:
    return site(tmp_path)


class Mortal(WrappedKernel):
    """The process dies at its next reading of the kernel, once `is_deadly`."""

    deaths = 0

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.is_deadly: Callable[[], bool] = lambda: False

    def observe(self, scope: Scope) -> Observation:
        if self.is_deadly():
            self.deaths += 1
            raise Crashed
        return self._kernel.observe(scope)


def vips(here: Site) -> list[str]:
    return [str(v.address) for v in here.state().of_type(Vip)]


def passes(running: Running, count: int = 1) -> None:
    """Let the agent run passes, as its drift timer does."""
    for _ in range(count):
        before = running.status.last_pass
        running.agent.work_queue.add_trigger("drift timer")
        eventually(lambda before=before: running.status.last_pass is not before)  # type: ignore[misc]  # bound now


@contextmanager
def paused(here: Site) -> Iterator[Running]:
    """An agent that is paused, on standby, and has drained s1."""
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        running.order("pause", seconds=3600)
        running.order("standby")
        running.order("drain", subject="s1")
        assert (vips(here), here.weights()) == ([], [0, 1])
        yield running


def test_what_somebody_removes_during_a_pause_and_puts_back_stays_gitvss(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        running.order("pause", seconds=3600)
        state = here.state()
        [web], servers = state.of_type(VirtualService), state.of_type(RealServer)
        here.kernel.remove(*state.of_type(Vip), *servers, web)
        passes(running)
        assert here.weights() == []
        here.kernel.put(web, *servers, *state.of_type(Vip))
        passes(running)
        assert running.order("resume")["exitCode"] == 0
        assert running.status.unrepairable == ()
        here.push(service(weight=5))
        assert running.order("sync")["problems"] == []
        assert here.weights() == [5, 5]


def test_a_kernel_that_somebody_emptied_during_a_pause_stays_empty_until_its_end(
    here: Site,
) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        running.order("pause", seconds=3600)
        here.kernel.remove(*here.state().of_type(RealServer), *here.state().of_type(VirtualService))
        here.kernel.delete_link("gitvs0")
        passes(running, 3)
        assert (vips(here), here.weights()) == ([], [])
        running.order("resume")
        assert (vips(here), here.weights()) == (["203.0.113.10"], [1, 1])


def die_after(here: Site, command: str, subject: str) -> None:
    """Let an operator end something; the process dies before any pass of that."""
    kernel = Mortal(here.kernel)
    with here.running(kernel) as running:
        eventually(lambda: running.status.last_pass is not None)
        count = len(running.status.operations.all)
        kernel.is_deadly = lambda: len(running.agent.ports.store.operations().all) < count
        with suppress(Crashed):
            running.order(command, subject=subject)
        running.agent.work_queue.add_trigger("drift timer")
        eventually(lambda: kernel.deaths == 2)


@pytest.mark.parametrize(
    ("command", "subject", "undone"),
    [("active", "", (["203.0.113.10"], [0, 1])), ("undrain", "s1", ([], [1, 1]))],
)
def test_what_an_operator_ended_during_a_pause_is_undone_although_the_process_died(
    here: Site, command: str, subject: str, undone: tuple[list[str], list[int]]
) -> None:
    with paused(here):
        pass
    with pytest.raises(Crashed):
        die_after(here, command, subject)
    assert (vips(here), here.weights()) == ([], [0, 1])
    with here.running() as running:
        eventually(lambda: (vips(here), here.weights()) == undone)
        eventually(lambda: running.status.operations.pause is not None)


def test_what_expired_during_a_pause_is_undone_although_the_process_died(here: Site) -> None:
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        running.order("pause", seconds=3600)
        running.order("drain", subject="s1", seconds=600)
    here.clock.ahead_seconds += 601
    kernel = Mortal(here.kernel)
    kernel.is_deadly = lambda: True
    with pytest.raises(Crashed), here.running(kernel):
        eventually(lambda: kernel.deaths == 1)
    assert here.weights() == [0, 1]
    with here.running():
        eventually(lambda: here.weights() == [1, 1])


def test_what_was_undone_during_a_pause_is_left_alone_from_then_on(here: Site) -> None:
    with paused(here) as running:
        running.order("active")
        running.order("undrain", subject="s1")
        assert (vips(here), here.weights()) == (["203.0.113.10"], [1, 1])
        here.kernel.remove(*here.state().of_type(Vip))
        here.set_weight(9)
        passes(running, 2)
    with here.running() as running:
        passes(running)
        assert (vips(here), here.weights()) == ([], [9, 1])


def test_what_the_kernel_refuses_to_undo_during_a_pause_is_tried_again(here: Site) -> None:
    with paused(here) as running:
        [service_here] = here.state().of_type(VirtualService)
        vip = Vip(service_here.listener.address, "gitvs0", 32)  # type: ignore[union-attr]  # no mark
        here.kernel.refused_keys[vip.key] = EACCES
        assert running.order("active")["exitCode"] == 1
        here.kernel.refused_keys.clear()
        here.clock.ahead_seconds += 60
        passes(running)
        assert vips(here) == ["203.0.113.10"]
    with SqliteStore(here.state_dir) as store:
        assert not store.ended_operations()

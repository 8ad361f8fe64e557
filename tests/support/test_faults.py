"""The faulty kernel: each fault strikes once, at the place that was chosen, and as it says."""

from __future__ import annotations

import errno

import pytest

from gitvs.core.errors import KernelUnreadable
from gitvs.core.model.observation import Scope
from gitvs.core.model.resources import Endpoint, VirtualService
from gitvs.ports import WriteStatus
from tests.support.builders import create, endpoint, virtual_service
from tests.support.faults import Crashed, FaultyKernel, How
from tests.support.memory.kernel import MemoryKernel

CHANGES = [create(virtual_service(endpoint(port=port))) for port in (1, 2, 3)]
SCOPE = Scope()


def ports(kernel: MemoryKernel) -> set[int]:
    """Return the ports of the virtual services that are there."""
    services = kernel.observe(SCOPE).state.of_type(VirtualService)
    return {s.listener.port for s in services if isinstance(s.listener, Endpoint)}


@pytest.mark.parametrize(
    ("how", "status", "code", "left"),
    [
        (How.REFUSED, WriteStatus.REFUSED, errno.ENOMEM, {1, 3}),
        (How.LOST, WriteStatus.UNKNOWN, None, {1, 2, 3}),
        (How.LOST_UNWRITTEN, WriteStatus.UNKNOWN, None, {1, 3}),
    ],
)
def test_the_others_of_a_batch_are_written(
    how: How, status: WriteStatus, code: int | None, left: set[int]
) -> None:
    memory = MemoryKernel()
    faulty = FaultyKernel(memory, 1, how)
    outcomes = faulty.execute(CHANGES)
    assert [o.change for o in outcomes] == CHANGES
    assert [o.status for o in outcomes] == [WriteStatus.DONE, status, WriteStatus.DONE]
    assert outcomes[1].errno == code
    assert ports(memory) == left
    assert faulty.has_struck


@pytest.mark.parametrize(("how", "left"), [(How.CRASH_BEFORE, {1}), (How.CRASH_AFTER, {1, 2})])
def test_nothing_is_written_after_a_crash(how: How, left: set[int]) -> None:
    memory = MemoryKernel()
    with pytest.raises(Crashed):
        FaultyKernel(memory, 1, how).execute(CHANGES)
    assert ports(memory) == left


def test_changes_are_counted_over_all_calls_and_the_fault_strikes_once() -> None:
    faulty = FaultyKernel(MemoryKernel(), 4, How.REFUSED)
    refusals = [
        [o.errno for o in faulty.execute([*CHANGES[:1], create(virtual_service(endpoint(port=n)))])]
        for n in (10, 11, 12, 13)
    ]
    exists = errno.EEXIST
    assert refusals == [[None, None], [exists, None], [errno.ENOMEM, None], [exists, None]]


def test_a_place_beyond_the_end_never_strikes() -> None:
    faulty = FaultyKernel(MemoryKernel(), 3, How.REFUSED)
    assert {o.status for o in faulty.execute(CHANGES)} == {WriteStatus.DONE}
    assert not faulty.has_struck


def test_one_reading_fails() -> None:
    faulty = FaultyKernel(MemoryKernel(), 1, How.UNREADABLE)
    faulty.execute(CHANGES)
    faulty.observe(SCOPE)
    with pytest.raises(KernelUnreadable):
        faulty.observe(SCOPE)
    assert len(faulty.observe(SCOPE).state.of_type(VirtualService)) == 3


def test_the_incarnation_is_the_kernel_s() -> None:
    memory = MemoryKernel()
    assert FaultyKernel(memory, 0, How.LOST).incarnation() == memory.incarnation()

"""Stores that are older than the kernel: refused, until they are taken over with --adopt."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.core.errors import StoreOutdated
from gitvs.core.model.history import Commit, Outcome
from gitvs.core.model.ledger import Ledger
from gitvs.core.planning.operations import Operation, OperationKind
from gitvs.core.planning.overlay import with_fallback_flags
from gitvs.core.planning.ownership import number_in_alias, numbered_alias
from gitvs.ports import Applied
from gitvs.reconcile.one_pass import plan_pass, reconcile
from gitvs.reconcile.quarantine import recover_at_start
from gitvs.reconcile.restore import restore
from gitvs.reconcile.teardown import teardown
from tests.reconcile.test_transaction import add_uplink
from tests.support import scenario
from tests.support.faults import Crashed
from tests.support.memory.kernel import MemoryKernel
from tests.support.sweep import ALLOW, SCOPE, World, assert_state, check_convergence, check_target

ADOPT = replace(ALLOW, adopt=True)


def world_in(folder: Path) -> World:
    """A director in memory, whose interface is marked with the id of its store."""
    folder.mkdir(exist_ok=True)
    with SqliteStore(folder) as store:
        kernel = MemoryKernel(f"gitvs:{store.id}")
    add_uplink(kernel)
    return World(kernel, folder)


def world_with_older_copy(folder: Path) -> tuple[World, Path]:
    """A director whose store was copied before its newest transaction."""
    world = world_in(folder / "state")
    assert world.bring(scenario.before()).outcome is Outcome.APPLIED
    shutil.copytree(world.state_dir, folder / "copy")
    assert world.bring(scenario.after()).outcome is Outcome.APPLIED
    return world, folder / "copy"


def bring_back(copy: Path, world: World) -> None:
    """Put a copy of the store in the place of the store."""
    shutil.rmtree(world.state_dir)
    shutil.copytree(copy, world.state_dir)


def test_nothing_is_done_with_a_store_that_is_older_than_the_kernel(tmp_path: Path) -> None:
    world, copy = world_with_older_copy(tmp_path)
    bring_back(copy, world)
    snapshot = world.state()
    for run in (
        lambda: world.bring(scenario.after()),
        lambda: world.recover(),
        lambda: teardown(world.ports(world.store())),
        lambda: restore(world.ports(world.store())),
        lambda: plan_pass(world.ports(world.store()), scenario.after()),
    ):
        with pytest.raises(StoreOutdated, match=r"nothing was changed.*--adopt"):
            run()
    assert_state(world, snapshot)
    with world.store() as store:
        assert store.number < (world.kernel.read_witness() or 0)


def test_an_open_transaction_of_the_past_is_not_undone(tmp_path: Path) -> None:
    """Copied while the first transaction was open, it took the kernel back to nothing."""
    world = world_in(tmp_path / "state")
    with world.store() as store:
        store.begin(
            world.kernel.incarnation(), [], Applied(scenario.before(), None, world.clock.now())
        )
        shutil.copytree(world.state_dir, tmp_path / "copy")
    world.recover()
    assert world.bring(scenario.before()).outcome is Outcome.APPLIED
    snapshot = world.state()
    bring_back(tmp_path / "copy", world)
    with pytest.raises(StoreOutdated):
        world.recover()
    assert_state(world, snapshot)


def test_a_start_with_an_older_store_counts_nothing_in_it(tmp_path: Path) -> None:
    """Else its number would rise at each start, up to that of the kernel."""
    world = world_in(tmp_path / "state")
    target = Applied(scenario.before(), Commit("c" * 40), world.clock.now())
    with world.store() as store:
        store.begin(world.kernel.incarnation(), [], target)
        shutil.copytree(world.state_dir, tmp_path / "copy")
    world.recover()
    bring_back(tmp_path / "copy", world)
    with world.store() as store:
        number = store.number
        with pytest.raises(StoreOutdated):
            recover_at_start(world.ports(store))
        assert store.number == number


def test_adopting_goes_on_with_an_older_store_and_refuses_all_older_ones_afterwards(
    tmp_path: Path,
) -> None:
    world, copy = world_with_older_copy(tmp_path)
    with world.store() as store:
        for number in range(20):
            store.accept_head(f"{number:040}")
    shutil.copytree(world.state_dir, tmp_path / "newest")
    bring_back(copy, world)
    with world.store() as store:
        target = Applied(scenario.after(), None, world.clock.now())
        assert reconcile(world.ports(store), target, ADOPT).outcome is Outcome.APPLIED
        assert store.number == world.kernel.read_witness()
    wanted = with_fallback_flags(scenario.after().state)
    assert {
        k for k, r in wanted.items() if world.state().get(k) != r and k != scenario.WEB6.key
    } == set()
    for older in (copy, tmp_path / "newest"):
        shutil.copytree(world.state_dir, tmp_path / f"now-{older.name}")
        bring_back(older, world)
        with pytest.raises(StoreOutdated):
            world.bring(scenario.after())
        bring_back(tmp_path / f"now-{older.name}", world)
    assert world.bring(scenario.after()).outcome in (Outcome.APPLIED, Outcome.CONVERGED)


def test_a_store_that_was_lost_and_replaced_marks_the_interface_as_its_own(tmp_path: Path) -> None:
    world = world_in(tmp_path / "state")
    assert world.bring(scenario.before()).outcome is Outcome.APPLIED
    with SqliteStore(tmp_path / "new") as store:
        new_alias = f"gitvs:{store.id}"
        world.kernel = world.kernel.as_seen_by(new_alias)
        store.set_witness(world.kernel.write_witness)
        target = Applied(scenario.before(), None, world.clock.now())
        done = reconcile(replace(world, state_dir=tmp_path / "new").ports(store), target, ADOPT)
        assert done.outcome in (Outcome.APPLIED, Outcome.CONVERGED)
        alias = world.kernel.observe(SCOPE).links["gitvs0"].alias
        assert number_in_alias(alias, new_alias) == store.number


def test_a_store_that_was_replaced_and_is_brought_back_is_refused(tmp_path: Path) -> None:
    world = world_in(tmp_path / "state")
    assert world.bring(scenario.before()).outcome is Outcome.APPLIED
    old_kernel, snapshot = world.kernel, world.state()
    with SqliteStore(tmp_path / "new") as store:
        world.kernel = world.kernel.as_seen_by(f"gitvs:{store.id}")
        store.set_witness(world.kernel.write_witness)
        target = Applied(scenario.before(), None, world.clock.now())
        reconcile(replace(world, state_dir=tmp_path / "new").ports(store), target, ADOPT)
    world.kernel = old_kernel
    with pytest.raises(StoreOutdated, match="nothing was changed"):
        world.bring(scenario.after())
    assert_state(world, snapshot)


def crashing_witness(
    write_witness: Callable[[int, str | None], None], at: int, is_written: bool
) -> Callable[[int, str | None], None]:
    """Return a witness at whose `at`-th number the process dies, before or after it is written."""
    numbers: list[int] = []

    def write(number: int, adopted_interface: str | None = None) -> None:
        numbers.append(number)
        is_last = len(numbers) == at + 1
        if is_written or not is_last:
            write_witness(number, adopted_interface)
        if is_last:
            raise Crashed

    return write


@pytest.mark.parametrize("is_written", [False, True])
def test_a_crash_between_the_store_and_its_witness_is_recovered_from(
    tmp_path: Path, is_written: bool
) -> None:
    for at in count():
        world = world_in(tmp_path / f"{at}")
        assert world.bring(scenario.before()).outcome is Outcome.APPLIED
        write_witness = world.kernel.write_witness
        world.kernel.write_witness = crashing_witness(write_witness, at, is_written)
        try:
            world.bring(scenario.after())
        except Crashed:
            world.kernel.write_witness = write_witness
            world.recover()
            check_convergence(world)
        else:
            break
    assert at == 3
    check_target(world)


def test_the_number_rises_with_every_write_that_the_kernel_may_depend_on(tmp_path: Path) -> None:
    world = world_in(tmp_path / "state")
    here = world.kernel.incarnation()
    target = Applied(scenario.before(), None, world.clock.now())
    pause = Operation(OperationKind.PAUSE, "ada", "", world.clock.now())
    pin = replace(pause, kind=OperationKind.PIN, subject="a" * 40)
    with world.store() as store:
        begun = store.begin(here, [], target)
        for write in (
            lambda: store.record_conflicts(begun, frozenset()),
            lambda: store.commit(begun, Ledger()),
            lambda: store.finish(begun, Outcome.APPLIED, Ledger()),
            lambda: store.record_converged(here, Ledger(), target),
            lambda: store.put_operation(pause),
            lambda: store.end_operation(pause),
            lambda: store.forget_ended_operations(),
            lambda: store.pin(pin, [], ""),
            lambda: store.accept_head("a" * 40),
            lambda: store.quarantine(here, "a" * 40, ""),
            lambda: store.count_found_open(here, "a" * 40),
            lambda: store.clear_quarantine(),
            lambda: store.void(here, 0),
        ):
            before = store.number
            write()
            assert store.number == before + 1 == world.kernel.read_witness()
        store.record_alive()
        assert store.number == before + 1


def test_after_a_reboot_nothing_is_known_to_be_newer(tmp_path: Path) -> None:
    world, copy = world_with_older_copy(tmp_path)
    bring_back(copy, world)
    world.kernel.reboot()
    add_uplink(world.kernel)
    assert world.bring(scenario.before()).outcome is Outcome.APPLIED


def test_an_interface_that_somebody_deletes_is_made_anew_with_the_newest_number(
    tmp_path: Path,
) -> None:
    world = world_in(tmp_path / "state")
    world.bring(scenario.before())
    world.kernel.delete_link("gitvs0")
    assert world.bring(scenario.before()).outcome is Outcome.APPLIED
    alias = world.kernel.observe(SCOPE).links["gitvs0"].alias
    with world.store() as store:
        assert alias == f"gitvs:{store.id}:{store.number}"


@pytest.mark.parametrize(
    ("alias", "number"),
    [
        ("gitvs:x", 0),
        ("gitvs:x:7", 7),
        ("gitvs:x:", None),
        ("gitvs:x:-1", None),
        ("gitvs:x:²", None),
        ("gitvs:xy:7", None),
        ("gitvs:xy", None),
        ("", None),
    ],
)
def test_only_aliases_of_this_store_have_its_number(alias: str, number: int | None) -> None:
    assert number_in_alias(alias, "gitvs:x") == number
    assert number_in_alias(numbered_alias("gitvs:x", 12), "gitvs:x") == 12

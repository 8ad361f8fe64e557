"""Damaged and older stores at every moment of two transactions, on the kernel in memory."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitvs.core.errors import StoreError, StoreOutdated
from gitvs.core.model.state import State
from gitvs.core.planning.overlay import with_fallback_flags
from tests.reconcile.test_transaction import add_uplink
from tests.support import scenario
from tests.support.effort import examples
from tests.support.store_moments import FILE_NAMES, Files, Moment, record_moments, state_after


@cache
def moments() -> list[Moment]:
    """Every moment of a first transaction, and of one that changes everything."""
    return record_moments([scenario.before(), scenario.after()], add_uplink)


@cache
def right_state(number: int) -> State:
    """What the next run reaches with the files of this moment."""
    moment = moments()[number]
    found = state_after(moment, moment.files, scenario.after())
    assert isinstance(found, State), (moment.name, found)
    return found


def check(number: int, files: Files) -> State | StoreError:
    """The next run reaches the right state, or refuses with clear words; nothing else.

    Where the newest record has no witness yet, nothing rests on it, and it may be missing.
    """
    found = state_after(moments()[number], files, scenario.after())
    if isinstance(found, State):
        is_witnessed = "store at" not in moments()[number].name
        right_states = [right_state(number)] + ([] if is_witnessed else [right_state(number - 1)])
        differing = [
            {
                k: (right.get(k), found.get(k))
                for k in {*right, *found}
                if right.get(k) != found.get(k)
            }
            for right in right_states
        ]
        assert {} in differing, (moments()[number].name, differing)
    else:
        assert len(str(found)) > 40, found
    return found


def test_the_moments_are_those_of_both_transactions() -> None:
    names = " ".join(moment.name for moment in moments())
    assert names.count("begins") == names.count("ended") == 2
    assert names.count("store at") == names.count("witness at") == 6
    assert len(moments()) > 50
    assert all("gitvs.db-wal" in m.files for m in moments() if "store at" in m.name)


def test_whichever_moment_a_crash_comes_the_next_run_reaches_the_target() -> None:
    wanted = with_fallback_flags(scenario.after().state)
    for number in range(len(moments())):
        found = right_state(number)
        assert {
            k for k, r in wanted.items() if found.get(k) != r and k != scenario.WEB6.key
        } == set()


@pytest.mark.parametrize("names", [FILE_NAMES, ("gitvs.db",)], ids=["all files", "database alone"])
def test_a_copy_of_an_earlier_moment_is_refused_once_the_store_was_written_since(
    names: tuple[str, ...],
) -> None:
    refusals = 0
    for number in range(0, len(moments()), 2):
        witness = moments()[number].kernel.read_witness() or 0
        for earlier in range(0, number, 5):
            found = moments()[earlier].files
            refused = check(number, {name: found[name] for name in names if name in found})
            refusals += isinstance(refused, StoreOutdated)
            if moments()[earlier].store_number < witness:
                assert isinstance(refused, StoreError), (number, earlier)
    assert refusals > 50


def test_an_older_file_beside_the_newest_ones_is_not_believed() -> None:
    for number in range(0, len(moments()), 3):
        for earlier in range(0, number, 4):
            for name in FILE_NAMES:
                if name in moments()[earlier].files:
                    check(number, moments()[number].files | {name: moments()[earlier].files[name]})


@given(st.data())
@settings(max_examples=examples(300), deadline=None)
def test_whatever_happens_to_the_files_gitvs_goes_on_rightly_or_refuses(
    data: st.DataObject,
) -> None:
    number = data.draw(st.integers(0, len(moments()) - 1), "moment")
    files = dict(moments()[number].files)
    name = data.draw(st.sampled_from(sorted(files)), "file")
    content = bytearray(files[name])
    match data.draw(st.sampled_from(["flip", "flip", "cut", "zero", "delete"]), "damage"):
        case "flip":
            for place in data.draw(
                st.lists(st.integers(0, len(content) * 8 - 1), min_size=1, max_size=3)
            ):
                content[place // 8] ^= 1 << place % 8
        case "cut":
            del content[data.draw(st.integers(0, len(content) - 1)) :]
        case "zero":
            start = data.draw(st.integers(0, len(content) - 1))
            end = min(len(content), start + data.draw(st.sampled_from([1, 32, 512, 4096])))
            content[start:end] = bytes(end - start)
        case "delete":
            del files[name]
            check(number, files) if "gitvs.db" in files else None
            return
    check(number, files | {name: bytes(content)})

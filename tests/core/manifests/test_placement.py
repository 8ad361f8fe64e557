"""Sets of directors."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gitvs.core.manifests.types import DirectorSet

Indexes = st.frozensets(st.integers(0, 200))


@given(Indexes, Indexes)
def test_a_set_of_directors_is_what_a_set_of_their_indexes_is(
    one: frozenset[int], other: frozenset[int]
) -> None:
    first, second = DirectorSet.of(*one), DirectorSet.of(*other)

    assert list(first & second) == sorted(one & other)
    assert list(first | second) == sorted(one | other)
    assert list(first - second) == sorted(one - other)
    assert first.meets(second) == bool(one & other)
    assert (first == second) == (one == other)
    assert len({first, second}) == len({one, other})
    assert (len(first), bool(first)) == (len(one), bool(one))
    assert all((index in first) == (index in one) for index in range(201))


@given(st.integers(0, 200))
def test_the_first_directors_are_those_of_the_lowest_indexes(count: int) -> None:
    assert list(DirectorSet.of_first(count)) == list(range(count))

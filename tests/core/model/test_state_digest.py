"""The digest of a state: the same for equal states, however they came about."""

from __future__ import annotations

from hypothesis import given

from gitvs.core.model.desired import Desired
from gitvs.core.model.state import State
from gitvs.core.model.state_digest import state_digest
from tests.support.strategies import transitions


@given(transitions())
def test_states_have_one_digest_if_they_are_equal(step: tuple[Desired, Desired]) -> None:
    one, other = (desired.state for desired in step)
    assert (state_digest(one) == state_digest(other)) == (one == other)
    assert state_digest(State(reversed(list(one.values())))) == state_digest(one)


@given(transitions())
def test_a_digest_that_is_updated_is_the_one_that_is_computed_anew(
    step: tuple[Desired, Desired],
) -> None:
    one, other = (desired.state for desired in step)
    assert state_digest(other, (one, state_digest(one))) == state_digest(other)

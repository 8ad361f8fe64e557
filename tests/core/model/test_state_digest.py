"""The digest of a state: the same for equal states, however they came about."""

from __future__ import annotations

from dataclasses import fields, replace
from ipaddress import ip_address
from typing import Any

from hypothesis import given

from gitvs.core.model.desired import Desired
from gitvs.core.model.kinds import KINDS
from gitvs.core.model.resources import (
    Forwarding,
    Persistence,
    PersistenceEngine,
    RealServer,
    Resource,
    Scheduler,
    SchedulerFlag,
    Tunnel,
    TunnelChecksum,
    TunnelType,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.core.model.state_digest import (
    STATE_DIGEST_VERSION,
    comparable_digest,
    state_digest,
)
from tests.support import scenario
from tests.support.builders import endpoint
from tests.support.strategies import transitions

PINNED_DIGESTS = {2: "2:c934def99621ae927292e286b2240608"}
"""The digest of one state with every kind of object, by version."""


def test_the_form_of_a_digest_changes_only_with_its_version() -> None:
    """Stores keep digests for longer than a gitvs lives.

    If this fails, raise `STATE_DIGEST_VERSION`, and add a line to `PINNED_DIGESTS`. Only if the
    scenario has changed instead, correct the line.
    """
    state = scenario.before().state
    assert {type(r) for r in state.values()} == {facts.resource_class for facts in KINDS.values()}
    assert state_digest(state) == PINNED_DIGESTS[STATE_DIGEST_VERSION]


def test_a_digest_of_another_form_is_as_good_as_none() -> None:
    digest = state_digest(scenario.before().state)
    assert comparable_digest(digest) == digest
    for other in ("", digest.partition(":")[2], f"1:{digest}", f"{STATE_DIGEST_VERSION + 1}:0"):
        assert comparable_digest(other) == ""


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


def test_a_digest_covers_every_field_of_what_there_are_thousands_of() -> None:
    one = endpoint()
    persistence = Persistence(300, 32)
    service = VirtualService(one, Scheduler.SH, persistence=persistence)
    tunnel = Tunnel(TunnelType.GUE, 6080)
    server = RealServer(one, ip_address("10.0.0.1"), 80, 1, Forwarding.TUN, tunnel)
    other_values: dict[type, dict[str, list[Any]]] = {
        VirtualService: {
            "listener": [endpoint("203.0.113.11")],
            "scheduler": [Scheduler.MH],
            "flags": [
                frozenset({SchedulerFlag.SH_PORT}),
                frozenset({SchedulerFlag.SH_PORT, SchedulerFlag.SH_FALLBACK}),
            ],
            "is_one_packet": [True],
            "persistence": [
                None,
                *_variants(
                    persistence,
                    timeout_seconds=[301],
                    prefix_length=[24],
                    engine=[PersistenceEngine.SIP],
                ),
            ],
        },
        RealServer: {
            "listener": [endpoint("203.0.113.11")],
            "address": [ip_address("10.0.0.2")],
            "port": [81],
            "weight": [0],
            "forwarding": [Forwarding.NAT],
            "tunnel": [
                None,
                *_variants(
                    tunnel,
                    type=[TunnelType.GRE],
                    port=[6081],
                    checksum=[TunnelChecksum.FULL],
                ),
            ],
            "upper_threshold": [2],
            "lower_threshold": [2],
        },
    }
    resources: list[Resource] = [service, server]
    for base in (service, server):
        resources += _variants(base, **other_values[type(base)])
    assert len({state_digest(State([r])) for r in resources}) == len(resources)


def _variants(base: Any, **values: list[Any]) -> list[Any]:
    """Return a value with each field changed in turn; every field has to be named."""
    assert values.keys() == {f.name for f in fields(base) if f.init}
    return [replace(base, **{name: value}) for name, some in values.items() for value in some]

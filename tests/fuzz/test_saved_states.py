"""Any file for `--state` is read, or refused."""

from __future__ import annotations

import json
import os
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gitvs.cli.plan import load_saved_observation
from gitvs.core.errors import FileUnusable, UsageError
from gitvs.core.manifests.render import render_director
from gitvs.core.model.ledger import Drain, Ledger
from gitvs.core.model.observation import Scope
from gitvs.core.planning.offline_proposal import propose_preview
from gitvs.report.host.observation_json import ObservedHost, observation_json, parse_observation
from tests.fuzz.strategies import VALUES, damaged
from tests.support.effort import examples
from tests.support.manifests.writing import director, loaded, service
from tests.support.memory.kernel import MemoryKernel


def saved_state() -> dict[str, Any]:
    """What `gitvs observe` says of a host with a service, of which a real server drains."""
    desired = render_director(loaded(director(), service()), "lb1")
    kernel = MemoryKernel("gitvs:test")
    kernel.add_link("eth0", addresses=["10.0.0.254/24"])
    kernel.execute(propose_preview(None, desired).plan.changes)
    scope = Scope(frozenset({"gitvs0"}), frozenset({"net.ipv4.vs.sloppy_tcp"}))
    keys = frozenset(desired.state)
    ledger = Ledger(keys, {key: Drain(key, 60.0, 5000.0) for key in keys if "->" in key})
    observation = kernel.observe(scope)
    host = ObservedHost("lb1", observation, scope, ledger, "gitvs:test", 1000.0, desired, "0" * 40)
    return observation_json(host)


SAVED = json.loads(json.dumps(saved_state()))


def test_the_sound_one_is_read() -> None:
    assert parse_observation(json.dumps(SAVED), "state").director == "lb1"


@settings(max_examples=examples(300))
@given(damaged(SAVED))
def test_any_value_anywhere_is_read_or_refused(value: Any) -> None:
    with suppress(UsageError):
        parse_observation(json.dumps(value), "state")


@settings(max_examples=examples(300))
@given(st.one_of(st.text(), VALUES.map(json.dumps)))
@example("[" * 100_000)
@example('{"a": ' * 100_000)
@example('{"formatVersion": ' + "9" * 10_000 + "}")
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_observation(text, "state")


def test_a_file_that_does_not_begin_as_a_saved_state_is_not_read_to_its_end() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match="/dev/zero is not what `gitvs observe"):
            load_saved_observation(Path("/dev/zero"))
        assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    finally:
        tracemalloc.stop()


def test_a_file_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitvs.cli.plan.MAX_STATE_CHARACTERS", 1024 * 1024)
    large = tmp_path / "lb1.json"
    large.write_text('{"a": "')
    os.truncate(large, 2 * 1024 * 1024)
    with pytest.raises(FileUnusable, match="larger than 1 MiB"):
        load_saved_observation(large)

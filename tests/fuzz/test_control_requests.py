"""Any request to a running agent is answered, or refused with words."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gitvs.adapters.service.control_socket import Peer
from gitvs.core.errors import GitvsError
from tests.fuzz.strategies import VALUES, damaged
from tests.support.agents import eventually, site
from tests.support.effort import examples

SOUND: list[dict[str, Any]] = [
    {"command": "drain", "subject": "s1", "why": "disk", "for": "ada", "seconds": 60, "now": True},
    {"command": "drain", "subject": "10.0.0.1", "service": "web"},
    {"command": "undrain", "subject": "s1"},
    {"command": "standby", "why": "x"},
    {"command": "active"},
    {"command": "rollback", "subject": "main", "seconds": 60, "allow": ["capacity-drop"]},
    {"command": "accept-rewrite", "subject": "abcdef0"},
    {"command": "resume"},
    {"command": "status"},
]


def test_any_request_is_answered_or_refused(tmp_path: Path) -> None:
    requests, here = _requests(), site(tmp_path)
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        for request in requests:
            with suppress(GitvsError):
                json.dumps(running.desk.answer(request, Peer(1, 0)))


def _requests() -> list[dict[str, Any]]:
    """Return the requests; they are made first, since hypothesis wants `random` for itself."""
    made: list[dict[str, Any]] = [
        {"command": ["sync"]},
        {"command": "drain", "seconds": float("nan")},
        {"command": "drain", "seconds": float("inf")},
        {"command": "drain", "seconds": True},
        {"command": "drain", "allow": {"a": 1}},
        {"command": "drain", "subject": "s1", "seconds": 10**400},
    ]
    objects = st.dictionaries(st.text(max_size=5), VALUES, max_size=3)

    @settings(max_examples=examples(300))
    @given(st.one_of(damaged(*SOUND), objects).filter(lambda value: isinstance(value, dict)))
    def collect(request: dict[str, Any]) -> None:
        made.append(request)

    collect()
    return made

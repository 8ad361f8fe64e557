"""What holds of a `State` beyond what every test takes for granted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from gitvs.core.model.resources import RealServer
from gitvs.core.model.state import State
from tests.support.builders import endpoint, real_server

THREADS = 4


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    former = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(former)


@pytest.mark.usefixtures("quick_switches")
def test_threads_that_ask_a_state_at_the_same_time_all_get_everything() -> None:
    servers = [real_server(endpoint(port=port)) for port in range(1, 3001)]
    start = Barrier(THREADS)

    def ask(state: State) -> int:
        start.wait()
        return len(state.of_type(RealServer))

    with ThreadPoolExecutor(THREADS) as threads:
        for _ in range(30):
            found = list(threads.map(ask, THREADS * [State(servers)]))
            assert found == THREADS * [len(servers)]

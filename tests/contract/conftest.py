"""Each contract runs on the kernel in memory, and on Linux with that one beside it."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.contract.host")

from tests.contract.host import Host, enter_bare_namespace, memory_host, twin_host  # noqa: E402

KERNELS = ["memory", pytest.param("linux", marks=pytest.mark.kernel)]


@pytest.fixture(params=KERNELS)
def host(request: pytest.FixtureRequest) -> Host:
    """A host that has just booted: `lo` is up, and nothing else is there."""
    return twin_host() if request.param == "linux" else memory_host()


@pytest.fixture(params=KERNELS)
def bare_host(request: pytest.FixtureRequest) -> Host:
    """A host with nothing at all: `lo` was never up."""
    if request.param == "memory":
        return memory_host(is_lo_up=False)
    enter_bare_namespace()
    return twin_host(is_lo_up=False)

"""Each contract runs on the kernel in memory, and on Linux with that one beside it."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.contract.host")

from tests.contract.host import Host, memory_host, twin_host  # noqa: E402


@pytest.fixture(params=["memory", pytest.param("linux", marks=pytest.mark.kernel)])
def host(request: pytest.FixtureRequest) -> Host:
    """A host that has just booted: `lo` is up, and nothing else is there."""
    return twin_host() if request.param == "linux" else memory_host()

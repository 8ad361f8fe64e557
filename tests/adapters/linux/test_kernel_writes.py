"""Writes that do not reach the kernel: refused in words, and nothing is sent."""

from __future__ import annotations

import sys
from ipaddress import ip_address

import pytest

from gitvs.adapters.linux.kernel import LinuxKernel
from gitvs.core.model.resources import DummyInterface, Vip
from gitvs.core.planning.plan import Change, Phase
from gitvs.ports import WriteStatus


def test_what_writes_routes_and_cannot_be_loaded_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in an agent whose gitvs was upgraded and that was not started again."""
    monkeypatch.setitem(sys.modules, "gitvs.adapters.linux.rtnetlink_codec.requests", None)
    resources = (DummyInterface("gitvs0"), Vip(ip_address("192.0.2.7"), "gitvs0", 32))
    results = LinuxKernel("").execute([Change(None, r, Phase.BIND) for r in resources])
    assert [r.status for r in results] == [WriteStatus.REFUSED] * 2
    assert all("restart its agent" in result.message for result in results)

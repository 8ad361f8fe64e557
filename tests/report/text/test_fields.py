"""The fields of resources, as people read them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from gitvs.core.model.resources import SyncDaemon, SyncRole
from gitvs.report.text.fields import changed_fields, nondefault_fields


@pytest.mark.parametrize("role", list(SyncRole))
@pytest.mark.parametrize(
    ("group", "usual", "shown"),
    [("224.0.0.81", 1472, {}), ("ff02::81", 1452, {"group": "ff02::81"})],
)
def test_a_sync_daemon_shows_no_length_that_the_kernel_usually_chooses(
    role: SyncRole, group: str, usual: int, shown: dict[str, str]
) -> None:
    daemon = SyncDaemon(role, "eth1", 7, ip_address(group))
    shown = {"interface": "eth1", "id": "7", **shown}
    assert nondefault_fields(daemon) == shown
    assert nondefault_fields(replace(daemon, max_length=usual)) == shown
    long = replace(daemon, max_length=8972)
    assert nondefault_fields(long) == {**shown, "max length": "8972"}
    assert changed_fields(long, daemon) == {"max length": "8972 → as the kernel chooses"}

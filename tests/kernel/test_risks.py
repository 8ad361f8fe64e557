"""What risk notes claim of the kernel is so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.lab import CLIENT, Lab
from tests.kernel.live import VIP, Director, real_servers
from tests.support.manifests.writing import service

pytestmark = pytest.mark.kernel


def test_answers_by_nat_to_one_packet_scheduling_keep_the_address_of_the_real_server(
    tmp_path: Path,
) -> None:
    dns = [{"port": 53, "protocol": "udp", "onePacket": True}]
    with Lab() as lab:
        lab.serve(53)
        Director(tmp_path).apply(service(vips=[VIP], ports=dns, realServers=real_servers(lab)))
        hops = lab.trace(lambda: lab.requests(VIP, 53, 1, "udp"))
        (answer,) = (h.source for h in hops if h.host == CLIENT and h.direction == "in")
        assert answer in {f"{lab.address(name)}:53" for name in lab.real_servers}

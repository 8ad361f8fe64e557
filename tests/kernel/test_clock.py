"""The wall clock is set while the agent runs: nothing that it does hangs on that."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.lab import Lab, run
from tests.kernel.agent_process import Host, eventually
from tests.support.manifests.writing import director, file_of, server, service

pytestmark = pytest.mark.kernel

VIP = "203.0.113.10"
HOUR = 3600.0


@contextmanager
def clock_moved(seconds: float) -> Iterator[None]:
    """Set the guest's clock, and set it right again at the end."""
    if "GITVS_IN_GUEST" not in os.environ:
        pytest.skip("this kernel is the host's own, whose clock is nobody's to set")
    before = time.time() - time.monotonic()
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)
    try:
        yield
    finally:
        time.clock_settime(time.CLOCK_REALTIME, before + time.monotonic())


def rules() -> str:
    return run("ipvsadm", "-Sn")


def web(lab: Lab, *names: str, weight: int = 1) -> str:
    servers = [server(lab.address(name), weight=weight) for name in names]
    drain = {"timeout": "8s"}
    web = service(vips=[VIP], ports=[{"port": 80}], realServers=servers, drain=drain)
    return file_of("", director(), web).data.decode()


def test_polls_repairs_and_drains_go_on_when_the_clock_is_set_back(tmp_path: Path) -> None:
    with Lab() as lab:
        lab.serve(80)
        host = Host(tmp_path, {"web.yaml": web(lab, "rs1", "rs2")})
        with host.agent():
            leaving = lab.connect(VIP, 80).ask()
            (staying,) = {"rs1", "rs2"} - {leaving}
            host.remote.commit({"web.yaml": web(lab, staying)})
            eventually(lambda: f"{lab.address(leaving)}:80 -m -w 0" in rules(), host.log)
            with clock_moved(-HOUR):
                eventually(lambda: lab.address(leaving) not in rules(), host.log)
            with clock_moved(-24 * HOUR):
                host.remote.commit({"web.yaml": web(lab, staying, weight=5)})
                eventually(lambda: "-w 5" in rules(), host.log)
                listener, address = f"{VIP}:80", f"{lab.address(staying)}:80"
                run("ipvsadm", "-e", "-t", listener, "-r", address, "-m", "-w", "77")
                eventually(lambda: "-w 5" in rules(), host.log)
            assert "clock was set" in host.log.read_text()

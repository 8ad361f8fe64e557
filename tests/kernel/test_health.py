"""Health on a real kernel, with real sockets, real packets and the real process that checks."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.lab import Lab, run
from tests.kernel.agent_process import Host, eventually
from tests.kernel.live import VIP, VIP6, nobody_complains, real_servers
from tests.support.manifests.writing import Doc, director, file_of, service

pytestmark = pytest.mark.kernel

FAST: Doc = {
    "interval": "1s",
    "timeout": "500ms",
    "retryInterval": "500ms",
    "checks": [{"tcp": {}}],
}


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(real_servers=4) as lab:
        yield lab


def host_with(lab: Lab, folder: Path, **fields: object) -> Host:
    """Return a director whose one Service checks all real servers of the lab, fast."""
    spec: Doc = {"vips": [VIP], "ports": [{"port": 80}], "scheduler": "rr", "health": FAST}
    web = service(**{**spec, "realServers": real_servers(lab), **fields})
    return Host(folder, {"all.yaml": file_of("all.yaml", director(), web).data})


def web_health(host: Host) -> Any:
    return host.order("status")["services"][0]["health"]


def standings(host: Host) -> list[str]:
    """Return what is known of the real servers, in the order of their addresses."""
    return [server["standing"] for server in web_health(host)["realServers"]]


def weights() -> list[int]:
    """Return the weights in the kernel, in the order of the addresses."""
    lines = [line.split() for line in run("ipvsadm", "-Sn").splitlines() if line.startswith("-a")]
    return [int(words[words.index("-w") + 1]) for words in sorted(lines)]


def set_link(lab: Lab, name: str, word: str) -> None:
    with lab.at(name):
        run("ip", "link", "set", "back", word)


def test_a_server_whose_port_closes_leaves_without_a_failed_connection_and_comes_back(
    lab: Lab, tmp_path: Path
) -> None:
    lab.serve(80, hosts=["rs1", "rs2", "rs3"])
    host = host_with(lab, tmp_path)
    with host.agent():
        eventually(lambda: weights() == [1, 1, 1, 0], host.log)
        assert standings(host) == ["up", "up", "up", "down"]
        (_, _, _, dead) = web_health(host)["realServers"]
        assert (dead["failure"], dead["reason"]) == ("refused", "down")
        assert set(lab.requests(VIP, 80, 30)) == {"rs1", "rs2", "rs3"}
        with nobody_complains(lab, VIP):
            lab.serve(80, hosts=["rs4"])
            eventually(lambda: weights() == [1, 1, 1, 1], host.log)
        assert "rs4" in lab.requests(VIP, 80, 30)


def test_a_host_that_says_nothing_at_all_leaves_and_its_connections_get_a_reset(
    lab: Lab, tmp_path: Path
) -> None:
    lab.serve(80)
    host = host_with(lab, tmp_path, drain={"timeout": "2s"})
    with host.agent():
        eventually(lambda: standings(host) == ["up"] * 4, host.log)
        set_link(lab, "rs2", "down")
        eventually(lambda: weights() == [1, 0, 1, 1], host.log)
        assert set(lab.requests(VIP, 80, 30)) == {"rs1", "rs3", "rs4"}
        eventually(lambda: weights() == [1, 1, 1], host.log)
        shown = host.order("status")
        assert shown["drift"] == []
        set_link(lab, "rs2", "up")
        eventually(lambda: weights() == [1, 1, 1, 1], host.log)


def test_one_family_dies_alone(lab: Lab, tmp_path: Path) -> None:
    lab.serve(80)
    both = real_servers(lab, versions=(4, 6))
    host = host_with(lab, tmp_path, vips=[VIP, VIP6], realServers=both)
    with host.agent():
        eventually(lambda: weights() == [1] * 8, host.log)
        for name in ("rs1", "rs2"):
            with lab.at(name):
                run("ip", "address", "flush", "dev", "back", "to", f"{lab.address(name, 6)}/128")
        eventually(lambda: sorted(weights()) == [0, 0, 1, 1, 1, 1, 1, 1], host.log)
        by_family = {s["key"]: s["health"]["counts"] for s in host.order("status")["services"]}
        assert by_family[f"tcp {VIP}:80"]["up"] == 4
        assert by_family[f"tcp [{VIP6}]:80"]["up"] == 2


def test_a_checker_that_is_killed_or_stopped_changes_no_weight(lab: Lab, tmp_path: Path) -> None:
    lab.serve(80, hosts=["rs1", "rs2", "rs3"])
    host = host_with(lab, tmp_path)
    with host.agent() as process:
        eventually(lambda: weights() == [1, 1, 1, 0], host.log)
        checker = checker_of(process.pid)
        assert capabilities(checker) == {"0" * 16}
        os.kill(checker, signal.SIGKILL)
        eventually(lambda: host.order("status")["health"]["checker"]["restarts"] == 1, host.log)
        assert weights() == [1, 1, 1, 0]
        lab.serve(80, hosts=["rs4"])
        eventually(lambda: weights() == [1, 1, 1, 1], host.log)


def checker_of(agent: int) -> int:
    """Return the process that checks, which is the agent's child."""
    return next(p for p in children(agent) if is_checker(p))


def children(process: int) -> list[int]:
    tasks = Path("/proc", str(process), "task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def is_checker(process: int) -> bool:
    return b"gitvs.health" in Path("/proc", str(process), "cmdline").read_bytes()


def capabilities(process: int) -> set[str]:
    """Return all sets of capabilities of a process, but for the bounding set."""
    lines = Path("/proc", str(process), "status").read_text().splitlines()
    names = ("CapInh", "CapPrm", "CapEff", "CapAmb")
    return {line.split()[1] for line in lines if line.startswith(names)}


def test_a_commit_with_a_wrong_port_harms_nobody(lab: Lab, tmp_path: Path) -> None:
    lab.serve(80)
    host = host_with(lab, tmp_path)
    with host.agent():
        eventually(lambda: standings(host) == ["up"] * 4, host.log)
        wrong = {**FAST, "checks": [{"tcp": {"port": 81}}]}
        with nobody_complains(lab, VIP):
            spec: Doc = {"vips": [VIP], "ports": [{"port": 80}], "scheduler": "rr"}
            web = service(**{**spec, "realServers": real_servers(lab), "health": wrong})
            host.remote.commit({"all.yaml": file_of("all.yaml", director(), web).data})
            eventually(lambda: web_health(host)["onTrial"] == ["tcp port 81"], host.log)
            eventually(lambda: failures_on_trial(host) == 3, host.log)
        assert weights() == [1, 1, 1, 1]


def failures_on_trial(host: Host) -> int:
    """Return how often in a row the first real server has failed the check on trial."""
    checks = web_health(host)["realServers"][0]["checks"]
    return next(int(check["inARow"]) for check in checks if check["isOnTrial"])

"""Beside what others made: taken over under traffic when a person says so, else never touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

import gitvs.cli.apply
import gitvs.cli.teardown  # noqa: F401  # loaded once, before every test forks
from gitvs.cli import run as gitvs_run
from gitvs.core.errors import ExitCode
from gitvs.core.model.history import Outcome
from gitvs.reconcile.one_pass import PassOptions
from gitvs.reconcile.transaction import recover
from tests.harness.lab import Lab, run, run_batch
from tests.kernel.live import VIP, VIP6, Director, nobody_complains, real_servers
from tests.support.faults import Crashed, FaultyKernel, How
from tests.support.manifests.writing import Doc, director, file_of, service

pytestmark = pytest.mark.kernel

WEB = [{"port": 80}]
FOREIGN_VIP = "192.0.2.99"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        lab.serve(80)
        yield lab


@pytest.fixture
def manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for manifests, beside the state folder."""
    monkeypatch.setenv("GITVS_STATE_DIR", str(tmp_path / "state"))
    folder = tmp_path / "manifests"
    folder.mkdir()
    return folder


def write(folder: Path, *documents: Doc) -> None:
    (folder / "all.yaml").write_bytes(file_of("all.yaml", director(), *documents).data)


def gitvs_apply(folder: Path, *options: str) -> int:
    return gitvs_run(["apply", str(folder), "--director", "lb1", *options])


def serve_by_hand(lab: Lab, vip: str, interface: str, version: int = 4) -> None:
    """Make what an operator or keepalived would: a VIP on an interface, and ipvsadm's rules."""
    host = f"[{vip}]" if version == 6 else vip
    run_batch([f"address add {vip} dev {interface} nodad"])
    run("ipvsadm", "-A", "-t", f"{host}:80", "-s", "rr")
    for name in lab.real_servers:
        address = lab.address(name, version)
        real = f"[{address}]" if version == 6 else address
        run("ipvsadm", "-a", "-t", f"{host}:80", "-r", f"{real}:80", "-m", "-w", "3")


def looks() -> dict[str, list[str]]:
    """What the tools of the trade print of all that gitvs could touch."""
    commands = (
        "ip -details address",
        "ip route show table all",
        "ip -6 route show table all",
        "ipvsadm -Sn",
    )
    return {command: run(*command.split()).splitlines() for command in commands}


def test_rules_of_others_are_taken_over_under_the_clients(
    lab: Lab, manifests: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The way from keepalived: adopt, end the other, and its addresses may go."""
    serve_by_hand(lab, VIP, "front")
    serve_by_hand(lab, VIP6, "front", 6)
    servers = real_servers(lab, versions=(4, 6))
    write(manifests, service(vips=[VIP, VIP6], ports=WEB, scheduler="wrr", realServers=servers))
    with nobody_complains(lab, VIP, VIP6) as clients:
        before = looks()
        assert gitvs_apply(manifests) == ExitCode.BLOCKED
        assert looks() == before
        assert f"tcp {VIP}:80" in capsys.readouterr().out
        assert gitvs_apply(manifests, "--adopt") == ExitCode.DONE
        clients.go_on()
        run_batch([f"address del {vip} dev front" for vip in (f"{VIP}/32", f"{VIP6}/128")])
        clients.go_on()
        assert gitvs_apply(manifests) == ExitCode.DONE
    rules = run("ipvsadm", "-Sn")
    assert (rules.count("-s wrr"), rules.count("-w 1"), rules.count("-w 3")) == (2, 4, 0)
    assert {*lab.requests(VIP, 80, 2), *lab.requests(VIP6, 80, 2)} == {"rs1", "rs2"}


@pytest.mark.parametrize("how", [How.REFUSED, How.CRASH_AFTER])
def test_a_takeover_that_fails_gives_everything_back(lab: Lab, tmp_path: Path, how: How) -> None:
    here = Director(tmp_path, pause_seconds=0.02)
    serve_by_hand(lab, VIP, "front")
    wanted = service(vips=[VIP], ports=WEB, scheduler="wrr", realServers=real_servers(lab))
    before = looks()
    with nobody_complains(lab, VIP):
        for at in (2, 4, 6):
            faulty = partial(FaultyKernel, at=at, how=how)
            with suppress(Crashed):
                here.bring(wanted, on=faulty, options=PassOptions(adopt=True))
            with here.ports() as ports:
                recovered = recover(ports)
            assert (recovered is not None) == (how is How.CRASH_AFTER)
            assert looks() == before
        assert here.bring(wanted).outcome is Outcome.BLOCKED, "nothing was taken over"
        assert here.bring(wanted, options=PassOptions(adopt=True)).outcome is Outcome.APPLIED


def test_what_others_made_is_left_alone_by_apply_and_teardown(lab: Lab, manifests: Path) -> None:
    run_batch(
        [
            "link add others type dummy",
            "route add local 198.51.100.0/24 dev lo table local proto static",
            "route add 203.0.113.0/24 via 10.0.2.1",
        ]
    )
    serve_by_hand(lab, FOREIGN_VIP, "others")
    run("ipvsadm", "-A", "-f", "5", "-s", "rr")
    before = looks()
    mine = service(vips=[VIP], ports=WEB, realServers=real_servers(lab))
    write(manifests, mine)
    with nobody_complains(lab, FOREIGN_VIP) as clients:
        assert gitvs_apply(manifests) == ExitCode.DONE
        assert lab.requests(VIP, 80, 2).keys() == {"rs1", "rs2"}
        for command, lines in before.items():
            assert set(lines) - set(looks()[command]) == set(), command
        write(manifests, mine, service("more", vips=["192.0.2.11"], ports=WEB, realServers=[]))
        assert gitvs_apply(manifests) == ExitCode.DONE
        clients.go_on()
        assert gitvs_run(["teardown", "--yes"]) == ExitCode.DONE
        clients.go_on()
    assert looks() == before

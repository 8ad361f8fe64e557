"""`gitvs render --real-server`: what it prints is all that a real server needs, run twice over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.lab import CLIENT, Lab, run
from tests.kernel.live import VIP, VIP6, Director, real_servers
from tests.support.command_line import Gitvs, in_process
from tests.support.effort import IS_LONG
from tests.support.manifests.writing import Doc, director, service

pytestmark = pytest.mark.kernel

RR: Doc = {"vips": [VIP, VIP6], "ports": [{"port": 80}], "scheduler": "rr"}
TUNNELS: list[Doc] = [
    {"type": "ipip"},
    {"type": "gre", "checksum": "full"},
    {"type": "gue", "port": 6080, "checksum": "remote"},
]
if IS_LONG:
    TUNNELS += [
        {"type": "gre"},
        {"type": "gre", "checksum": "none"},
        {"type": "gue", "port": 6080},
        {"type": "gue", "port": 6080, "checksum": "none"},
        {"type": "gue", "port": 6080, "checksum": "full"},
    ]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture(name="cli")
def fixture_cli(capsys: pytest.CaptureFixture[str]) -> Gitvs:
    return in_process(capsys)


def set_up(lab: Lab, cli: Gitvs, folder: Path, web: Doc) -> None:
    """Do on every real server what is printed for its addresses, where filters are strict."""
    folder.mkdir()
    for document in (director(), web):
        (folder / f"{document['kind']}.json").write_text(json.dumps(document))
    for name in lab.real_servers:
        strict = {f"net.ipv4.conf.{which}.rp_filter": "1" for which in ("all", "default", "back")}
        lab.set_sysctls(name, strict)
        addresses = [lab.address(name, version) for version in (4, 6)]
        scripts = [cli("render", folder, "--real-server", address) for address in addresses]
        with lab.at(name):
            for version, address in ((4, CLIENT), (6, CLIENT)):
                where = lab.address(address, version)
                run("ip", f"-{version}", "route", "replace", "default", "via", where)
            for script in (*scripts, *scripts):
                if script.code == 0:
                    run("sh", "-e", text=script.out)


def test_direct_routing_works_once_real_servers_are_set_up(
    lab: Lab, cli: Gitvs, tmp_path: Path
) -> None:
    lab.serve(80)
    web = service(**RR, forwarding="dr", realServers=real_servers(lab, versions=(4, 6)))
    Director(tmp_path).apply(web)
    assert set(lab.requests(VIP, 80, 1)) == {"timed out"}
    set_up(lab, cli, tmp_path / "manifests", web)
    for vip in (VIP, VIP6):
        assert lab.requests(vip, 80, 6) == {"rs1": 3, "rs2": 3}


@pytest.mark.parametrize("tunnel", TUNNELS, ids=lambda t: " ".join(map(str, t.values())))
def test_tunnels_end_in_real_servers_that_are_set_up(
    lab: Lab, cli: Gitvs, tmp_path: Path, tunnel: Doc
) -> None:
    lab.serve(80)
    servers = real_servers(lab, versions=(4, 6))
    web = service(**RR, forwarding="tun", tunnel=tunnel, realServers=servers)
    Director(tmp_path).apply(web)
    set_up(lab, cli, tmp_path / "manifests", web)
    for vip in (VIP, VIP6):
        assert lab.requests(vip, 80, 6) == {"rs1": 3, "rs2": 3}


@pytest.mark.parametrize("version", [4, 6])
def test_a_tunnel_of_one_family_carries_the_other(
    lab: Lab, cli: Gitvs, tmp_path: Path, version: int
) -> None:
    lab.serve(80)
    servers = real_servers(lab, versions=(version,))
    web = service(**RR, forwarding="tun", crossFamily=True, realServers=servers)
    Director(tmp_path).apply(web)
    set_up(lab, cli, tmp_path / "manifests", web)
    for vip in (VIP, VIP6):
        assert lab.requests(vip, 80, 6) == {"rs1": 3, "rs2": 3}

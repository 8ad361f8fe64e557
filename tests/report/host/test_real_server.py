"""What a real server needs, worked out from every service that has it."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from gitvs.core.errors import ExitCode, UsageError
from gitvs.core.manifests.render import render_director
from gitvs.report.host.real_server import real_server_commands
from tests.support.command_line import in_process
from tests.support.manifests.writing import LEFT_OUT, Doc, director, loaded, server, service
from tests.support.paths import EXAMPLES

RS = "10.0.3.5"
RS6 = "fd00::5"
HTTP = [{"port": 80}]


def lines(*documents: Doc, address: str = RS) -> list[str]:
    """Return all lines for a real server of these documents."""
    manifests = loaded(*documents)
    states = [render_director(manifests, name) for name in sorted(manifests.director_names)]
    return list(real_server_commands(states, ip_address(address)))


def commands(*documents: Doc, address: str = RS) -> list[str]:
    """Return the lines that do something."""
    return [x for x in lines(*documents, address=address) if x and not x.startswith("#")]


def tunnelled(address: str = RS, *vips: str, **fields: object) -> Doc:
    """A service through a tunnel to one real server."""
    return service(
        vips=list(vips) or ["203.0.113.10"],
        ports=HTTP,
        forwarding="tun",
        tunnel={"type": "ipip", **fields},
        crossFamily=len(vips) > 1,
        realServers=[server(address)],
    )


def test_a_real_server_of_direct_routing_holds_the_vips_of_all_its_services() -> None:
    one, two = (
        service(name, vips=[vip], ports=HTTP, forwarding="dr", realServers=[server(RS)])
        for name, vip in (("one", "203.0.113.11"), ("two", "203.0.113.9"))
    )
    assert commands(director("lb1"), director("lb2"), one, two) == [
        "sysctl -w net.ipv4.conf.all.arp_ignore=1",
        "sysctl -w net.ipv4.conf.all.arp_announce=2",
        "ip address replace 203.0.113.9/32 dev lo",
        "ip address replace 203.0.113.11/32 dev lo",
    ]


def test_ipv6_needs_no_word_on_arp() -> None:
    web = service(vips=["2001:db8::10"], ports=HTTP, forwarding="dr", realServers=[server(RS6)])
    expected = ["ip address replace 2001:db8::10/128 dev lo"]
    assert commands(director(), web, address=RS6) == expected


def test_behind_nat_there_is_nothing_to_run_but_a_route_and_a_port_to_know_of() -> None:
    web = service(ports=[{"port": 443, "targetPort": 8443}], realServers=[server(RS)])
    assert commands(director("lb1"), director("lb2"), web) == []
    said = lines(director("lb1"), director("lb2"), web)
    assert "# its default route leads through lb1 or lb2." in said
    assert f"#   tcp {RS}:8443  for tcp 203.0.113.10:443 by NAT" in said


def test_what_listens_does_so_on_the_vip_unless_nat_comes_between() -> None:
    both = [
        service("web", ports=HTTP, forwarding="dr", realServers=[server(RS)]),
        service("api", ports=[{"port": 81, "targetPort": 8081}], realServers=[server(RS)]),
    ]
    assert lines(director(), *both)[-2:] == [
        "#   tcp 203.0.113.10:80  for tcp 203.0.113.10:80 by direct routing",
        f"#   tcp {RS}:8081    for tcp 203.0.113.10:81 by NAT",
    ]


@pytest.mark.parametrize(
    ("document", "address", "device", "type_"),
    [
        (tunnelled(), RS, "gvipip", f"ipip local {RS}"),
        (tunnelled(RS, type="gre"), RS, "gvgre", f"gre local {RS}"),
        (tunnelled(RS, type="gre", checksum="full"), RS, "gvgre", f"gre local {RS} csum"),
        (tunnelled(RS, type="gue", port=6080), RS, "gvipip", f"ipip local {RS}"),
        (tunnelled(RS6, "2001:db8::10"), RS6, "gvip6tnl", f"ip6tnl mode any local {RS6}"),
        (tunnelled(RS6, "2001:db8::10", type="gre"), RS6, "gvgre6", f"ip6gre local {RS6}"),
    ],
)
def test_each_sort_of_tunnel_has_its_device(
    document: Doc, address: str, device: str, type_: str
) -> None:
    made = f"ip link show {device} >/dev/null 2>&1 || ip link add name {device} type {type_}"
    found = commands(director(), document, address=address)
    assert [x for x in found if " link add " in x] == [made]
    assert found[-1] == f"ip link set {device} up"
    is_filtered = f"sysctl -w net.ipv4.conf.{device}.rp_filter=0" in found
    assert is_filtered is (address == RS)


@pytest.mark.parametrize(
    ("document", "address", "extra", "mss"),
    [
        (tunnelled(), RS, 20, 1440),
        (tunnelled(RS, type="gre"), RS, 24, 1436),
        (tunnelled(RS, type="gre", checksum="full"), RS, 28, 1432),
        (tunnelled(RS, type="gue", port=6080), RS, 32, 1428),
        (tunnelled(RS, type="gue", port=6080, checksum="remote"), RS, 40, 1420),
        (tunnelled(RS6, "2001:db8::10"), RS6, 40, 1400),
        (tunnelled(RS, "203.0.113.10", "2001:db8::10"), RS, 20, 1420),
    ],
)
def test_a_tunnel_says_what_it_adds_and_which_mss_fits(
    document: Doc, address: str, extra: int, mss: int
) -> None:
    said = lines(director(), document, address=address)
    assert any(f"a packet is {extra} bytes longer" in x for x in said)
    assert any(f"carries {1500 + extra} bytes (MTU)" in x for x in said)
    assert f"#   ip route change default via GATEWAY advmss {mss}" in said


def test_only_a_tunnel_speaks_of_an_mss() -> None:
    web = service(ports=HTTP, forwarding="dr", realServers=[server(RS)])
    assert not any("MTU" in x or "advmss" in x for x in lines(director(), web))


def test_services_share_a_device() -> None:
    other = tunnelled(RS, "203.0.113.11", type="gue", port=6080)
    other["metadata"]["name"] = "other"
    found = commands(director(), tunnelled(), other)
    assert len([x for x in found if " link add " in x]) == 1


def test_gue_has_a_port_of_its_family() -> None:
    found = commands(director(), tunnelled(RS, type="gue", port=6080))
    assert "ip fou show | grep -qx 'port 6080 gue *' || ip fou add port 6080 gue" in found
    found = commands(director(), tunnelled(RS6, "2001:db8::10", type="gue", port=7), address=RS6)
    assert "ip fou show | grep -qx 'port 7 gue -6 *' || ip -6 fou add port 7 gue" in found


def test_ipv6_within_ipv4_comes_out_of_another_device() -> None:
    vips = ["203.0.113.10", "2001:db8::10"]
    found = commands(director(), tunnelled(RS, *vips))
    assert [x.split("type ")[1] for x in found if " link add " in x] == [
        f"ipip local {RS}",
        f"sit local {RS}",
    ]


def test_the_vips_of_a_mark_are_those_of_its_service() -> None:
    marked = service(
        "marked", firewallMark=77, vips=["203.0.113.77"], forwarding="dr", realServers=[server(RS)]
    )
    other = service("other", vips=["203.0.113.78"], ports=HTTP, realServers=[server(RS)])
    marked["spec"]["vips"].append("2001:db8::77")
    marked["spec"]["realServers"].append(server(RS6))
    said = lines(director(), marked, other)
    assert [x for x in said if " dev lo" in x] == ["ip address replace 203.0.113.77/32 dev lo"]
    assert "# Do the same for every other address that gets the mark of fwmark 77 ipv4." in said
    assert any(x.startswith("#   the ports asked for of the VIPs") for x in said)
    assert (
        commands(director(), service(firewallMark=1, vips=LEFT_OUT, realServers=[server(RS)])) == []
    )


def test_the_director_itself_needs_nothing() -> None:
    web = service(ports=HTTP, realServers=[server("127.0.0.1")])
    said = lines(director(), web, address="127.0.0.1")
    assert "# It is the director itself: there is nothing to set up." in said
    assert commands(director(), web, address="127.0.0.1") == []


def test_an_address_that_no_service_has_is_refused_with_what_was_meant() -> None:
    with pytest.raises(
        UsageError, match=r"no virtual service has a real server 10.0.3.50; did you"
    ):
        lines(director(), service(realServers=[server(RS)]), address="10.0.3.50")


def test_what_is_no_real_server_or_no_script_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    gitvs = in_process(capsys)
    folder = EXAMPLES / "quickstart"
    for wrong in (["192.0.2.1"], ["10.0.3"], [RS, "--format", "json"]):
        ran = gitvs("render", folder, "--real-server", *wrong)
        assert (ran.code, ran.out) == (ExitCode.USAGE, "")


def test_a_named_director_narrows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    documents = [director("lb1"), director("lb2"), service(realServers=[server(RS)])]
    for number, document in enumerate(documents):
        (tmp_path / f"{number}.json").write_text(str(document).replace("'", '"'))
    gitvs = in_process(capsys)
    assert " of lb1, lb2." in gitvs("render", tmp_path, "--real-server", RS).out
    ran = gitvs("render", tmp_path, "--real-server", RS, "--director", "lb2")
    assert (ran.code, ran.out.splitlines()[0]) == (ExitCode.DONE, f"# Real server {RS} of lb2.")

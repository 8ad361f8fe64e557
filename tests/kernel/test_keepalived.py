"""keepalived, the real one: gitvs takes over from it under traffic, and works beside its VRRP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gitvs.core.model.history import Outcome
from gitvs.core.planning.plan import Action
from gitvs.reconcile.one_pass import PassOptions, PassResult
from tests.harness.keepalived import Keepalived, wait_until
from tests.harness.lab import DIRECTOR, Lab, run, run_batch
from tests.kernel.live import VIP, VIP6, Director, nobody_complains, real_servers
from tests.support.manifests.writing import Doc, director, service

pytestmark = pytest.mark.kernel

WEB = [{"port": 80}]
ADOPT = PassOptions(adopt=True)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        lab.serve(80)
        yield lab


def vrrp(priority: int, addresses: str, excluded: str = "") -> str:
    """A VRRP instance that fails over within a second or so."""
    return f"""
        vrrp_instance edge {{
            state BACKUP
            interface front
            virtual_router_id 51
            version 3
            priority {priority}
            advert_int 0.3
            virtual_ipaddress {{
                {addresses}
            }}
            virtual_ipaddress_excluded {{
                {excluded}
            }}
        }}
        """


HELD = vrrp(150, f"{VIP}/32 dev front", f"{VIP6}/128 dev front")


def virtual_server(lab: Lab, vip: str, version: int) -> str:
    checked = "".join(
        f"""
            real_server {lab.address(name, version)} 80 {{
                weight 3
                TCP_CHECK {{
                    connect_timeout 3
                }}
            }}"""
        for name in lab.real_servers
    )
    return f"""
        virtual_server {vip} 80 {{
            delay_loop 2
            lvs_sched rr
            lvs_method NAT
            protocol TCP
            {checked}
        }}
        """


def everything(lab: Lab) -> str:
    """A configuration that holds two VIPs and serves both."""
    return HELD + virtual_server(lab, VIP, 4) + virtual_server(lab, VIP6, 6)


def addresses(interface: str) -> str:
    return run("ip", "address", "show", "dev", interface)


def holds(interface: str, *vips: str) -> Callable[[], bool]:
    return lambda: all(f"{vip}/" in addresses(interface) for vip in vips)


def lets_go_of(interface: str, *vips: str) -> Callable[[], bool]:
    return lambda: not any(f"{vip}/" in addresses(interface) for vip in vips)


def rules() -> list[str]:
    return run("ipvsadm", "-Sn").splitlines()


def started(lab: Lab, folder: Path, *options: str) -> Keepalived:
    """Start keepalived and return it when it serves both VIPs."""
    keepalived = Keepalived(folder, everything(lab), *options)
    wait_until(holds("front", VIP, VIP6), "keepalived binds its VIPs")
    wait_until(lambda: len(rules()) == 6, "keepalived makes its rules")
    return keepalived


def web(lab: Lab, *names: str, **fields: object) -> Doc:
    """The Service that keepalived's configuration becomes, but for its scheduler and weights."""
    servers = real_servers(lab, *names, versions=(4, 6))
    spec: Doc = {"vips": [VIP, VIP6], "ports": WEB, "scheduler": "wlc", "realServers": servers}
    return service(**{**spec, **fields})


def actions(done: PassResult) -> list[tuple[Action, str]]:
    assert done.planned is not None
    return [(c.action, c.kind) for c in done.planned.proposal.plan.changes]


def kill_and_unbind(keepalived: Keepalived) -> None:
    keepalived.kill()
    assert holds("front", VIP, VIP6)()
    run_batch([f"address del {vip} dev front" for vip in (f"{VIP}/32", f"{VIP6}/128")])


@pytest.mark.parametrize(
    ("end", "options"),
    [
        (kill_and_unbind, ()),
        (Keepalived.kill_the_checker_first, ()),
        (Keepalived.stop, ("--dont-release-ipvs",)),
    ],
    ids=["killed", "checker-killed-first", "started-with-I"],
)
def test_a_move_from_keepalived_costs_no_connection(
    lab: Lab, tmp_path: Path, end: Callable[[Keepalived], None], options: tuple[str, ...]
) -> None:
    here = Director(tmp_path / "state", pause_seconds=0.02)
    with (
        started(lab, tmp_path / "keepalived", *options) as keepalived,
        nobody_complains(lab, VIP, VIP6) as clients,
    ):
        assert here.bring(web(lab)).outcome is Outcome.BLOCKED
        adopted = here.bring(web(lab), options=ADOPT)
        assert adopted.outcome is Outcome.APPLIED
        assert actions(adopted).count((Action.UPDATE, "virtual-service")) == 2
        assert actions(adopted).count((Action.UPDATE, "real-server")) == 4
        assert actions(adopted).count((Action.CREATE, "vip")) == 2
        clients.go_on()
        before = rules()
        end(keepalived)
        wait_until(lets_go_of("front", VIP, VIP6), "keepalived gives up its VIPs")
        assert rules() == before
        clients.go_on()
        assert here.bring(web(lab)).outcome is Outcome.CONVERGED
        here.apply(web(lab, "rs1"))
        assert len(here.draining()) == 2
        clients.go_on()
        here.apply(web(lab))


def test_a_plain_stop_takes_the_rules_along_and_the_next_pass_makes_them_anew(
    lab: Lab, tmp_path: Path
) -> None:
    here = Director(tmp_path / "state")
    with started(lab, tmp_path / "keepalived") as keepalived:
        assert here.bring(web(lab), options=ADOPT).outcome is Outcome.APPLIED
        wanted = here.observe(web(lab)).state
        flood = lab.flood(VIP, 80)
        flood.run(3)
        keepalived.stop()
        assert rules() == []
        flood.run(3)
        repaired = here.apply(web(lab))
        assert actions(repaired).count((Action.CREATE, "real-server")) == 4
        assert here.observe(web(lab)).state == wanted
        flood.run(5)
    report = flood.stop()
    assert report.failures["refused"] >= 3
    assert report.broken == {"reset": report.long_lived}
    assert set(lab.requests(VIP, 80, 4)) == {"rs1", "rs2"}
    assert here.bring(web(lab)).outcome is Outcome.CONVERGED


def test_its_vrrp_gets_the_vips_back_from_gitvs_under_the_clients(lab: Lab, tmp_path: Path) -> None:
    """A pair that keeps VRRP: gitvs holds the VIPs while keepalived starts anew, without IPVS."""
    here = Director(tmp_path / "state", pause_seconds=0.02)
    folder = tmp_path / "keepalived"
    beside = web(lab, vips=[{"address": vip, "bind": False} for vip in (VIP, VIP6)])
    with (
        started(lab, folder) as keepalived,
        ExitStack() as later,
        nobody_complains(lab, VIP, VIP6) as clients,
    ):
        assert here.bring(web(lab), options=ADOPT).outcome is Outcome.APPLIED
        keepalived.kill()
        before = rules()
        anew = later.enter_context(Keepalived(folder, everything(lab), "--vrrp"))
        wait_until(anew.is_master, "keepalived starts anew")
        wait_until(holds("front", VIP, VIP6), "keepalived binds its VIPs")
        assert rules() == before
        clients.go_on()
        here.apply(beside)
        assert lets_go_of("gitvs0", VIP, VIP6)()
        clients.go_on()
        assert here.bring(beside).outcome is Outcome.CONVERGED


SHARED_VIP = "10.0.1.10"
GATEWAY = "10.0.2.10"
OTHER = "lb2"
SHARED = f"{SHARED_VIP}/32 dev front\n{GATEWAY}/32 dev back"


@pytest.fixture
def pair() -> Iterator[Lab]:
    """Two directors on both segments; real servers answer through whoever has the gateway."""
    with Lab() as lab:
        lab.serve(80)
        lab.add_host(OTHER, {"front": 253, "back": 253})
        for name in lab.real_servers:
            with lab.at(name):
                run_batch([f"route replace default via {GATEWAY}"])
        yield lab


def shared(lab: Lab, *names: str) -> tuple[Doc, ...]:
    """Manifests for both directors: a VIP that VRRP holds, and connections kept in sync."""
    daemons = [{"role": role, "interface": "back", "id": 1} for role in ("primary", "backup")]
    sysctls = {"net.ipv4.ip_forward": 1}
    return (
        *(director(name, sysctls=sysctls, syncDaemons=daemons) for name in ("lb1", OTHER)),
        service(
            vips=[{"address": SHARED_VIP, "bind": False}],
            ports=WEB,
            scheduler="rr",
            realServers=real_servers(lab, *names),
        ),
    )


class Pair:
    """gitvs on both directors, each with a state folder of its own."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab = lab
        self._directors = {
            DIRECTOR: ("lb1", Director(folder / "lb1")),
            OTHER: (OTHER, Director(folder / OTHER)),
        }

    def bring(self, *documents: Doc) -> list[Outcome]:
        """One pass on each, which must leave what VRRP holds alone, and bind nothing."""
        results = []
        for host, (name, here) in self._directors.items():
            with self._lab.at(host):
                before = addresses("front") + addresses("back")
                results.append(here.bring(*documents, name=name).outcome)
                assert addresses("front") + addresses("back") == before
                assert SHARED_VIP not in addresses("gitvs0")
        return results

    def wait_for_master(self, host: str) -> None:
        wait_until(lambda: self._masters() == {host}, f"{host} becomes the master")

    def wait_for_sync(self, host: str) -> None:
        wait_until(lambda: "ESTABLISHED" in self._ipvsadm(host, "-c"), f"{host} hears of it")

    def wait_for_served(self, host: str, count: int) -> None:
        """Return when a director's IPVS has scheduled so many connections: it counts late."""
        what = f"{host} has served {count}"
        wait_until(lambda: f"{SHARED_VIP}:80 {count} " in self._ipvsadm(host, "--stats"), what)

    def _ipvsadm(self, host: str, option: str) -> str:
        with self._lab.at(host):
            return " ".join(run("ipvsadm", "-Ln", option).split())

    def _masters(self) -> set[str]:
        masters = set()
        for host in self._directors:
            with self._lab.at(host):
                if holds("front", SHARED_VIP)() and holds("back", GATEWAY)():
                    masters.add(host)
        return masters


def test_a_vip_that_vrrp_holds_is_served_wherever_it_is_and_never_bound(
    pair: Lab, tmp_path: Path
) -> None:
    """A connection that the other director has heard of lives on there."""
    gitvs = Pair(pair, tmp_path)
    assert gitvs.bring(*shared(pair)) == [Outcome.APPLIED] * 2
    with pair.at(OTHER):
        spare = Keepalived(tmp_path / "spare", vrrp(100, SHARED))
    with spare, Keepalived(tmp_path / "main", vrrp(200, SHARED)) as main:
        gitvs.wait_for_master(DIRECTOR)
        long_lived = pair.connect(SHARED_VIP, 80)
        (name,) = {long_lived.ask() for _ in range(5)}
        assert pair.requests(SHARED_VIP, 80, 4) == {"rs1": 2, "rs2": 2}
        gitvs.wait_for_served(DIRECTOR, 5)
        gitvs.wait_for_sync(OTHER)
        main.stop()
        gitvs.wait_for_master(OTHER)
        assert pair.requests(SHARED_VIP, 80, 4) == {"rs1": 2, "rs2": 2}
        gitvs.wait_for_served(OTHER, 4)
        assert long_lived.ask() == name
        assert gitvs.bring(*shared(pair)) == [Outcome.CONVERGED] * 2
        assert gitvs.bring(*shared(pair, "rs1")) == [Outcome.APPLIED] * 2
        assert pair.requests(SHARED_VIP, 80, 4) == {"rs1": 4}

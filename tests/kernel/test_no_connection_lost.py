"""Clients notice nothing: every change that can keep connections keeps them.

Clients open new connections at a steady rate and hold long-lived ones open; none may fail and
none may break while gitvs works, whatever becomes of its pass. The last tests show that these
clients would have noticed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from gitvs.core.model.history import Outcome
from gitvs.core.model.resources import Key, Kind, RealServer, Vip, VirtualService
from gitvs.core.planning.plan import Action, Change, Phase, Plan
from tests.harness.lab import Lab, run
from tests.harness.traffic import Connection
from tests.kernel.live import VIP, VIP6, Director, nobody_complains, real_servers
from tests.support.faults import Crashed, FaultyKernel, How
from tests.support.manifests.writing import Doc, director, pool, server, service

pytestmark = pytest.mark.kernel

WEB = [{"port": 80}]
REFUSED, CRASH = How.REFUSED, How.CRASH_AFTER


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(real_servers=3) as lab:
        lab.serve(80)
        yield lab


@pytest.fixture
def here(tmp_path: Path) -> Director:
    return Director(tmp_path, pause_seconds=0.03)


def web(lab: Lab, *names: str, **fields: object) -> Doc:
    """A service on port 80 of the VIP, with the first two real servers unless they are named."""
    spec: Doc = {"vips": [VIP], "ports": WEB, "scheduler": "rr"}
    return service(**{**spec, "realServers": real_servers(lab, *names or ("rs1", "rs2")), **fields})


def connection_to(lab: Lab, name: str, vip: str = VIP, port: int = 80) -> Connection:
    """Open a connection that lands on a real server."""
    for _ in range(20):
        connection = lab.connect(vip, port)
        if connection.ask() == name:
            return connection
        connection.close()
    raise AssertionError(f"{name} gets no connections")


def server_key(lab: Lab, name: str, vip: str = VIP, port: int = 80) -> Key:
    return Key(f"tcp {vip}:{port} -> {lab.address(name)}:80")


def test_a_real_server_comes_drains_is_wanted_again_drains_and_goes(
    lab: Lab, here: Director
) -> None:
    two, three = web(lab), web(lab, "rs1", "rs2", "rs3")
    new = server_key(lab, "rs3")
    here.apply(two)
    with nobody_complains(lab, VIP) as clients:
        here.apply(three)
        long_lived = connection_to(lab, "rs3")
        here.apply(two)
        assert here.draining() == {new}
        clients.go_on()
        assert set(lab.requests(VIP, 80, 6)) == {"rs1", "rs2"}
        assert here.bring(two).outcome is Outcome.CONVERGED, "the drain goes on"
        here.apply(three)
        assert here.draining() == set()
        assert "rs3" in lab.requests(VIP, 80, 6)
        here.pass_time(3600)
        assert here.bring(three).outcome is Outcome.CONVERGED
        assert long_lived.ask() == "rs3"
        here.apply(two)
        assert long_lived.ask() == "rs3"
        long_lived.close()
        here.pass_time(60)
        here.apply(two)
        assert here.draining() == set()
        assert new not in here.observe().state


def test_a_drain_ends_with_the_last_connection(lab: Lab, here: Director) -> None:
    quick = director(timeouts={"udp": "1s"})
    ports = [{"port": 80, "protocol": "udp"}]
    here.apply(quick, web(lab, ports=ports))
    assert lab.requests(VIP, 80, 2, "udp") == {"rs1": 1, "rs2": 1}
    here.apply(quick, web(lab, "rs1", ports=ports))
    assert len(here.draining()) == 1
    started_at = here.clock.boottime()
    while here.bring(quick, web(lab, "rs1", ports=ports)).outcome is Outcome.CONVERGED:
        here.clock.sleep(0.1)
    assert here.draining() == set()
    assert [str(s.address) for s in here.observe().state.of_type(RealServer)] == [
        lab.address("rs1")
    ]
    assert here.clock.boottime() < started_at + 60, "long before its deadline"


def test_whatever_changes_in_place_changes_under_the_clients(lab: Lab, here: Director) -> None:
    steps: list[list[Doc]] = [
        [web(lab, scheduler="wlc", realServers=real_servers(lab, "rs1", "rs2", weight=7))],
        [web(lab, scheduler="sh", schedulerFlags=["sh-port"])],
        [web(lab, scheduler="mh", schedulerFlags=["mh-port"])],
        [web(lab, persistence={"timeout": "5m", "ipv4Prefix": 24})],
        [web(lab, persistence={"timeout": "10m"})],
        [web(lab)],
        [web(lab, realServers=real_servers(lab, "rs1", "rs2", upperThreshold=900))],
        [
            web(
                lab,
                realServers=real_servers(lab, "rs1", "rs2", upperThreshold=950, lowerThreshold=800),
            )
        ],
        [web(lab)],
        [director(timeouts={"tcp": "20m"}, sysctls={"net.ipv4.vs.conn_reuse_mode": 0}), web(lab)],
        [web(lab)],
    ]
    here.apply(web(lab))
    with nobody_complains(lab, VIP) as clients:
        for step in steps:
            done = here.apply(*step)
            assert done.planned is not None
            actions = {c.action for c in done.planned.proposal.plan.changes}
            assert actions == {Action.UPDATE}
            clients.go_on(3)
            assert lab.requests(VIP, 80, 2).total() == 2
            assert here.bring(*step).outcome is Outcome.CONVERGED


def test_a_client_that_is_held_by_persistence_moves_when_its_real_server_drains(
    lab: Lab, here: Director
) -> None:
    held: Doc = {"persistence": {"timeout": "5m"}}
    here.apply(web(lab, **held))
    ((mine, _),) = lab.requests(VIP, 80, 3).items()
    (other,) = {"rs1", "rs2"} - {mine}
    with nobody_complains(lab, VIP) as clients:
        assert here.bring(web(lab, other, **held)).outcome is Outcome.APPLIED
        clients.go_on()
        assert lab.requests(VIP, 80, 3) == {other: 3}


@pytest.mark.parametrize("scheduler", ["sh", "mh"])
def test_nobody_is_refused_while_a_real_server_of_a_hashing_service_drains(
    lab: Lab, here: Director, scheduler: str
) -> None:
    hashing: Doc = {"scheduler": scheduler, "schedulerFlags": [f"{scheduler}-port"]}
    two, one = web(lab, **hashing), web(lab, "rs1", **hashing)
    here.apply(two)
    with nobody_complains(lab, VIP) as clients:
        long_lived = connection_to(lab, "rs2")
        here.apply(one)
        clients.go_on(15)
        assert lab.requests(VIP, 80, 10) == {"rs1": 10}
        here.apply(two)
        clients.go_on()
        assert long_lived.ask() == "rs2"
    here.apply(one)
    run("ipvsadm", "-E", "-t", f"{VIP}:80", "-s", scheduler, "-b", f"{scheduler}-port")
    answers = (lab.requests(VIP, 80) for _ in range(60))
    assert any("refused" in answer for answer in answers), "without the drain's fallback flag"


def test_a_service_moves_to_another_port_of_its_vip(lab: Lab, here: Director) -> None:
    """The VIP's other service is untouched; who is connected to the old port stays so."""
    other = service("other", vips=[VIP], ports=WEB, realServers=real_servers(lab, "rs3"))
    old = web(lab, ports=[{"port": 8080, "targetPort": 80}])
    new = web(lab, ports=[{"port": 8081, "targetPort": 80}])
    here.apply(other, old)
    with nobody_complains(lab, VIP) as clients:
        long_lived = [lab.connect(VIP, 8080) for _ in range(4)]
        names = [c.ask() for c in long_lived]
        here.apply(other, new)
        assert lab.requests(VIP, 8081, 4) == {"rs1": 2, "rs2": 2}
        assert lab.requests(VIP, 8080, 1) == {"refused": 1}
        assert [c.ask() for c in long_lived] == names
        here.pass_time(30)
        assert here.bring(other, new).outcome is Outcome.CONVERGED
        assert [c.ask() for c in long_lived] == names
        here.pass_time(30)
        here.apply(other, new)
        clients.go_on()
        assert f"tcp {VIP}:8080" not in here.observe().state


def test_a_vip_stays_while_any_service_has_connections_on_it(lab: Lab, here: Director) -> None:
    stays = service("other", vips=[VIP6], ports=WEB, realServers=real_servers(lab, versions=(6,)))
    leaves = service("leaves", vips=[VIP], ports=[{"port": 81}], realServers=real_servers(lab))
    here.apply(web(lab), leaves, stays)
    with nobody_complains(lab, VIP, VIP6) as clients:
        here.apply(web(lab), stays)
        here.pass_time(60)
        here.bring(web(lab), stays)
        assert f"tcp {VIP}:81" not in here.observe().state
        clients.go_on()
    with nobody_complains(lab, VIP6) as clients:
        long_lived = lab.connect(VIP, 80)
        name = long_lived.ask()
        here.apply(stays)
        clients.go_on()
        assert long_lived.ask() == name
        here.pass_time(60)
        here.apply(stays)
        assert [str(v.address) for v in here.observe(stays).state.of_type(Vip)] == [VIP6]


def test_names_are_no_identity(here: Director) -> None:
    def named(suffix: str) -> tuple[Doc, ...]:
        return (
            director(f"lb{suffix}"),
            service(f"web{suffix}", vips=[VIP], ports=WEB, pools=[f"pool{suffix}"]),
            pool(f"pool{suffix}", server(name=f"rs{suffix}"), server("10.0.3.6")),
        )

    assert here.bring(*named("1"), name="lb1").outcome is Outcome.APPLIED
    done = here.bring(*named("2"), name="lb2")
    assert done.outcome is Outcome.CONVERGED
    assert done.planned is not None
    assert not done.planned.proposal.plan


def test_vips_move_to_another_interface_to_a_local_route_and_back(lab: Lab, here: Director) -> None:
    servers = real_servers(lab, versions=(4, 6))
    bound = web(lab, vips=[VIP, VIP6], realServers=servers)
    elsewhere = [{"address": vip, "bind": False} for vip in (VIP, VIP6)]
    prefixes = ["192.0.2.0/28", "2001:db8::/64"]
    here.apply(bound)
    with nobody_complains(lab, VIP, VIP6) as clients:
        here.apply(director(interface="edge0"), bound)
        clients.go_on()
        assert "gitvs0" not in run("ip", "link")
        assert f"{VIP}/32" in run("ip", "address", "show", "dev", "edge0")
        here.apply(
            director(interface="edge0", localRoutes=prefixes),
            web(lab, vips=elsewhere, realServers=servers),
        )
        clients.go_on()
        assert run("ip", "address", "show", "dev", "edge0").count("inet") == 0
        here.apply(bound)
        clients.go_on()
        assert "192.0.2.0/28" not in run("ip", "route", "show", "table", "local")
        assert f"{VIP6}/128" in run("ip", "address", "show", "dev", "gitvs0")


def test_a_service_on_one_port_takes_over_from_one_on_all_ports(lab: Lab, here: Director) -> None:
    """It is made with its real servers in one go: for want of them it would refuse clients."""
    here.pause_seconds = 0
    every = web(lab, ports=[{"port": 0}], persistence={"timeout": "1m"})
    here.apply(every)
    with nobody_complains(lab, VIP) as clients:
        here.apply(every, web(lab, "rs3", "rs1") | {"metadata": {"name": "one"}})
        clients.go_on()
        assert "rs3" in lab.requests(VIP, 80, 4)


def test_drift_is_repaired(lab: Lab, here: Director) -> None:
    """The clients in action have another VIP: those of this one see the drift itself."""
    both = web(lab, vips=[VIP, VIP6], realServers=real_servers(lab, "rs1", "rs2", versions=(4, 6)))
    busy = service("busy", vips=["192.0.2.11"], ports=WEB, realServers=real_servers(lab, "rs3"))
    here.apply(both, busy)
    wanted = here.observe(both, busy).state
    long_lived = [connection_to(lab, "rs2", vip) for vip in (VIP, VIP6)]
    with nobody_complains(lab, "192.0.2.11"):
        run("ipvsadm", "-e", "-t", f"{VIP}:80", "-r", f"{lab.address('rs2')}:80", "-m", "-w", "0")
        run("ip", "route", "del", "table", "local", "local", VIP, "dev", "gitvs0")
        run("ip", "route", "del", "table", "local", "local", VIP6, "dev", "gitvs0")
        assert set(lab.requests(VIP, 80)) == set(lab.requests(VIP6, 80)) == {"ENETUNREACH"}
        here.apply(both, busy)
        assert here.observe(both, busy).state == wanted
        assert [c.ask() for c in long_lived] == ["rs2", "rs2"]
        assert {*lab.requests(VIP, 80, 2), *lab.requests(VIP6, 80, 2)} == {"rs1", "rs2"}
    run("ip", "link", "delete", "gitvs0")
    here.apply(both, busy)
    assert here.observe(both, busy).state == wanted
    assert [c.ask() for c in long_lived] == ["rs2", "rs2"]


def everything(lab: Lab) -> tuple[Doc, ...]:
    """What a commit makes of `web(lab)`: something of every kind comes, changes or goes."""
    both_families = real_servers(lab, versions=(4, 6))
    servers = real_servers(lab, "rs1", weight=5) + real_servers(lab, "rs2", "rs3")
    return (
        director(timeouts={"tcp": "20m"}, localRoutes=["198.51.100.0/24"], interface="edge0"),
        web(lab, scheduler="wrr", realServers=servers),
        service("more", vips=["192.0.2.11", VIP6], ports=WEB, realServers=both_families),
    )


def last_bind(plan: Plan) -> int:
    """Return the place of the last VIP to be bound, the last change that can be undone."""
    (*_, last) = (n for n, c in enumerate(plan.changes) if c.phase is Phase.BIND)
    assert plan.changes[last].kind is Kind.VIP
    return last


def test_an_apply_that_fails_halfway_leaves_everything_as_it_was(lab: Lab, here: Director) -> None:
    wanted, new = everything(lab), server_key(lab, "rs3")
    here.apply(web(lab))
    snapshot = dict(here.observe(*wanted).state)
    last = last_bind(here.plan(*wanted))
    with nobody_complains(lab, VIP) as clients:
        for at in [*range(0, last, 4), last]:
            done = here.bring(*wanted, on=partial(FaultyKernel, at=at, how=REFUSED))
            assert done.outcome is Outcome.ROLLED_BACK
            now = dict(here.observe(*wanted).state)
            if new in here.draining():  # it had connections by then
                assert isinstance(drained := now.pop(new), RealServer)
                assert drained.weight == 0
            assert now == snapshot
            clients.go_on(2)
        here.apply(*wanted)
        clients.go_on()


def test_a_crash_anywhere_and_recovery_cost_no_connection(lab: Lab, here: Director) -> None:
    wanted, new = everything(lab), server_key(lab, "rs3")
    here.apply(web(lab))
    size = len(here.plan(*wanted).changes)
    ends, kept = set(), []
    with nobody_complains(lab, VIP) as clients:
        for at in [*range(0, size - 1, 4), size - 1]:
            with pytest.raises(Crashed):
                here.bring(*wanted, on=partial(FaultyKernel, at=at, how=CRASH))
            if getattr(here.observe().state.get(new), "weight", 0) > 0:
                kept.append(connection_to(lab, "rs3"))
            done = here.bring(web(lab))
            assert done.recovered is not None
            ends.add(done.recovered.outcome)
            clients.go_on(2)
            here.bring(web(lab))
    assert {c.ask() for c in kept} == {"rs3"}, "new meanwhile, and drained since"
    assert ends == {Outcome.ROLLED_BACK, Outcome.APPLIED}


def test_these_clients_would_notice_a_break_without_a_drain_and_before_the_make(
    lab: Lab, here: Director
) -> None:
    at_once = {"timeout": "0s"}
    here.apply(web(lab, drain=at_once))
    flood = lab.flood(VIP, 80)
    here.apply(web(lab, "rs1", drain=at_once))
    flood.run(5)
    report = flood.stop()
    assert report.failures == {}
    assert 0 < report.broken["reset"] < report.long_lived

    flood = lab.flood(VIP, 80)
    (rule,) = here.observe().state.of_type(VirtualService)
    with here.ports() as ports:
        ports.kernel.execute([Change(rule, None, Phase.BREAK)])
    flood.run(3)
    here.apply(web(lab))
    flood.run(3)
    report = flood.stop()
    assert report.failures["refused"] >= 3
    assert report.broken == {"reset": report.long_lived}

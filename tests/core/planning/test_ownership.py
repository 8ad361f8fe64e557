"""Owned is what the ledger records; everything else is foreign, or in the way."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network

import pytest

from gitvs.core.model.desired import Desired
from gitvs.core.model.ledger import Drain, Ledger
from gitvs.core.model.observation import ConnectionCounts, Link, Observation
from gitvs.core.model.resources import (
    AddressFamily,
    DummyInterface,
    Endpoint,
    FirewallMark,
    Forwarding,
    Key,
    LocalRoute,
    Protocol,
    RealServer,
    Resource,
    Scheduler,
    SyncDaemon,
    SyncRole,
    Sysctl,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.core.planning.ownership import scope_of
from gitvs.core.planning.plan import Action, desired_digest
from gitvs.core.planning.proposal import Proposal, ledger_after_break, propose
from tests.support.work import work_of

MARK = "gitvs:ours"
VIP = IPv4Address("203.0.113.10")
WEB = VirtualService(Endpoint(Protocol.TCP, VIP, 80))
SERVER = RealServer(WEB.listener, ip_address("10.0.0.1"), 80)
BOUND = Vip(VIP, "gitvs0", 32)
DUMMY = DummyInterface("gitvs0")


def desired(*resources: Resource) -> Desired:
    """What the manifests say."""
    return Desired("lb1", "gitvs0", State([DUMMY, *resources]))


def observation(*resources: Resource, links: tuple[Link, ...] = ()) -> Observation:
    """What the kernel has."""
    return Observation(State(resources), links={x.name: x for x in links})


def plan(
    wanted: Desired,
    seen: Observation,
    ledger: Ledger = Ledger(),
    applied: Desired | None = None,
    adopt: bool = False,
) -> Proposal:
    """Propose at boot time 0."""
    return propose(wanted, applied, seen, ledger, 0.0, MARK, adopt=adopt)


def conflicts(proposal: Proposal) -> list[str]:
    """The messages of the conflicts."""
    return [g.message for g in proposal.gates if g.name == "conflict"]


def test_a_foreign_service_is_never_touched() -> None:
    proposal = plan(desired(), observation(DUMMY, WEB, SERVER))
    assert not proposal.plan
    assert set(proposal.foreign) == {WEB.key, SERVER.key}


def test_a_foreign_object_on_a_wanted_key_blocks_and_names_the_way_out() -> None:
    proposal = plan(desired(WEB), observation(DUMMY, WEB))
    assert proposal.is_blocked
    assert "--adopt" in conflicts(proposal)[0]


def test_adopting_changes_in_place() -> None:
    theirs = replace(WEB, scheduler=Scheduler.RR)
    proposal = plan(desired(WEB, SERVER), observation(DUMMY, theirs, SERVER), adopt=True)
    assert [(c.action, c.before) for c in proposal.plan.changes] == [(Action.UPDATE, theirs)]
    assert WEB.key in proposal.ledger.owned
    assert not proposal.is_blocked


def test_adopting_leaves_what_is_not_wanted() -> None:
    other = VirtualService(Endpoint(Protocol.TCP, VIP, 81))
    proposal = plan(desired(WEB), observation(DUMMY, WEB, other), adopt=True)
    assert not proposal.plan
    assert set(proposal.foreign) == {other.key}


def test_a_stranger_inside_an_owned_service_drains() -> None:
    ledger = Ledger(frozenset({WEB.key}))
    proposal = plan(desired(WEB), observation(DUMMY, WEB, SERVER), ledger)
    assert [c.action for c in proposal.plan.changes] == [Action.DRAIN]


def test_an_interface_of_another_kind_blocks_even_an_adoption() -> None:
    seen = observation(links=(Link("gitvs0", "bridge", "", True),))
    assert "bridge" in conflicts(plan(desired(), seen, adopt=True))[0]


def test_the_mark_of_another_store_blocks_until_adopted() -> None:
    seen = observation(DUMMY, links=(Link("gitvs0", "dummy", "gitvs:lost", False),))
    assert "gitvs:lost" in conflicts(plan(desired(), seen))[0]
    adopted = plan(desired(), seen, adopt=True)
    assert not adopted.is_blocked
    assert DUMMY.key in adopted.ledger.owned


def test_the_routes_of_another_store_stay_until_they_are_taken_over() -> None:
    """A wrong --state-dir must not take away what another store made."""
    route = LocalRoute(ip_network("198.51.100.0/24"))
    seen = observation(route, links=(Link("gitvs1", "dummy", "gitvs:lost", False),))
    stranger = plan(replace(desired(), interface="gitvs0"), seen)
    assert route.key in stranger.foreign
    assert [c.key for c in stranger.plan.changes] == [DUMMY.key]
    assert "--adopt" in conflicts(plan(desired(route), seen))[0]
    adopted = plan(desired(route), seen, adopt=True)
    assert not adopted.is_blocked
    assert not plan(desired(route), seen, adopted.ledger).is_blocked


def test_without_another_store_a_route_of_our_protocol_is_ours() -> None:
    route = LocalRoute(ip_network("198.51.100.0/24"))
    ours = observation(DUMMY, route, links=(Link("gitvs0", "dummy", MARK, False),))
    assert [c.before for c in plan(desired(), ours).plan.changes] == [route]


def test_a_dummy_that_somebody_made_is_used_and_never_owned() -> None:
    seen = observation(DUMMY, links=(Link("gitvs0", "dummy", "", False),))
    proposal = plan(desired(), seen)
    assert not proposal.is_blocked
    assert DUMMY.key not in proposal.ledger.owned


def test_a_vip_of_another_interface_is_bound_beside_it_only_when_adopted() -> None:
    seen = observation(DUMMY, links=(Link("eth0", "", "", True, (VIP,)),))
    assert "eth0" in conflicts(plan(desired(BOUND), seen))[0]
    adopted = plan(desired(BOUND), seen, adopt=True)
    assert [c.key for c in adopted.plan.changes] == [BOUND.key]
    assert not adopted.is_blocked


def test_a_vip_that_was_bound_beside_stays_without_a_word() -> None:
    seen = observation(DUMMY, BOUND, links=(Link("eth0", "", "", True, (VIP,)),))
    assert not plan(desired(BOUND), seen, Ledger(frozenset({BOUND.key}))).gates


def test_a_vip_that_was_bound_beside_comes_back_after_a_reboot() -> None:
    seen = observation(links=(Link("eth0", "", "", True, (VIP,)),))
    back = plan(desired(BOUND), seen, applied=desired(BOUND))
    assert not back.gates
    assert [c.key for c in back.plan.changes] == [DUMMY.key, BOUND.key]


def test_what_somebody_made_on_a_key_in_force_blocks_nothing_but_its_own_repair() -> None:
    proposal = plan(desired(WEB), observation(WEB), applied=desired(WEB))
    assert not proposal.is_blocked
    assert proposal.unrepairable.keys() == {WEB.key}
    assert "--adopt" in proposal.unrepairable[WEB.key]


def test_a_vip_of_ours_may_move_to_another_interface() -> None:
    old = Vip(VIP, "old0", 32)
    seen = observation(DUMMY, old, links=(Link("old0", "dummy", MARK, False, (VIP,)),))
    proposal = plan(desired(BOUND), seen, Ledger(frozenset({old.key})))
    assert not proposal.gates
    assert [c.key for c in proposal.plan.changes] == [BOUND.key, old.key]


def test_a_gateway_is_never_made_local() -> None:
    seen = replace(observation(DUMMY), gateways=frozenset({ip_address("198.51.100.1")}))
    wanted = desired(LocalRoute(ip_network("198.51.100.0/24")))
    assert "gateway" in conflicts(plan(wanted, seen, adopt=True))[0]
    assert (
        "gateway"
        in conflicts(
            plan(desired(Vip(IPv4Address("198.51.100.1"), "gitvs0", 32)), seen, adopt=True)
        )[0]
    )


def test_a_prefix_may_hold_our_own_vips_but_no_other_interfaces_address() -> None:
    route = LocalRoute(ip_network("203.0.113.0/24"))
    ours = Link("gitvs0", "dummy", MARK, False, (VIP,))
    ledger = Ledger(frozenset({BOUND.key}))
    assert not plan(desired(BOUND, route), observation(DUMMY, BOUND, links=(ours,)), ledger).gates
    theirs = Link("eth0", "", "", True, (ip_address("203.0.113.5"),))
    seen = observation(DUMMY, BOUND, links=(ours, theirs))
    assert "eth0" in conflicts(plan(desired(BOUND, route), seen, ledger))[0]


def test_a_setting_goes_back_to_what_it_was_if_it_still_has_our_value() -> None:
    ours, former = Sysctl("net.ipv4.vs.conntrack", "1"), Sysctl("net.ipv4.vs.conntrack", "0")
    ledger = Ledger(saved_settings={former.key: former})
    proposal = plan(desired(), observation(DUMMY, ours), ledger, applied=desired(ours))
    assert [(c.before, c.after) for c in proposal.plan.changes] == [(ours, former)]


def test_a_setting_that_somebody_changed_since_is_given_up() -> None:
    ours, former = Sysctl("net.ipv4.vs.conntrack", "1"), Sysctl("net.ipv4.vs.conntrack", "0")
    theirs = Sysctl("net.ipv4.vs.conntrack", "2")
    ledger = Ledger(saved_settings={former.key: former})
    proposal = plan(desired(), observation(DUMMY, theirs), ledger, applied=desired(ours))
    assert not proposal.plan
    assert not proposal.ledger.saved_settings


def test_a_forwarding_switch_is_never_turned_back() -> None:
    ours, former = Sysctl("net.ipv4.ip_forward", "1"), Sysctl("net.ipv4.ip_forward", "0")
    ledger = Ledger(saved_settings={former.key: former})
    assert not plan(desired(), observation(DUMMY, ours), ledger, applied=desired(ours)).plan


def test_settings_that_change_others_are_written_before_those() -> None:
    """A forwarding switch resets `accept_redirects`, one for all resets each interface's."""
    names = [
        "net.ipv4.ip_forward",
        "net.ipv6.conf.all.forwarding",
        "net.ipv6.conf.default.forwarding",
        "net.ipv4.conf.aaa0.forwarding",
        "net.ipv4.conf.all.accept_redirects",
        "net.ipv6.conf.all.disable_ipv6",
        "net.ipv4.conf.default.rp_filter",
        "net.ipv4.conf.aaa0.rp_filter",
        "net.ipv4.vs.conntrack",
    ]
    proposal = plan(
        desired(*(Sysctl(name, "1") for name in reversed(names))),
        observation(DUMMY, *(Sysctl(name, "0") for name in names)),
    )
    assert [c.key for c in proposal.plan.changes] == names


def test_a_setting_is_saved_as_it_was_before_the_first_change() -> None:
    first, second = Sysctl("net.ipv4.vs.conntrack", "0"), Sysctl("net.ipv4.vs.conntrack", "1")
    proposal = plan(desired(second), observation(DUMMY, first))
    assert proposal.ledger.saved_settings == {first.key: first}
    again = plan(desired(first), observation(DUMMY, second), proposal.ledger)
    assert again.ledger.saved_settings == {first.key: first}


def test_a_setting_that_this_host_lacks_is_found_before_anything_is_written() -> None:
    proposal = plan(desired(Sysctl("net.ipv4.vs.nonsense", "1")), observation(DUMMY))
    assert [g.name for g in proposal.gates] == ["unsupported"]


def test_a_setting_of_the_interface_itself_comes_with_it() -> None:
    setting = Sysctl("net.ipv4.conf.gitvs0.arp_ignore", "1")
    proposal = plan(desired(setting), observation())
    assert not proposal.gates
    assert [c.key for c in proposal.plan.changes] == [DUMMY.key, setting.key]


def test_a_setting_of_an_interface_with_a_dot_comes_with_it_too() -> None:
    setting = Sysctl("net.ipv4.conf.gitvs/0.arp_ignore", "1")
    wanted = Desired("lb1", "gitvs.0", State([DummyInterface("gitvs.0"), setting]))
    assert not plan(wanted, observation()).gates


def test_a_setting_of_an_interface_of_ours_has_no_value_from_before_us() -> None:
    ours, other = (Sysctl("net.ipv4.conf.gitvs0.arp_ignore", n) for n in ("1", "2"))
    first = plan(desired(ours), observation())
    second = plan(desired(other), observation(DUMMY, ours), first.ledger, desired(ours))
    assert second.ledger == first.ledger
    assert not plan(desired(), observation(DUMMY, other), second.ledger, desired(other)).plan


def test_a_setting_of_a_strangers_interface_goes_back() -> None:
    ours, former = (Sysctl("net.ipv4.conf.gitvs0.arp_ignore", n) for n in ("1", "0"))
    first = plan(desired(ours), observation(DUMMY, former))
    back = plan(desired(), observation(DUMMY, ours), first.ledger, desired(ours))
    assert [(c.before, c.after) for c in back.plan.changes] == [(ours, former)]


def test_a_scheduler_that_this_kernel_lacks_is_found_before_anything_is_written() -> None:
    seen = replace(observation(DUMMY), missing_schedulers=frozenset({Scheduler.TWOS}))
    wanted = desired(replace(WEB, scheduler=Scheduler.TWOS))
    assert "ip_vs_twos" in plan(wanted, seen).gates[0].message


def test_a_sync_daemon_needs_an_interface_that_is_up_and_has_an_address() -> None:
    wanted = desired(SyncDaemon(SyncRole.PRIMARY, "eth1", 1))
    up = Link("eth1", "", "", True, (ip_address("10.9.0.1"),))
    for link in (replace(up, is_up=False), replace(up, addresses=()), replace(up, name="eth2")):
        assert plan(wanted, observation(DUMMY, links=(link,))).is_blocked
    assert not plan(wanted, observation(DUMMY, links=(up,))).is_blocked
    backup = desired(SyncDaemon(SyncRole.BACKUP, "eth1", 1))
    silent = replace(up, is_up=False, addresses=())
    assert not plan(backup, observation(DUMMY, links=(silent,))).is_blocked


@pytest.mark.parametrize(
    ("group", "address"), [("224.0.0.81", "2001:db8::1"), ("ff02::81", "10.9.0.1")]
)
def test_a_primary_needs_an_address_of_the_family_of_its_group(group: str, address: str) -> None:
    primary = SyncDaemon(SyncRole.PRIMARY, "eth1", 1, ip_address(group))
    up = Link("eth1", "", "", True, (ip_address(address),))
    lacking = plan(desired(primary), observation(DUMMY, links=(up,)))
    assert [(g.name, g.key) for g in lacking.gates] == [("unsupported", primary.key)]
    assert f"address to send to {group} from" in lacking.gates[0].message
    both = replace(up, addresses=(ip_address("10.9.0.1"), ip_address("fe80::1")))
    assert not plan(desired(primary), observation(DUMMY, links=(both,))).gates
    # For IPv4 the kernel takes an address of another interface, but not of `lo`.
    loopback = Link("lo", "", "", True, (ip_address("127.0.0.1"), ip_address("::1")))
    assert plan(desired(primary), observation(DUMMY, links=(up, loopback))).is_blocked
    other = replace(both, name="eth2")
    is_blocked = plan(desired(primary), observation(DUMMY, links=(up, other))).is_blocked
    assert is_blocked is (primary.group.version == 6)


@pytest.mark.parametrize("role", list(SyncRole))
def test_a_link_that_cannot_carry_ipv6_carries_no_messages_to_an_ipv6_group(
    role: SyncRole,
) -> None:
    daemon = SyncDaemon(role, "eth1", 1, ip_address("ff02::81"))
    for mtu, is_blocked in ((1279, True), (1280, False)):
        link = Link("eth1", "", "", True, (ip_address("fe80::1"),), mtu=mtu)
        assert plan(desired(daemon), observation(DUMMY, links=(link,))).is_blocked is is_blocked


def test_a_sync_daemon_that_runs_does_not_block_when_its_interface_goes_down() -> None:
    running = SyncDaemon(SyncRole.PRIMARY, "eth1", 1)
    down = Link("eth1", "", "", False)
    ledger = Ledger(frozenset({running.key}))
    proposal = plan(desired(running, WEB), observation(DUMMY, running, links=(down,)), ledger)
    assert not proposal.gates
    assert [c.key for c in proposal.plan.changes] == [WEB.key]


def test_a_sync_daemon_and_a_server_of_another_family_are_found_before_anything_is_written() -> (
    None
):
    daemon = SyncDaemon(SyncRole.PRIMARY, "eth1", 1)
    up = Link("eth1", "", "", True, (ip_address("10.9.0.1"),))
    mixed = replace(SERVER, address=ip_address("2001:db8::1"), forwarding=Forwarding.TUN)
    ledger = Ledger(frozenset({daemon.key, WEB.key}))
    together = plan(desired(WEB, daemon, mixed), observation(DUMMY, links=(up,)))
    assert "cannot be combined" in together.gates[0].message
    instead = plan(desired(WEB, mixed), observation(DUMMY, WEB, daemon, links=(up,)), ledger)
    assert "in a commit before" in instead.gates[0].message
    assert not plan(desired(WEB, daemon, SERVER), observation(DUMMY, links=(up,))).gates
    assert not plan(desired(WEB, mixed), observation(DUMMY, links=(up,))).gates


@pytest.mark.parametrize(
    ("group", "mtu", "length"),
    [
        *[("224.0.0.81", 576, 1472), ("224.0.0.81", 1500, 1472), ("224.0.0.81", 9000, 8972)],
        *[("ff02::81", 1500, 1452), ("ff02::81", 9000, 8952), ("ff02::81", 65536, 65487)],
    ],
)
def test_a_backup_whose_length_is_not_given_gets_what_fits_its_link(
    group: str, mtu: int, length: int
) -> None:
    backup = SyncDaemon(SyncRole.BACKUP, "eth1", 1, ip_address(group))
    link = Link("eth1", "", "", True, mtu=mtu)
    proposal = plan(desired(backup), observation(DUMMY, links=(link,)))
    assert [c.after for c in proposal.plan.changes] == [replace(backup, max_length=length)]
    assert proposal.desired == desired(backup)
    assert proposal.desired_digest == desired_digest(desired(backup))


@pytest.mark.parametrize("was_in_force", [True, False])
@pytest.mark.parametrize("mtu", [1500, 9000])
@pytest.mark.parametrize(
    ("role", "length", "is_accepted"),
    [
        *[(SyncRole.BACKUP, n, True) for n in (1472, 8972, 65507)],
        *[(SyncRole.BACKUP, 1471, False), (SyncRole.PRIMARY, 1472, True)],
        *[(SyncRole.PRIMARY, n, False) for n in (1471, 1473, 8972)],
    ],
)
def test_a_length_that_is_not_given_may_be_any_that_the_kernel_can_have_chosen(
    role: SyncRole, length: int, is_accepted: bool, mtu: int, was_in_force: bool
) -> None:
    """The MTU of the link may have changed since."""
    wanted = SyncDaemon(role, "eth1", 1)
    running = replace(wanted, max_length=length)
    link = Link("eth1", "", "", True, (ip_address("10.9.0.1"),), mtu=mtu)
    applied = desired(wanted) if was_in_force else None
    proposal = plan(
        desired(wanted),
        observation(DUMMY, running, links=(link,)),
        Ledger(frozenset({running.key})),
        applied,
    )
    assert not proposal.gates
    assert bool(proposal.plan) is not is_accepted


def test_a_given_length_is_the_only_one_that_is_accepted() -> None:
    wanted = SyncDaemon(SyncRole.BACKUP, "eth1", 1, max_length=1472)
    running = replace(wanted, max_length=8972)
    link = Link("eth1", "", "", True, mtu=9000)
    ledger = Ledger(frozenset({running.key}))
    proposal = plan(desired(wanted), observation(DUMMY, running, links=(link,)), ledger)
    assert [c.action for c in proposal.plan.changes] == [Action.REPLACE]


def test_a_sync_daemon_is_not_started_while_a_server_of_another_family_leaves() -> None:
    """What is removed leaves the kernel last; the same goes for a drain, and for foreign ones."""
    daemon = SyncDaemon(SyncRole.PRIMARY, "eth1", 1)
    up = Link("eth1", "", "", True, (ip_address("10.9.0.1"),))
    mixed = replace(SERVER, address=ip_address("2001:db8::1"), forwarding=Forwarding.TUN)
    draining = Ledger(frozenset({WEB.key}), {mixed.key: Drain(mixed.key, 60, 60)})
    applied = desired(WEB, mixed)
    at_once = Desired("lb1", "gitvs0", desired(WEB, daemon).state, {WEB.key: 0})
    seen = observation(DUMMY, WEB, mixed, links=(up,))
    for wanted, ledger, before in (
        (at_once, Ledger(frozenset({WEB.key})), applied),
        (desired(WEB, daemon), Ledger(frozenset({WEB.key})), applied),
        (desired(WEB, daemon), draining, desired(WEB)),
        (desired(daemon), Ledger(), desired()),
    ):
        [gate] = (g for g in plan(wanted, seen, ledger, before).gates if g.key == daemon.key)
        assert gate.name == "unsupported"
        assert str(mixed.key) in gate.message
        assert "first remove the real server, with a commit of its own" in gate.message
    in_force = desired(WEB, daemon)
    assert not plan(in_force, seen, draining, in_force).gates, "a repair passes no gate"
    gone = observation(DUMMY, WEB, links=(up,))
    assert not plan(at_once, gone, Ledger(frozenset({WEB.key})), desired(WEB)).gates


def test_a_changed_sync_daemon_is_replaced() -> None:
    running, other = (SyncDaemon(SyncRole.PRIMARY, "eth1", n) for n in (1, 2))
    up = Link("eth1", "", "", True, (ip_address("10.9.0.1"),))
    ledger = Ledger(frozenset({running.key}))
    proposal = plan(desired(other), observation(DUMMY, running, links=(up,)), ledger)
    assert [c.action for c in proposal.plan.changes] == [Action.REPLACE]


def test_an_interface_of_ours_goes_when_it_is_no_longer_wanted() -> None:
    old = DummyInterface("old0")
    ledger = Ledger(frozenset({old.key}))
    proposal = plan(desired(), observation(DUMMY, old), ledger)
    assert [(c.key, c.after) for c in proposal.plan.changes] == [(old.key, None)]


def test_an_interface_of_ours_that_holds_a_strangers_address_stays() -> None:
    old = DummyInterface("old0")
    theirs = Vip(IPv4Address("192.0.2.1"), "old0", 32)
    proposal = plan(desired(), observation(DUMMY, old, theirs), Ledger(frozenset({old.key})))
    assert not proposal.plan
    assert old.key not in proposal.ledger.owned


def test_a_drain_that_nobody_can_end_by_hand_goes_on_after_a_restart() -> None:
    ledger = Ledger(frozenset({WEB.key}))
    seen = replace(
        observation(DUMMY, WEB, SERVER), connections={SERVER.key: ConnectionCounts(active=1)}
    )
    first = plan(desired(WEB), seen, ledger)
    [drain] = first.ledger.drains.values()
    assert drain.deadline_seconds == 60
    drained = replace(seen, state=State([DUMMY, WEB, replace(SERVER, weight=0)]))
    assert not plan(desired(WEB), drained, first.ledger).plan
    idle = replace(drained, connections={SERVER.key: ConnectionCounts()})
    assert [c.action for c in plan(desired(WEB), idle, first.ledger).plan.changes] == [
        Action.DELETE
    ]


def test_a_draining_server_that_is_wanted_again_gets_its_weight_back_in_place() -> None:
    ledger = Ledger(frozenset({WEB.key}))
    first = plan(desired(WEB), observation(DUMMY, WEB, SERVER), ledger)
    idle = replace(SERVER, weight=0)
    back = plan(desired(WEB, SERVER), observation(DUMMY, WEB, idle), first.ledger)
    assert [(c.before, c.after) for c in back.plan.changes] == [(idle, SERVER)]
    assert not back.ledger.drains


def test_a_server_at_weight_0_already_still_gets_a_deadline() -> None:
    idle = replace(SERVER, weight=0)
    ledger = Ledger(frozenset({WEB.key}))
    proposal = plan(desired(WEB), observation(DUMMY, WEB, idle), ledger)
    assert [c.action for c in proposal.plan.changes] == [Action.DRAIN]
    assert set(proposal.ledger.drains) == {SERVER.key}


def test_a_drain_ends_where_the_service_changes_to_dh() -> None:
    """`dh` refuses the clients of a server at weight 0, and has no fallback."""
    ledger = Ledger(frozenset({WEB.key}))
    first = plan(desired(WEB), observation(DUMMY, WEB, SERVER), ledger)
    idle = replace(SERVER, weight=0)
    seen = replace(
        observation(DUMMY, WEB, idle), connections={SERVER.key: ConnectionCounts(active=1)}
    )
    hashing = replace(WEB, scheduler=Scheduler.DH)
    assert plan(desired(hashing), seen, first.ledger).target.get(SERVER.key) is None
    assert plan(desired(WEB), seen, first.ledger).target.get(SERVER.key) == idle


def test_the_vip_of_a_removed_service_waits_for_its_drain() -> None:
    ledger = Ledger(frozenset({WEB.key, BOUND.key}))
    seen = replace(
        observation(DUMMY, BOUND, WEB, SERVER), connections={SERVER.key: ConnectionCounts(active=1)}
    )
    first = plan(desired(), seen, ledger)
    assert [c.action for c in first.plan.changes] == [Action.DRAIN]
    idle = observation(DUMMY, BOUND, WEB, replace(SERVER, weight=0))
    over = propose(desired(), None, idle, first.ledger, 61.0, MARK)
    assert [c.key for c in over.plan.changes] == [BOUND.key, SERVER.key, WEB.key]


def test_a_standby_director_gives_up_its_vips_even_while_a_service_drains() -> None:
    ledger = Ledger(frozenset({WEB.key, BOUND.key}))
    seen = replace(
        observation(DUMMY, BOUND, WEB, SERVER), connections={SERVER.key: ConnectionCounts(active=1)}
    )
    proposal = plan(replace(desired(), is_standby=True), seen, ledger)
    assert [(c.action, c.key) for c in proposal.plan.changes] == [
        (Action.DRAIN, SERVER.key),
        (Action.DELETE, BOUND.key),
    ]


def test_a_vips_missing_route_is_an_update() -> None:
    ledger = Ledger(frozenset({BOUND.key}))
    proposal = plan(desired(BOUND), observation(DUMMY, replace(BOUND, has_route=False)), ledger)
    assert [c.action for c in proposal.plan.changes] == [Action.UPDATE]


def test_digests_know_the_plan_but_not_its_times() -> None:
    ledger = Ledger(frozenset({WEB.key}))
    seen = observation(DUMMY, WEB, SERVER)
    early, late = (propose(desired(WEB), None, seen, ledger, t, MARK) for t in (0.0, 9.0))
    assert early.digest == late.digest
    assert early.digest != plan(desired(WEB, SERVER), seen, ledger).digest
    assert (
        early.desired_digest
        == propose(desired(WEB), None, observation(), Ledger(), 0, MARK).desired_digest
    )


def test_the_work_of_moving_vips_to_another_interface_grows_with_their_number() -> None:
    assert work_of_a_move(1000) < 3 * work_of_a_move(500)


def work_of_a_move(count: int) -> float:
    addresses = [IPv4Address("198.18.0.0") + n for n in range(count)]
    here, there = ([Vip(a, name, 32) for a in addresses] for name in ("old0", "gitvs0"))
    old = Link("old0", "dummy", MARK, False, tuple(addresses))
    seen = observation(DummyInterface("old0"), *here, links=(old,))
    ledger = Ledger(frozenset({Key("dummy old0"), *(v.key for v in here)}))
    wanted = desired(*there)
    found = []
    work = work_of(lambda: found.append(plan(wanted, seen, ledger)))
    assert not found[0].gates
    return work.total


def test_a_drain_waits_for_inactive_connections_too() -> None:
    ledger = Ledger(frozenset({WEB.key}))
    first = plan(desired(WEB), observation(DUMMY, WEB, SERVER), ledger)
    seen = observation(DUMMY, WEB, replace(SERVER, weight=0))
    closing = replace(seen, connections={SERVER.key: ConnectionCounts(inactive=1)})
    assert not plan(desired(WEB), closing, first.ledger).plan


def test_a_removed_service_drains_as_long_as_it_was_told_to() -> None:
    applied = replace(desired(WEB, SERVER), drain_seconds={WEB.key: 300.0})
    seen, ledger = observation(DUMMY, WEB, SERVER), Ledger(frozenset({WEB.key}))
    [drain] = plan(desired(), seen, ledger, applied).ledger.drains.values()
    assert drain.timeout_seconds == 300
    at_once = replace(applied, drain_seconds={WEB.key: 0.0})
    assert [c.key for c in plan(desired(), seen, ledger, at_once).plan.changes] == [
        SERVER.key,
        WEB.key,
    ]


def test_the_interface_of_a_vip_that_waits_for_a_drain_stays_with_it() -> None:
    old, before = DummyInterface("old0"), Vip(VIP, "old0", 32)
    ledger = Ledger(frozenset({WEB.key, old.key, before.key, DUMMY.key}))
    seen = observation(DUMMY, old, before, WEB, SERVER)
    drain = plan(desired(), seen, ledger)
    assert [c.key for c in drain.plan.changes] == [SERVER.key]
    assert {old.key, before.key} <= drain.ledger.owned


def test_a_vip_that_waits_for_a_drain_gets_its_lost_route_back() -> None:
    ledger = Ledger(frozenset({WEB.key, BOUND.key}))
    seen = observation(DUMMY, replace(BOUND, has_route=False), WEB, SERVER)
    changes = plan(desired(), seen, ledger).plan.changes
    assert [c.after for c in changes] == [replace(SERVER, weight=0), BOUND]


def test_all_vips_and_routes_wait_while_a_firewall_mark_service_drains() -> None:
    mark = VirtualService(FirewallMark(7, AddressFamily.IPV4))
    server = replace(SERVER, listener=mark.listener)
    route = LocalRoute(ip_network("198.51.100.0/24"))
    ledger = Ledger(frozenset({mark.key, BOUND.key}))
    seen = observation(DUMMY, BOUND, route, mark, server)
    assert [c.key for c in plan(desired(), seen, ledger).plan.changes] == [server.key]


def test_only_the_routes_that_a_draining_service_needs_wait_for_it() -> None:
    needed, other = (LocalRoute(ip_network(p)) for p in ("203.0.113.0/24", "198.51.100.0/24"))
    seen = observation(DUMMY, needed, other, WEB, SERVER)
    changes = plan(desired(), seen, Ledger(frozenset({WEB.key}))).plan.changes
    assert [c.key for c in changes] == [SERVER.key, other.key]


def test_a_setting_that_is_as_it_was_before_us_is_no_longer_remembered() -> None:
    former = Sysctl("net.ipv4.vs.conntrack", "0")
    ledger = Ledger(saved_settings={former.key: former})
    proposal = plan(desired(), observation(DUMMY, former), ledger, applied=desired(former))
    assert not proposal.plan
    assert not proposal.ledger.saved_settings


def test_what_goes_is_owned_until_it_is_gone() -> None:
    drain = Drain(SERVER.key, 60.0, -1.0)
    ledger = Ledger(frozenset({WEB.key}), {drain.key: drain})
    proposal = plan(desired(), observation(DUMMY, WEB, replace(SERVER, weight=0)), ledger)
    assert [c.after for c in proposal.plan.changes] == [None, None]
    assert proposal.ledger == ledger
    assert ledger_after_break(proposal.ledger, proposal.plan) == Ledger()


def test_all_that_the_ledger_speaks_of_is_read() -> None:
    saved = Sysctl("net.ipv4.vs.conntrack", "0")
    keys = {DummyInterface("old0").key, Vip(VIP, "older0", 32).key, WEB.key}
    scope = scope_of(Ledger(frozenset(keys), saved_settings={saved.key: saved}), desired())
    assert scope.interfaces == {"gitvs0", "old0", "older0"}
    assert scope.sysctls == {saved.name}


def test_gateways_are_read_only_for_what_is_newly_made_local() -> None:
    route = LocalRoute(ip_network("198.51.100.0/24"))
    assert not scope_of(Ledger(), desired()).includes_gateways
    for resource in (route, BOUND):
        wanted = desired(resource)
        assert scope_of(Ledger(), wanted).includes_gateways
        assert scope_of(Ledger(), wanted, applied=desired()).includes_gateways
        assert not scope_of(Ledger(), wanted, applied=wanted).includes_gateways

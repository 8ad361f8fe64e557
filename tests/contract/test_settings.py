"""Sysctls, IPVS timeouts, and the sync daemons."""

from __future__ import annotations

import errno
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from gitvs.core.model.observation import Scope
from gitvs.core.model.resources import (
    Forwarding,
    SyncDaemon,
    SyncRole,
    Sysctl,
    Timeout,
    TimeoutName,
)
from tests.contract.host import Host
from tests.support.builders import (
    create,
    creates,
    delete,
    dummy,
    real_server,
    sync_daemon,
    sysctl,
    timeout,
    update,
    vip,
    virtual_service,
)

NODEST = "net.ipv4.vs.expire_nodest_conn"
THRESHOLD = "net.ipv4.vs.sync_threshold"
FORWARD = "net.ipv4.ip_forward"
KEYS = {
    "net.ipv4.conf": (
        *("accept_local", "accept_redirects", "arp_announce", "arp_filter", "arp_ignore"),
        *("arp_notify", "forwarding", "log_martians", "promote_secondaries", "route_localnet"),
        *("rp_filter", "send_redirects"),
    ),
    "net.ipv6.conf": ("accept_ra", "accept_redirects", "autoconf", "disable_ipv6", "forwarding"),
}
GLOBAL = (
    *("net.core.somaxconn", FORWARD, "net.ipv4.ip_local_port_range", "net.ipv4.ip_nonlocal_bind"),
    *(
        f"net.ipv4.vs.{name}"
        for name in (
            *("am_droprate", "amemthresh", "backup_only", "cache_bypass", "conn_reuse_mode"),
            *("conntrack", "drop_entry", "drop_packet", "expire_nodest_conn"),
            *("expire_quiescent_template", "ignore_tunneled", "nat_icmp_send", "pmtu_disc"),
            *("run_estimation", "schedule_icmp", "secure_tcp", "sloppy_sctp", "sloppy_tcp"),
            *("snat_reroute", "sync_persist_mode", "sync_refresh_period", "sync_retries"),
            *("sync_sock_size", "sync_threshold", "sync_version"),
        )
    ),
)


def of_links(*links: str) -> list[str]:
    """Return the names of the settings of links."""
    return [f"{family}.{link}.{key}" for family in KEYS for link in links for key in KEYS[family]]


def read(host: Host, *names: str) -> dict[str, str]:
    """Return the settings that exist."""
    found = host.observe(Scope(host.scope.interfaces, frozenset(names))).state.of_type(Sysctl)
    return {s.name: s.value for s in found}


def write(host: Host, *settings: tuple[str, str]) -> None:
    host.do(*(create(sysctl(name, value)) for name, value in settings))


def test_the_settings_of_a_host_that_just_booted(host: Host) -> None:
    names = [*GLOBAL, *of_links("all", "default", "lo")]
    assert sorted(read(host, *names)) == sorted(names)


def test_the_settings_of_an_interface_come_and_go_with_it(host: Host) -> None:
    names = of_links("gitvs0")
    assert read(host, *names) == {}
    host.refuse(errno.ENOENT, create(sysctl("net.ipv4.conf.gitvs0.rp_filter", "1")))
    host.do(create(dummy()), create(sysctl("net.ipv4.conf.gitvs0.rp_filter", "1")))
    assert sorted(read(host, *names)) == sorted(names)
    host.do(delete(dummy()), create(dummy()))
    assert read(host, "net.ipv4.conf.gitvs0.rp_filter") == {"net.ipv4.conf.gitvs0.rp_filter": "0"}


def test_a_dot_in_an_interface_s_name_is_a_slash_in_its_settings(host: Host) -> None:
    name = "net.ipv4.conf.eth0/100.rp_filter"
    host.do(create(dummy("eth0.100")), create(sysctl(name, "2")))
    assert read(host, name, "net.ipv4.conf.eth0.100.rp_filter") == {name: "2"}


def test_a_value_is_read_back_with_single_spaces(host: Host) -> None:
    assert read(host, THRESHOLD) == {THRESHOLD: "3 50"}
    write(host, (THRESHOLD, "2\t  40"))
    assert read(host, THRESHOLD) == {THRESHOLD: "2 40"}


@pytest.mark.parametrize(
    ("name", "written", "found"),
    [
        (NODEST, " 1 ", "1"),
        (NODEST, "0x10", "16"),
        (NODEST, "010", "8"),
        (NODEST, "-5", "-5"),
        (NODEST, "2147483647", "2147483647"),
        (NODEST, "1 2", "1"),
        (NODEST, "1 x", "1"),
        (THRESHOLD, "1", "1 50"),
        (THRESHOLD, "1 2 3", "1 2"),
        (THRESHOLD, "9 0", "9 0"),
        ("net.ipv4.ip_local_port_range", "1024 2000", "1024 2000"),
        ("net.ipv4.vs.drop_entry", "3", "3"),
    ],
)
def test_a_value_is_read_as_the_kernel_reads_numbers(
    host: Host, name: str, written: str, found: str
) -> None:
    write(host, (name, written))
    assert read(host, name) == {name: found}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((NODEST, value) for value in ("", "x", "1x", "1.5", "2147483648", "-2147483649", "+1")),
        *((THRESHOLD, value) for value in ("50 3", "3 3", "-1 5", "x 5")),
        *(("net.ipv4.vs.drop_entry", value) for value in ("4", "-1")),
        ("net.ipv4.vs.sync_version", "2"),
        ("net.core.somaxconn", "-1"),
        ("net.ipv4.ip_nonlocal_bind", "256"),
        *(("net.ipv4.ip_local_port_range", value) for value in ("2000 1024", "0 5", "5 70000")),
    ],
)
def test_a_value_that_a_setting_cannot_have_is_refused(host: Host, name: str, value: str) -> None:
    before = read(host, name)
    host.refuse(errno.EINVAL, create(sysctl(name, value)))
    assert read(host, name) == before


@pytest.mark.parametrize("key", ["all.forwarding", "lo.forwarding", "all.disable_ipv6"])
@pytest.mark.parametrize("value", ["x", "", "2147483648"])
def test_some_ipv6_switches_accept_a_bad_value_and_stay_as_they_are(
    host: Host, key: str, value: str
) -> None:
    name = f"net.ipv6.conf.{key}"
    write(host, (name, value))
    assert read(host, name) == {name: "0"}


def test_a_refused_pair_may_leave_its_first_number(host: Host) -> None:
    host.refuse(errno.EINVAL, create(sysctl(THRESHOLD, "1 x")))
    assert read(host, THRESHOLD) == {THRESHOLD: "1 50"}
    ports = "net.ipv4.ip_local_port_range"
    host.refuse(errno.EINVAL, create(sysctl(ports, "5 x")))
    assert read(host, ports) == {ports: "32768 60999"}


@pytest.mark.parametrize("name", ["net.ipv4.nope", "net.ipv4.conf.nope.rp_filter", "kernel.panic"])
def test_a_setting_that_does_not_exist_is_refused_and_absent(host: Host, name: str) -> None:
    assert read(host, name) == {}
    host.refuse(errno.ENOENT, create(sysctl(name)))


def test_a_setting_is_changed_but_never_taken_away(host: Host) -> None:
    host.do(update(sysctl(NODEST, "0"), sysctl(NODEST, "1")))
    host.do(delete(sysctl(NODEST, "1")), delete(sysctl("net.ipv4.nope")))
    assert read(host, NODEST) == {NODEST: "1"}


def test_forwarding_flips_redirects_and_reaches_every_interface(host: Host) -> None:
    names = [FORWARD, *of_links("all", "default", "gitvs0", "gitvs1")]
    host.do(create(dummy()))
    write(host, ("net.ipv4.conf.all.accept_redirects", "1"), (FORWARD, "1"))
    host.do(create(dummy("gitvs1")))
    found = read(host, *names)
    assert found["net.ipv4.conf.all.accept_redirects"] == "0"
    assert {v for n, v in found.items() if n.startswith("net.ipv4") and "forward" in n} == {"1"}
    write(host, ("net.ipv4.conf.gitvs0.forwarding", "0"), (FORWARD, "1"))
    assert read(host, *names)["net.ipv4.conf.gitvs0.forwarding"] == "0"
    write(host, ("net.ipv4.conf.all.forwarding", "0"))
    assert read(host, *names)["net.ipv4.conf.all.accept_redirects"] == "1"


def test_redirects_stay_as_set_when_forwarding_stays(host: Host) -> None:
    redirects = "net.ipv4.conf.all.accept_redirects"
    write(host, (FORWARD, "1"), (redirects, "1"), (FORWARD, "1"))
    assert read(host, redirects) == {redirects: "1"}


def test_ipv6_forwarding_reaches_every_interface(host: Host) -> None:
    host.do(create(dummy()))
    write(host, ("net.ipv6.conf.all.forwarding", "1"))
    found = read(host, *of_links("all", "default", "gitvs0", "lo"))
    assert {v for n, v in found.items() if n.startswith("net.ipv6") and "forward" in n} == {"1"}


def test_a_default_reaches_interfaces_that_were_never_set(host: Host) -> None:
    names = [f"net.ipv4.conf.{link}.rp_filter" for link in ("gitvs0", "gitvs1", "up0", "lo", "all")]
    host.do(create(dummy()), create(dummy("gitvs1")))
    host.add_link("up0", addresses=["192.0.2.1/24"])
    write(host, ("net.ipv4.conf.gitvs1.rp_filter", "0"))
    write(host, ("net.ipv4.conf.default.rp_filter", "2"))
    assert read(host, *names)["net.ipv4.conf.gitvs0.rp_filter"] == "2"
    write(host, ("net.ipv6.conf.default.accept_ra", "2"))
    read(host, *of_links("gitvs0"))


def test_timeouts_are_set_one_by_one_and_read_together(host: Host) -> None:
    host.holds(*(timeout(n, s) for n, s in zip(TimeoutName, (900, 120, 300), strict=True)))
    for number, name in enumerate(TimeoutName, 1):
        host.do(update(timeout(name, 0), timeout(name, number)))
    assert [t.seconds for t in host.state.of_type(Timeout)] == [1, 2, 3]


def test_a_timeout_of_0_changes_nothing(host: Host) -> None:
    host.do(update(timeout(), timeout(seconds=0)))
    host.holds(timeout(seconds=900))


def test_a_timeout_is_limited_by_its_jiffies(host: Host) -> None:
    host.do(create(timeout(seconds=2_678_400)))
    host.refuse(errno.EINVAL, create(timeout(TimeoutName.UDP, 2**31 - 1)))
    host.refuse(errno.EINVAL, create(timeout(TimeoutName.UDP, 2**31)))
    host.holds(timeout(seconds=2_678_400), timeout(TimeoutName.UDP, 300))


def test_a_timeout_cannot_be_taken_away(host: Host) -> None:
    host.do(delete(timeout(seconds=700)))
    host.holds(timeout(seconds=900))


PRIMARY, BACKUP = sync_daemon(), sync_daemon(SyncRole.BACKUP, id_=255)


@pytest.fixture
def synced(host: Host) -> Host:
    """A host with an uplink."""
    host.add_link("up0", addresses=["192.0.2.1/24"])
    return host


def test_one_sync_daemon_of_each_role_runs(synced: Host) -> None:
    synced.do(*creates(PRIMARY, BACKUP))
    assert set(synced.state.of_type(SyncDaemon)) == {PRIMARY, BACKUP}
    for daemon in (PRIMARY, BACKUP):
        synced.refuse(errno.EEXIST, create(replace(daemon, id=9)))
    synced.do(delete(PRIMARY))
    assert synced.state.of_type(SyncDaemon) == [BACKUP]
    synced.refuse(errno.ESRCH, delete(PRIMARY))


def test_a_sync_daemon_is_replaced_whether_it_runs_or_not(synced: Host) -> None:
    other = replace(PRIMARY, id=7)
    synced.do(update(other, PRIMARY))
    synced.do(update(PRIMARY, other))
    assert synced.state.of_type(SyncDaemon) == [other]


def test_a_refused_replacement_leaves_no_sync_daemon(synced: Host) -> None:
    synced.do(create(PRIMARY))
    synced.refuse(errno.ENODEV, update(PRIMARY, replace(PRIMARY, interface="nope")))
    assert synced.state.of_type(SyncDaemon) == []


@pytest.mark.parametrize("role", list(SyncRole))
def test_a_sync_daemon_needs_an_interface(synced: Host, role: SyncRole) -> None:
    synced.refuse(errno.ENODEV, create(sync_daemon(role, "nope")))
    synced.do(create(sync_daemon(role)))
    synced.refuse(errno.ENODEV, create(sync_daemon(role, "nope")))


def test_a_primary_needs_one_that_is_up(synced: Host) -> None:
    synced.do(create(dummy()))
    synced.refuse(errno.ENETUNREACH, create(sync_daemon(interface="gitvs0")))
    synced.do(create(PRIMARY))
    synced.refuse(errno.EEXIST, create(sync_daemon(interface="gitvs0")))


def test_a_backup_starts_on_one_that_is_down(synced: Host) -> None:
    synced.do(create(dummy()), create(sync_daemon(SyncRole.BACKUP, "gitvs0")))


@pytest.mark.parametrize("role", list(SyncRole))
def test_a_sync_daemon_needs_no_address(host: Host, role: SyncRole) -> None:
    host.add_link("up0")
    host.execute(create(sync_daemon(role)))
    host.execute(create(sync_daemon(role, "lo")))


@pytest.mark.parametrize("id_", [0, 255, 256, 2**31, 2**32 - 1])
def test_a_sync_daemon_has_any_id(synced: Host, id_: int) -> None:
    synced.do(create(sync_daemon(id_=id_)))
    synced.holds(sync_daemon(id_=id_))


@pytest.mark.parametrize("role", list(SyncRole))
@pytest.mark.parametrize(
    "fields",
    [
        {"group": ip_address("239.1.2.3")},
        {"port": 1},
        {"port": 65535},
        {"ttl": 255},
        {"max_length": 1024},
        {"max_length": 65507},
        {"group": ip_address("ff02::81"), "max_length": 1024},
        {"group": ip_address("ff05::81"), "max_length": 65487},
    ],
    ids=str,
)
def test_a_sync_daemon_uses_another_group_port_ttl_and_length(
    synced: Host, role: SyncRole, fields: dict[str, Any]
) -> None:
    daemon = replace(sync_daemon(role), **fields)
    synced.do(create(daemon))
    synced.holds(daemon)
    synced.do(update(daemon, sync_daemon(role)))
    synced.holds(sync_daemon(role))
    synced.do(update(sync_daemon(role), daemon))
    synced.holds(daemon)


def test_a_primary_sends_as_little_in_a_packet_as_one_wants(synced: Host) -> None:
    daemon = replace(PRIMARY, max_length=1)
    synced.do(create(daemon))
    synced.holds(daemon)


@pytest.mark.parametrize("group", ["224.0.0.81", "ff02::81"])
@pytest.mark.parametrize("mtu", [1280, 1500, 9000, 65535])
@pytest.mark.parametrize("role", list(SyncRole))
def test_the_length_of_a_sync_daemon_is_by_default_what_the_kernel_chooses(
    synced: Host, role: SyncRole, mtu: int, group: str
) -> None:
    """A backup's depends on the MTU of its link, and is never below that for Ethernet."""
    synced.set_mtu("up0", mtu)
    daemon = replace(sync_daemon(role), group=ip_address(group), max_length=None)
    synced.do(create(daemon))
    header = 28 if daemon.group.version == 4 else 48
    length = 1500 if role is SyncRole.PRIMARY else max(mtu, 1500)
    synced.holds(replace(daemon, max_length=length - header))
    assert synced.observe().links["up0"].mtu == mtu
    assert daemon.default_max_length(mtu) == length - header


@pytest.mark.parametrize("mtu", [1500, 9000])
def test_a_running_sync_daemon_keeps_its_length_whatever_its_link_gets(
    synced: Host, mtu: int
) -> None:
    synced.do(create(replace(BACKUP, max_length=None)))
    synced.set_mtu("up0", mtu)
    synced.holds(BACKUP)


IN_GROUP6 = {"group": ip_address("ff02::81"), "max_length": 1452}


def test_a_primary_of_an_ipv6_group_needs_ipv6_on_its_link(synced: Host) -> None:
    switch = "net.ipv6.conf.up0.disable_ipv6"
    synced.do(update(sysctl(switch, "0"), sysctl(switch, "1")))
    synced.refuse(errno.ENETUNREACH, create(replace(PRIMARY, **IN_GROUP6)))
    synced.do(create(PRIMARY), create(replace(BACKUP, **IN_GROUP6)))


def test_a_link_that_cannot_carry_ipv6_takes_no_sync_daemon_of_an_ipv6_group(
    synced: Host,
) -> None:
    synced.set_mtu("up0", 1279)
    synced.refuse(errno.ENETUNREACH, create(replace(PRIMARY, **IN_GROUP6)))
    synced.refuse(errno.EINVAL, create(replace(BACKUP, **IN_GROUP6)))
    synced.do(*creates(PRIMARY, BACKUP))


def test_a_primary_of_an_ipv4_group_starts_on_a_link_with_ipv6_alone(host: Host) -> None:
    """It sends from an address of another interface, and nothing if there is none."""
    host.add_link("up0", addresses=["2001:db8:7::1/64"])
    host.do(*creates(PRIMARY, BACKUP))


@pytest.mark.parametrize("group", ["10.0.0.1", "2001:db8::1"])
def test_a_group_that_is_no_multicast_address_is_refused(synced: Host, group: str) -> None:
    daemon = replace(PRIMARY, group=ip_address(group))
    synced.refuse(errno.EINVAL, create(daemon))
    synced.refuse(errno.EINVAL, create(replace(daemon, interface="nope")))


def test_a_sync_daemon_outlives_its_interface(synced: Host) -> None:
    synced.do(create(PRIMARY))
    synced.set_link_down("up0")
    synced.holds(PRIMARY)
    synced.delete_link("up0")
    synced.holds(PRIMARY)


def test_a_sync_daemon_and_servers_of_another_family_exclude_each_other(synced: Host) -> None:
    crossing = real_server(address="2001:db8::1", forwarding=Forwarding.TUN)
    synced.do(*creates(virtual_service(), PRIMARY))
    synced.refuse(errno.EINVAL, create(crossing))
    synced.do(delete(PRIMARY), create(crossing))
    synced.refuse(errno.EINVAL, create(sync_daemon(interface="nope")))
    synced.do(delete(crossing), create(PRIMARY), create(vip(interface="up0")))

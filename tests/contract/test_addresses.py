"""The dummy interface, addresses and their routes, local routes."""

from __future__ import annotations

import errno
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from gitvs.core.model.resources import DummyInterface, LocalRoute, Vip
from gitvs.core.model.state import State
from tests.contract.host import MARK, Host
from tests.support.builders import (
    WEB6,
    create,
    creates,
    delete,
    dummy,
    local_route,
    real_server,
    sysctl,
    update,
    vip,
    virtual_service,
)

VIP, VIP6 = vip(), vip("2001:db8::10")
BOTH = [VIP, VIP6]


def test_the_dummy_interface_is_made_down_and_marked(host: Host) -> None:
    host.do(create(dummy()))
    link = host.observe().links["gitvs0"]
    assert (link.kind, link.alias, link.is_up, link.addresses) == ("dummy", MARK, False, ())
    host.holds(dummy())


def test_the_number_of_the_store_is_in_the_alias_of_its_interface_and_outlives_that(
    host: Host,
) -> None:
    assert host.read_witness() is None
    host.write_witness(3)
    assert host.read_witness() == 3
    host.do(create(dummy()))
    assert host.observe().links["gitvs0"].alias == f"{MARK}:3"
    host.write_witness(4)
    assert host.observe().links["gitvs0"].alias == f"{MARK}:4"
    host.delete_link("gitvs0")
    assert host.read_witness() == 4


def test_an_alias_of_an_older_gitvs_has_the_number_0_until_another_is_written(host: Host) -> None:
    host.add_link("gitvs0", alias=MARK)
    assert host.read_witness() == 0
    host.write_witness(1)
    assert host.observe().links["gitvs0"].alias == f"{MARK}:1"


def test_an_alias_of_another_store_is_changed_only_where_the_interface_is_adopted(
    host: Host,
) -> None:
    host.add_link("gitvs0", alias="gitvs:other:9")
    host.add_link("gitvs1", alias="theirs")
    assert host.read_witness() is None
    host.write_witness(1)
    assert host.observe().links["gitvs0"].alias == "gitvs:other:9"
    for interface in ("gitvs0", "gitvs1"):
        host.write_witness(2, interface)
    assert host.observe().links["gitvs0"].alias == f"{MARK}:2"
    assert host.observe().links["gitvs1"].alias == "theirs"


def test_the_greatest_number_counts(host: Host) -> None:
    host.write_witness(7)
    host.add_link("gitvs0", alias=f"{MARK}:12")
    assert host.read_witness() == 12


def test_an_interface_that_exists_is_not_made_again_and_keeps_its_alias(host: Host) -> None:
    host.add_link("gitvs0", alias="theirs")
    host.refuse(errno.EEXIST, create(dummy()))
    assert host.observe().links["gitvs0"].alias == "theirs"


def test_an_interface_of_another_kind_is_no_dummy(host: Host) -> None:
    host.add_link("gitvs0", "bridge")
    host.refuse(errno.EEXIST, create(dummy()))
    host.lacks(dummy())
    assert host.observe().links["gitvs0"].kind == "bridge"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        *((name, errno.EINVAL) for name in (".", "..", "a/b", "a b", "a:b", "a\tb")),
        ("a" * 16, errno.ERANGE),
        ("lo", errno.EEXIST),
        ("all", errno.EINVAL),
        ("default", errno.EINVAL),
    ],
)
def test_a_name_that_no_interface_can_have_is_refused(host: Host, name: str, code: int) -> None:
    host.refuse(code, create(dummy(name)))


@pytest.mark.parametrize("name", ["a" * 15, "a-b_c.d", "ä", "0", "..."])
def test_any_other_name_is_an_interface(host: Host, name: str) -> None:
    host.do(create(dummy(name)))
    assert name in host.observe().links


def test_a_missing_interface_cannot_be_deleted_and_lo_must_not(host: Host) -> None:
    host.refuse(errno.ENODEV, delete(dummy()))
    host.refuse(errno.EOPNOTSUPP, delete(DummyInterface("lo")))


def test_deleting_the_interface_deletes_its_addresses_and_their_routes(host: Host) -> None:
    other = vip(interface="gitvs1")
    host.do(*creates(dummy(), dummy("gitvs1"), *BOTH, other, local_route()))
    host.do(delete(dummy()))
    assert host.addresses() == State([other, local_route()])
    host.do(create(dummy()))
    assert host.addresses() == State([other, local_route()])


def test_two_interfaces_may_hold_one_address_and_each_has_its_route(host: Host) -> None:
    twins = [replace(v, interface="gitvs1") for v in BOTH]
    host.do(*creates(dummy(), dummy("gitvs1"), *BOTH, *twins))
    host.holds(*BOTH, *twins)
    host.do(*map(delete, BOTH))
    assert host.addresses() == State(twins)


def test_an_address_of_an_uplink_may_be_bound_beside_it(host: Host) -> None:
    host.add_link("up0", addresses=["203.0.113.10/24", "2001:db8::10/64"])
    host.do(*creates(dummy(), *BOTH))
    host.do(*map(delete, BOTH))
    addresses = {str(a) for a in host.observe().links["up0"].addresses if not a.is_link_local}
    assert addresses == {"203.0.113.10", "2001:db8::10"}


@pytest.mark.parametrize("bound", BOTH)
def test_an_address_that_exists_is_not_added_again(host: Host, bound: Vip) -> None:
    host.do(*creates(dummy(), bound))
    host.refuse(errno.EEXIST, create(bound))
    host.holds(bound)


def test_an_ipv4_address_may_be_there_with_two_prefixes_but_an_ipv6_one_not(host: Host) -> None:
    wide, wide6 = replace(VIP, prefix_length=24), replace(VIP6, prefix_length=64)
    host.do(*creates(dummy(), *BOTH, wide))
    host.refuse(errno.EEXIST, create(wide6))
    host.holds(VIP, wide)
    host.do(delete(wide))
    host.holds(VIP)


@pytest.mark.parametrize("bound", BOTH)
def test_a_missing_address_cannot_be_deleted(host: Host, bound: Vip) -> None:
    host.do(create(dummy()))
    host.refuse(errno.EADDRNOTAVAIL, delete(bound))
    host.do(create(bound))
    host.refuse(errno.EADDRNOTAVAIL, delete(replace(bound, prefix_length=30)))


def test_an_address_on_a_missing_interface_is_refused(host: Host) -> None:
    for bound in BOTH:
        host.refuse(errno.ENODEV, create(bound))
        host.refuse(errno.ENODEV, delete(bound))
        host.refuse(errno.ENODEV, update(replace(bound, has_route=False), bound))
        host.refuse(errno.ENODEV, update(bound, replace(bound, has_route=False)))


@pytest.mark.parametrize("address", ["::", "::1", "ff02::5"])
def test_an_address_that_no_interface_can_have_is_refused(host: Host, address: str) -> None:
    host.do(create(dummy()))
    host.refuse(errno.EADDRNOTAVAIL, create(vip(address)))


def test_odd_ipv4_addresses_are_accepted(host: Host) -> None:
    host.do(create(dummy()))
    for address in ("0.0.0.0", "0.0.0.1", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"):
        host.do(create(vip(address)))
        host.execute(delete(vip(address)))


def test_the_unspecified_address_is_accepted_and_not_there(host: Host) -> None:
    host.do(*creates(dummy(), vip("0.0.0.0")))
    host.lacks(vip("0.0.0.0"))


def test_a_link_local_address_is_not_a_vip(host: Host) -> None:
    host.do(*creates(dummy(), vip("fe80::5")))
    host.lacks(vip("fe80::5"))


def test_a_stranger_s_subnet_goes_as_a_whole_with_its_first_address(host: Host) -> None:
    first, second = vip("10.1.0.1", prefix_length=24), vip("10.1.0.2", prefix_length=24)
    alone = vip("10.1.0.3", prefix_length=25)
    host.do(*creates(dummy(), first, alone, second))
    # The route of the second has the first as its source, so it is not what a VIP's looks like.
    host.holds(first, alone, replace(second, has_route=False))
    host.do(delete(first))
    assert host.addresses() == State([alone])


def test_ipv6_addresses_of_one_subnet_do_not_hang_together(host: Host) -> None:
    first, second = vip("2001:db8::1", prefix_length=64), vip("2001:db8::2", prefix_length=64)
    host.do(*creates(dummy(), first, second))
    host.holds(first, second)
    host.do(delete(first))
    assert host.addresses() == State([second])


def test_a_second_address_of_a_subnet_goes_alone(host: Host) -> None:
    first, second = vip("10.1.0.1", prefix_length=24), vip("10.1.0.2", prefix_length=24)
    host.do(*creates(dummy(), first, second), delete(second))
    assert host.addresses() == State([first])


def test_the_second_is_promoted_where_the_host_says_so(host: Host) -> None:
    first, second = vip("10.1.0.1", prefix_length=24), vip("10.1.0.2", prefix_length=24)
    host.do(create(sysctl("net.ipv4.conf.all.promote_secondaries", "1")))
    host.do(*creates(dummy(), first, second), delete(first))
    assert host.addresses() == State([second])


@pytest.mark.parametrize("bound", BOTH)
@pytest.mark.parametrize("state", ["down", "up"])
def test_a_lost_route_is_noticed_repaired_and_goes_with_its_address(
    host: Host, bound: Vip, state: str
) -> None:
    host.add_link("gitvs0", is_up=state == "up")
    host.do(*creates(*BOTH))
    host.delete_vip_route(bound)
    broken = replace(bound, has_route=False)
    host.holds(broken)
    host.do(update(broken, bound))
    host.holds(*BOTH)
    host.do(delete(bound))
    host.lacks(bound)
    host.do(create(bound))
    host.holds(*BOTH)


@pytest.mark.parametrize("bound", BOTH)
def test_a_repair_can_be_undone_twice(host: Host, bound: Vip) -> None:
    broken = replace(bound, has_route=False)
    host.do(*creates(dummy(), bound))
    host.do(update(bound, broken))
    host.holds(broken)
    host.do(update(bound, broken))
    host.holds(broken)


def test_setting_the_interface_up_brings_lost_ipv4_routes_back(host: Host) -> None:
    host.do(*creates(dummy(), *BOTH))
    for bound in BOTH:
        host.delete_vip_route(bound)
    host.set_link_up("gitvs0")
    host.holds(VIP, replace(VIP6, has_route=False))
    host.delete_vip_route(VIP)
    host.set_link_up("gitvs0")
    host.set_link_down("gitvs0")
    host.holds(replace(VIP, has_route=False))


def test_a_route_that_is_there_is_not_repaired(host: Host) -> None:
    host.do(*creates(dummy(), *BOTH))
    host.refuse(errno.EEXIST, update(replace(VIP, has_route=False), VIP))
    host.do(update(replace(VIP6, has_route=False), VIP6))
    host.holds(*BOTH)


def test_a_repair_without_the_address_makes_the_route_or_for_ipv6_the_address(host: Host) -> None:
    host.do(create(dummy()))
    host.do(*(update(replace(v, has_route=False), v) for v in BOTH))
    assert host.addresses() == State([VIP6])
    host.do(create(VIP))
    host.holds(*BOTH)


def test_the_last_ipv4_address_takes_every_ipv4_route_of_its_interface_with_it(host: Host) -> None:
    other = vip("203.0.113.11")
    host.do(*creates(dummy(), VIP6, VIP), update(replace(other, has_route=False), other))
    host.do(delete(VIP))
    host.do(update(replace(other, has_route=False), other))
    assert host.addresses() == State([VIP6])


def test_setting_the_interface_down_deletes_ipv6_addresses_alone(host: Host) -> None:
    host.do(*creates(dummy(), *BOTH))
    host.set_link_down("gitvs0")
    host.holds(*BOTH)
    host.set_link_up("gitvs0")
    host.holds(*BOTH)
    host.set_link_down("gitvs0")
    assert host.addresses() == State([VIP])


LOCAL = ["198.51.100.0/24", "198.51.100.7/32", "2001:db8:a::/64", "2001:db8:a::7/128"]
WIDE = ["0.0.0.0/0", "::/0", "240.0.0.0/4"]


@pytest.mark.parametrize("prefix", LOCAL + WIDE)
def test_a_prefix_is_made_local_once_and_removed_once(host: Host, prefix: str) -> None:
    route = local_route(prefix)
    host.refuse(errno.ESRCH, delete(route))
    host.do(create(route))
    assert host.addresses() == State([route])
    host.refuse(errno.EEXIST, create(route))
    host.do(delete(route))
    host.refuse(errno.ESRCH, delete(route))
    assert host.addresses() == State()


def test_prefixes_may_contain_each_other(host: Host) -> None:
    routes = [local_route(p) for p in ("10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/16")]
    host.do(*creates(*routes))
    assert host.addresses() == State(routes)


def test_an_ipv4_prefix_that_is_local_already_is_refused(host: Host) -> None:
    host.do(*creates(dummy(), *BOTH))
    for prefix in ("203.0.113.10/32", "127.0.0.0/8", "127.0.0.1/32", "127.255.255.255/32"):
        host.refuse(errno.EEXIST, create(local_route(prefix)))


def test_an_ipv6_prefix_may_be_local_beside_the_kernel_s_own_route(host: Host) -> None:
    routes = [local_route("2001:db8::10/128"), local_route("::1/128")]
    host.do(*creates(dummy(), VIP6, *routes))
    assert host.addresses() == State([VIP6, *routes])
    host.do(*map(delete, routes))
    host.holds(VIP6)


def test_an_address_may_be_bound_inside_a_local_route_of_its_own_size(host: Host) -> None:
    routes = [local_route("203.0.113.10/32"), local_route("2001:db8::10/128")]
    host.do(*creates(*routes, dummy(), *BOTH))
    assert host.addresses() == State([*routes, *BOTH])
    host.do(delete(VIP), delete(VIP6))
    assert host.addresses() == State(routes)


@pytest.mark.parametrize("prefix", ["198.51.100.0/24", "2001:db8:a::/64"])
def test_a_stranger_s_local_route_is_foreign(host: Host, prefix: str) -> None:
    host.add_foreign_route(ip_network(prefix))
    assert host.observe().foreign_routes == {ip_network(prefix)}
    host.refuse(errno.EEXIST, create(local_route(prefix)))
    host.refuse(errno.ESRCH, delete(local_route(prefix)))


def test_local_routes_outlive_the_interface(host: Host) -> None:
    host.do(*creates(dummy(), VIP, local_route(), local_route("2001:db8:a::/64")))
    host.do(delete(VIP), delete(dummy()))
    host.holds(local_route(), local_route("2001:db8:a::/64"))


def test_gateways_and_links_of_the_host_are_seen(host: Host) -> None:
    host.add_link("up0", alias="uplink", addresses=["192.0.2.1/24", "2001:db8:9::1/64"])
    for gateway in ("192.0.2.254", "2001:db8:9::fe"):
        host.add_gateway(ip_address(gateway))
    observation = host.observe()
    assert {str(g) for g in observation.gateways} == {"192.0.2.254", "2001:db8:9::fe"}
    assert (observation.links["up0"].alias, observation.links["up0"].is_up) == ("uplink", True)
    assert observation.state.of_type(Vip) == []


def test_with_lo_down_an_ipv6_prefix_cannot_be_made_local(host: Host) -> None:
    host.set_link_down("lo")
    host.refuse(errno.ENETDOWN, create(local_route("2001:db8:a::/64")))
    host.do(create(local_route()))
    host.set_link_up("lo")
    host.do(create(local_route("2001:db8:a::/64")))


def test_lo_without_ipv6_keeps_its_ipv4_address_and_routes(host: Host) -> None:
    for prefix in ("192.0.2.0/24", "2001:db8:b::/64"):
        host.add_foreign_route(ip_network(prefix))
    host.do(*creates(local_route(), local_route("2001:db8:a::/64")))
    host.do(create(sysctl("net.ipv6.conf.lo.disable_ipv6", "1")))
    observation = host.observe()
    assert observation.foreign_routes == {ip_network("192.0.2.0/24")}
    assert [str(a) for a in observation.links["lo"].addresses] == ["127.0.0.1"]
    assert observation.state.of_type(LocalRoute) == [local_route()]
    host.set_link_down("lo")
    host.set_link_up("lo")
    host.do(create(sysctl("net.ipv6.conf.lo.disable_ipv6", "0")))


def test_lo_keeps_its_ipv4_address_and_routes_while_it_is_down(host: Host) -> None:
    host.do(*creates(local_route(), local_route("2001:db8:a::/64"), virtual_service()))
    host.set_link_down("lo")
    host.do(create(real_server(address="127.0.0.1")))
    assert host.addresses().keys() == {local_route().key}


def test_without_any_address_there_is_no_way_to_a_real_server(bare_host: Host) -> None:
    assert not bare_host.observe().links["lo"].is_up
    bare_host.do(create(virtual_service()), create(virtual_service(WEB6)))
    for address in ("10.0.0.1", "127.0.0.1"):
        bare_host.refuse(errno.EINVAL, create(real_server(address=address)))
    bare_host.do(create(real_server(WEB6)))
    bare_host.do(create(dummy()), create(VIP6))
    bare_host.refuse(errno.EINVAL, create(real_server()))
    bare_host.do(create(VIP), create(real_server()))
    bare_host.do(delete(VIP), create(real_server(port=1)))


@pytest.mark.parametrize("prefix", LOCAL[:1])
def test_a_local_route_is_enough_to_have_a_way(bare_host: Host, prefix: str) -> None:
    bare_host.do(create(virtual_service()), create(local_route(prefix)), create(real_server()))


def test_so_is_a_restored_route(bare_host: Host) -> None:
    bare_host.do(create(virtual_service()), create(dummy()))
    bare_host.do(update(replace(VIP, has_route=False), VIP), create(real_server()))


def test_setting_lo_up_is_enough_too(bare_host: Host) -> None:
    bare_host.do(create(virtual_service()))
    bare_host.set_link_up("lo")
    bare_host.do(create(real_server()))


@pytest.mark.parametrize("name", ["gitvs0", "all"])
def test_an_interface_may_have_ipv6_disabled(host: Host, name: str) -> None:
    host.do(*creates(dummy(), *BOTH, local_route("2001:db8:a::/64")))
    host.do(create(sysctl(f"net.ipv6.conf.{name}.disable_ipv6", "1")))
    host.lacks(VIP6)
    host.refuse(errno.EACCES, create(VIP6))
    host.refuse(errno.EACCES, update(replace(VIP6, has_route=False), VIP6))
    host.do(create(sysctl(f"net.ipv6.conf.{name}.disable_ipv6", "0")), create(VIP6))
    host.holds(*BOTH)


def test_a_new_interface_has_ipv6_disabled_where_that_is_the_default(host: Host) -> None:
    host.do(create(sysctl("net.ipv6.conf.default.disable_ipv6", "1")), create(dummy()))
    host.refuse(errno.EACCES, create(VIP6))
    host.do(create(VIP))

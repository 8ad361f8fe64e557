"""What only risk notes need to know of a host: its neighbours, its daemons, how it answers ARP."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from gitvs.core.model.observation import Observation, WildcardListener
from gitvs.core.model.resources import AddressFamily, Protocol
from tests.contract.host import Host
from tests.support.builders import sysctl

SSH = WildcardListener(Protocol.TCP, AddressFamily.IPV4, 22)
DNS = WildcardListener(Protocol.UDP, AddressFamily.IPV6, 53)


def surroundings(host: Host) -> Observation:
    return host.observe(replace(host.scope, includes_host_settings=True))


def test_the_prefixes_of_an_interface_are_those_with_neighbours(host: Host) -> None:
    addresses = ["192.0.2.7/24", "192.0.2.8/24", "198.51.100.1/32", "2001:db8:7::1/64"]
    host.add_link("up0", "dummy", addresses=[*addresses, "2001:db8:8::1/128"])
    found = host.observe().links["up0"].networks
    assert set(found) == {ip_network("192.0.2.0/24"), ip_network("2001:db8:7::/64")}
    assert len(found) == 2


def test_what_listens_on_every_address_is_read_where_it_is_wanted(host: Host) -> None:
    both = replace(DNS, family=AddressFamily.IPV4)
    host.listen(SSH, DNS, both)
    assert surroundings(host).wildcard_listeners == {SSH, DNS, both}
    assert host.observe().wildcard_listeners == frozenset()


def test_settings_of_interfaces_that_answer_arp_are_read_where_they_are_wanted(host: Host) -> None:
    host.add_link("up0", "bridge", addresses=["192.0.2.7/24"])
    name = "net.ipv4.conf.up0.arp_ignore"
    assert surroundings(host).state[sysctl(name).key] == sysctl(name, "0")
    assert sysctl("net.ipv4.ip_forward").key in surroundings(host).state
    assert sysctl(name).key not in host.state

"""What is read from files of the host: modules and names of kernel settings."""

from __future__ import annotations

import resource
import socket
from pathlib import Path

import pytest

from gitvs.adapters.linux.kernel import LinuxKernel, missing_schedulers
from gitvs.adapters.linux.listening_sockets import parse_wildcard_ports, read_wildcard_listeners
from gitvs.adapters.linux.sysctl import sysctl_path
from gitvs.core.errors import KernelUnreadable
from gitvs.core.model.observation import Scope
from gitvs.core.model.resources import Protocol, Scheduler

ALL_BUT_TWOS = "".join(
    f"kernel/net/netfilter/ipvs/ip_vs_{s}.ko.xz: kernel/net/netfilter/ipvs/ip_vs.ko.xz\n"
    for s in Scheduler
    if s is not Scheduler.TWOS
)


def modules(folder: Path, dep: str, builtin: str = "") -> Path:
    (folder / "modules.dep").write_text(dep)
    (folder / "modules.builtin").write_text(builtin)
    return folder


def test_a_scheduler_without_a_module_is_missing(tmp_path: Path) -> None:
    found = missing_schedulers(modules(tmp_path, ALL_BUT_TWOS), tmp_path / "loaded")
    assert found == {Scheduler.TWOS}


def test_a_scheduler_that_is_built_in_is_there(tmp_path: Path) -> None:
    builtin = "kernel/net/netfilter/ipvs/ip_vs_twos.ko\n"
    found = missing_schedulers(modules(tmp_path, ALL_BUT_TWOS, builtin), tmp_path / "loaded")
    assert found == set()


def test_a_scheduler_that_is_loaded_is_there(tmp_path: Path) -> None:
    (tmp_path / "loaded" / "ip_vs_twos").mkdir(parents=True)
    found = missing_schedulers(modules(tmp_path, ALL_BUT_TWOS), tmp_path / "loaded")
    assert found == set()


def test_without_lists_of_modules_nothing_is_claimed(tmp_path: Path) -> None:
    assert missing_schedulers(tmp_path / "none", tmp_path) == set()
    (tmp_path / "modules.dep").write_text("")
    assert missing_schedulers(tmp_path, tmp_path) == set()


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/100.forwarding", "/proc/sys/net/ipv4/conf/eth0.100/forwarding"),
    ],
)
def test_a_slash_in_a_sysctl_s_name_is_a_dot_in_its_file_s(name: str, path: str) -> None:
    assert sysctl_path(name) == Path(path)


@pytest.mark.parametrize("name", ["kernel.hostname", "net.//.kernel.hostname", "net..x", ""])
def test_only_what_is_below_net_is_a_sysctl_of_ours(name: str) -> None:
    with pytest.raises(FileNotFoundError):
        sysctl_path(name)


TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000  101  0 1 1 0 100 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000    0  0 2 1 0 100 0
   2: 0A00A8C0:C350 0B00A8C0:0016 01 00000000:00000000 00:00000000 00000000    0  0 3 1 0 100 0
"""
TABLE_OF_UDP6 = """\
  sl  local_address                         remote_address                        st tx_queue
   7: 00000000000000000000000000000000:0035 00000000000000000000000000000000:0000 07 00000000:0
   8: 00000000000000000000000000000000:9C40 B80D0120000000000000000001000000:0035 01 00000000:0
   9: B80D0120000000000000000001000000:007B 00000000000000000000000000000000:0000 07 00000000:0
"""


def test_only_sockets_on_every_address_that_wait_for_anybody_count() -> None:
    assert list(parse_wildcard_ports(TABLE.splitlines(), Protocol.TCP)) == [22]
    assert list(parse_wildcard_ports(TABLE_OF_UDP6.splitlines(), Protocol.UDP)) == [53]


def test_a_client_of_udp_is_no_daemon() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as client, socket.socket() as daemon:
        client.bind(("", 0))
        daemon.bind(("", 0))
        daemon.listen()
        client_port, daemon_port = client.getsockname()[1], daemon.getsockname()[1]
        found = {(x.protocol, x.port) for x in read_wildcard_listeners()}
    assert (Protocol.TCP, daemon_port) in found
    assert (Protocol.UDP, client_port) not in found


def test_connections_behind_what_listens_are_not_read() -> None:
    rows = iter([*TABLE.splitlines(), "never looked at"])
    assert list(parse_wildcard_ports(rows, Protocol.TCP)) == [22]
    assert next(rows) == "never looked at"


def test_without_a_socket_the_kernel_is_unreadable_and_nothing_worse() -> None:
    """An undo is tried again then; an error that nobody expects would end it half-way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(KernelUnreadable, match="EMFILE"):
            LinuxKernel("").observe(Scope())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

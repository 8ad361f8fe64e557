"""What is read from files of the host: modules and names of kernel settings."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from gitvs.adapters.linux_kernel import LinuxKernel, missing_schedulers
from gitvs.adapters.sysctl import path_of
from gitvs.core.errors import KernelUnreadable
from gitvs.core.model import Scheduler, Scope

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
    assert path_of(name) == Path(path)


@pytest.mark.parametrize("name", ["kernel.hostname", "net.//.kernel.hostname", "net..x", ""])
def test_only_what_is_below_net_is_a_sysctl_of_ours(name: str) -> None:
    with pytest.raises(FileNotFoundError):
        path_of(name)


def test_without_a_socket_the_kernel_is_unreadable_and_nothing_worse() -> None:
    """An undo is tried again then; an error that nobody expects would end it half-way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(KernelUnreadable, match="EMFILE"):
            LinuxKernel("").observe(Scope())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

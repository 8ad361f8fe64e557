"""The harness itself: a kernel test has real IPVS, and a namespace that nobody else has."""

from __future__ import annotations

import subprocess

import pytest

pytestmark = pytest.mark.kernel


def run(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.mark.parametrize("turn", ["first", "second"])
def test_each_test_has_an_ipvs_table_of_its_own(turn: str) -> None:
    assert run("ipvsadm", "-Sn") == ""
    run("ipvsadm", "-A", "-t", "192.0.2.1:80", "-s", "rr")
    assert run("ipvsadm", "-Sn") == "-A -t 192.0.2.1:80 -s rr\n"


@pytest.mark.parametrize("turn", ["first", "second"])
def test_each_test_has_links_and_names_of_its_own(turn: str) -> None:
    run("ip", "link", "add", "gitvs0", "type", "dummy")
    run("ip", "netns", "add", "lb1")
    assert run("ip", "netns", "list").split() == ["lb1"]

"""`gitvs observe` on a real kernel, before and after gitvs has been there."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from gitvs.report.host.observation_json import parse_observation
from tests.support.command_line import Gitvs, in_process
from tests.support.paths import EXAMPLES

pytestmark = pytest.mark.kernel

QUICKSTART = EXAMPLES / "quickstart"


@pytest.fixture(name="cli")
def fixture_cli(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Gitvs:
    monkeypatch.setenv("GITVS_STATE_DIR", str(tmp_path / "state"))
    return in_process(capsys)


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def make_foreign_objects() -> None:
    run("ip", "link", "add", "other0", "type", "dummy")
    run("ip", "addr", "add", "192.0.2.99/32", "dev", "other0")
    run("ipvsadm", "-A", "-t", "192.0.2.99:25", "-s", "rr")
    run("ipvsadm", "-a", "-t", "192.0.2.99:25", "-r", "127.0.0.1:25", "-m", "-w", "7")


def test_a_host_without_gitvs_has_foreign_objects_only(cli: Gitvs) -> None:
    make_foreign_objects()
    ran = cli("observe")
    assert (ran.code, ran.err) == (0, "")
    assert "nothing applied yet" in ran.out.splitlines()[0]
    assert "gitvs's" not in ran.out.splitlines()
    foreign = ran.out.partition("Foreign: not gitvs's, never touched\n")[2].splitlines()
    assert foreign == [
        "  dummy other0              DOWN",
        "  192.0.2.99/32 dev other0",
        "  tcp 192.0.2.99:25  scheduler rr",
        "    127.0.0.1:25  nat (local)  weight 7  0 active  0 inactive",
    ]


ODD_NAME, ODD_ALIAS = b"odd\xff\x1b", b"\xfe\x1b[31m\xc2\x9b\xe2\x80\xae\ngitvs:x"
SHOWN_NAME, SHOWN_ALIAS = r"odd\xff\u001b", r"\xfe\u001b[31m\u009b\u202e\u000agitvs:x"


def test_an_interface_with_an_odd_name_and_alias_is_shown_and_breaks_nothing(cli: Gitvs) -> None:
    subprocess.run([b"ip", b"link", b"add", ODD_NAME, b"type", b"dummy"], check=True)
    subprocess.run([b"ip", b"addr", b"add", b"192.0.2.98/32", b"dev", ODD_NAME], check=True)
    Path(os.fsdecode(b"/sys/class/net/" + ODD_NAME + b"/ifalias")).write_bytes(ODD_ALIAS)
    text, data = cli("observe").out, cli("observe", "--format", "json").out
    assert f"192.0.2.98/32 dev {SHOWN_NAME}" in text
    [link] = [x for x in json.loads(data)["links"] if x["name"].startswith("odd")]
    assert (link["name"], link["alias"]) == (SHOWN_NAME, SHOWN_ALIAS)
    assert all(c.isprintable() or c == "\n" for c in text + data)
    assert cli("plan", QUICKSTART, "--director", "lb-ams").code == 0
    assert cli("apply", QUICKSTART, "--director", "lb-ams").code == 0
    assert cli("teardown", "--yes").code == 0
    assert ODD_NAME in os.listdir(b"/sys/class/net"), "what is not gitvs's stays"


def test_observing_changes_nothing(cli: Gitvs, tmp_path: Path) -> None:
    before = run("ip", "-d", "addr"), run("ipvsadm", "-Sn")
    assert cli("observe").code == 0
    assert (run("ip", "-d", "addr"), run("ipvsadm", "-Sn")) == before
    assert not (tmp_path / "state").exists()


def test_what_was_applied_is_owned_and_is_what_render_prints(cli: Gitvs) -> None:
    make_foreign_objects()
    assert cli("apply", QUICKSTART, "--director", "lb-ams").code == 0
    wanted = cli("render", QUICKSTART, "--director", "lb-ams", "--format", "ipvsadm").out
    listed = [x for x in run("ipvsadm", "-Sn").splitlines() if "192.0.2.99" not in x]
    assert listed == [re.sub(r" -[xy] \d+", "", x) for x in wanted.splitlines()]
    text = cli("observe").out
    ours, theirs = text.index("gitvs's\n"), text.index("Foreign")
    assert ours < text.index("  tcp 203.0.113.10:443") < theirs < text.index("192.0.2.99:25")


def test_a_saved_observation_is_read_as_the_host_is(cli: Gitvs) -> None:
    make_foreign_objects()
    assert cli("apply", QUICKSTART, "--director", "lb-ams").code == 0
    seen = parse_observation(cli("observe", "--format", "json").out, "lb-ams.json")
    assert "tcp 192.0.2.99:25" in seen.observation.state
    assert "tcp 192.0.2.99:25" not in seen.owned_state()
    assert "tcp 203.0.113.10:443" in seen.owned_state()
    assert seen.applied is not None
    assert seen.applied.director == "lb-ams"

"""`gitvs status` and `gitvs history` on a real kernel, where no agent runs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from gitvs.core.manifests.schema import schema_for
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


def test_what_was_applied_by_hand_is_told_without_an_agent(cli: Gitvs) -> None:
    subprocess.run(["ipvsadm", "-A", "-t", "192.0.2.99:25", "-s", "rr"], check=True)
    assert cli("apply", QUICKSTART, "--director", "lb-ams").code == 0
    ran = cli("status", "--json")
    document = json.loads(ran.out)
    Draft202012Validator(schema_for("status")).validate(document)
    assert (ran.code, ran.err, document["director"]) == (0, "", "lb-ams")
    keys = [service["key"] for service in document["services"]]
    assert "tcp 203.0.113.10:443" in keys
    assert "tcp 192.0.2.99:25" not in keys
    assert all(service["realServers"] for service in document["services"])
    assert cli("status").out.startswith("lb-ams: no agent is running; a folder of manifests ")


def test_a_transaction_on_this_kernel_is_in_the_history_with_its_plan(cli: Gitvs) -> None:
    assert cli("apply", QUICKSTART, "--director", "lb-ams").code == 0
    assert cli("history").out.splitlines()[1].split()[3:4] == ["applied"]
    shown = cli("history", "show", 1).out
    assert "  +  tcp 203.0.113.10:443 " in shown
    assert shown.index("\nmake\n") < shown.index("\nbind\n")

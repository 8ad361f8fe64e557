"""What the README shows is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gitvs.adapters.service.settings_file import load_settings
from gitvs.cli import COMMANDS
from gitvs.core.errors import ExitCode
from gitvs.core.manifests.files import ManifestFile
from gitvs.core.manifests.load import load_manifest_files
from gitvs.core.manifests.render import render_director
from gitvs.core.manifests.schema import schema_for
from gitvs.core.model.resources import RealServer
from gitvs.core.planning.gates import LIFTABLE_GATES
from gitvs.core.settings import RemoteSettings
from tests.support.command_line import Gitvs, in_process
from tests.support.git.repositories import Repository
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The code blocks in a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def gitvs(capsys: pytest.CaptureFixture[str]) -> Gitvs:
    return in_process(capsys)


def test_its_manifests_are_sound() -> None:
    [text] = blocks("yaml")
    desired = render_director(
        load_manifest_files([ManifestFile("readme.yaml", text.encode())]), "lb1"
    )
    assert len(desired.state.of_type(RealServer)) == 3


def test_its_settings_are_sound(tmp_path: Path) -> None:
    text = "\n".join(blocks("toml"))
    (tmp_path / "gitvs.toml").write_text(text)
    settings = load_settings(tmp_path / "gitvs.toml")
    assert settings.director == "lb1"
    assert isinstance(settings.source, RemoteSettings)


def test_it_lists_every_command_gate_and_exit_code() -> None:
    rows = re.findall(r"^\| (`gitvs [^|]*)\|", README, re.MULTILINE)
    assert {c for row in rows for c in re.findall(r"`gitvs ([\w-]+)", row)} == set(COMMANDS)
    gates = set(re.findall(r"^\| `([a-z]+-[a-z-]+|conflict|unsupported)` \|", README, re.MULTILINE))
    assert gates == {*LIFTABLE_GATES, "conflict", "unsupported"}
    codes = {int(n) for n in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    assert codes == {int(code) for code in ExitCode}


def test_it_lists_every_setting() -> None:
    schema = schema_for("settings")["properties"]
    names = {
        f"{table}.{name}" if "properties" in field else table
        for table, field in schema.items()
        for name in field.get("properties", {"": None})
    }
    rows = re.findall(r"^\| (`[a-z_.]+`(?:, `[a-z_.]+`)*) \|", README, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`([a-z_.]+)`", row)}
    assert names <= listed


def test_its_preview_is_what_is_shown(tmp_path: Path, gitvs: Gitvs) -> None:
    [before] = blocks("yaml")
    after = before.replace("weight: 10}", "weight: 4}").replace(
        "{name: web2, address: 10.0.3.6}", "{name: web3, address: 10.0.3.7, weight: 6}"
    )
    repository = Repository(tmp_path)
    base = repository.commit({"manifests/web.yaml": before})
    repository.commit({"manifests/web.yaml": after})
    shown = gitvs("plan", tmp_path / "manifests", "--base", base, "--format", "markdown").out
    section = README.partition("\n## Previews in pull requests\n")[2].partition("\n## ")[0]
    excerpt = section.partition("reviewers read:\n\n")[2].partition("\n\nThe verdict")[0]
    lines = [line.removeprefix("    ") for line in excerpt.splitlines()]
    printed = iter(shown.splitlines())
    missing = [line for line in lines if line != "⋮" and line not in printed]
    assert lines
    assert missing == []


def test_its_links_lead_somewhere() -> None:
    assert all((ROOT / target).exists() for target in re.findall(r"\]\(([^)#:]+)\)", README))

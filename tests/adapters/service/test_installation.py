"""`gitvs install` and `uninstall` below a root of their own, and the units that they install."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

from gitvs.adapters.service import systemctl
from gitvs.adapters.service.installation import (
    DEFAULT_PROGRAM,
    DESTINATIONS,
    SERVICES,
    SETTINGS_PATH,
    InstallationError,
    check_program,
    read_shipped_file,
    running_program,
)
from gitvs.adapters.service.settings_file import load_settings
from gitvs.core.errors import ExitCode, SettingsError
from tests.support.command_line import Gitvs, in_process
from tests.support.paths import ROOT

AGENT = DESTINATIONS["gitvs.service"]


@pytest.fixture
def gitvs(capsys: pytest.CaptureFixture[str]) -> Gitvs:
    return in_process(capsys)


@pytest.fixture
def root(tmp_path: Path, gitvs: Gitvs) -> Path:
    """A root with gitvs installed."""
    folder = tmp_path / "root"
    done = gitvs("install", "--root", folder, "--yes")
    assert (done.code, done.err) == (0, "")
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_all_that_is_shipped_is_installed(root: Path) -> None:
    assert contents(root).keys() == {*DESTINATIONS.values(), SETTINGS_PATH}
    shipped_files = {str(p.relative_to(ROOT / "systemd")) for p in (ROOT / "systemd").rglob("*.*")}
    assert shipped_files - {p for p in shipped_files if (ROOT / "systemd" / p).is_dir()} == {
        *DESTINATIONS,
        "gitvs.toml",
    }


def test_everybody_may_read_what_is_installed_but_the_settings(root: Path) -> None:
    modes = {path: stat.S_IMODE((root / path).stat().st_mode) for path in contents(root)}
    assert modes == {**dict.fromkeys(DESTINATIONS.values(), 0o644), SETTINGS_PATH: 0o640}


def test_a_second_installation_has_nothing_to_do(root: Path, gitvs: Gitvs) -> None:
    before = contents(root)
    done = gitvs("install", "--root", root)  # and nothing to ask
    assert done.code == 0
    assert done.out.endswith("nothing to do\n")
    assert contents(root) == before


def test_a_dry_run_writes_nothing(tmp_path: Path, gitvs: Gitvs) -> None:
    done = gitvs("install", "--root", tmp_path, "--dry-run")
    assert (done.code, contents(tmp_path)) == (0, {})
    assert re.search(rf"create +{tmp_path / AGENT}", done.out)


def test_without_anybody_to_ask_nothing_is_installed(tmp_path: Path, gitvs: Gitvs) -> None:
    done = gitvs("install", "--root", tmp_path)
    assert (done.code, contents(tmp_path)) == (64, {})
    assert "--yes" in done.err


def test_what_an_earlier_version_installed_is_brought_up_to_date(root: Path, gitvs: Gitvs) -> None:
    now = contents(root)
    gitvs("install", "--root", root, "--yes", "--program", "/usr/bin/gitvs")
    assert "ExecStart=/usr/bin/gitvs agent\n" in contents(root)[AGENT]
    done = gitvs("install", "--root", root, "--yes")
    assert re.search(rf"update +{root / AGENT}", done.out)
    assert contents(root) == now


def test_what_was_edited_by_hand_is_left_alone_and_named(root: Path, gitvs: Gitvs) -> None:
    with (root / AGENT).open("a") as file:
        file.write("# mine\n")
    before = contents(root)
    done = gitvs("install", "--root", root, "--yes")
    assert f"keep: edited by hand  {root / AGENT}" in done.out
    assert "1 file edited by hand" in done.err
    assert contents(root) == before


@pytest.mark.parametrize("target", ["/dev/null", "/nowhere"])
def test_a_unit_masked_by_a_link_counts_as_edited(target: str, root: Path, gitvs: Gitvs) -> None:
    (root / AGENT).unlink()
    (root / AGENT).symlink_to(target)
    gitvs("install", "--root", root, "--yes")
    gitvs("uninstall", "--root", root, "--yes")
    assert (root / AGENT).readlink() == Path(target)


def test_force_goes_over_the_edits(root: Path, gitvs: Gitvs) -> None:
    before = contents(root)
    (root / AGENT).write_text("# mine\n")
    done = gitvs("install", "--root", root, "--yes", "--force")
    assert f"overwrite, though edited by hand  {root / AGENT}" in done.out
    assert contents(root) == before


def test_settings_that_are_there_are_never_touched(root: Path, gitvs: Gitvs) -> None:
    (root / SETTINGS_PATH).write_text("[source]\n")
    gitvs("install", "--root", root, "--yes", "--force")
    assert (root / SETTINGS_PATH).read_text() == "[source]\n"


def test_uninstall_removes_what_was_installed_and_nothing_else(root: Path, gitvs: Gitvs) -> None:
    drop_in = root / f"{AGENT}.d/mine.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\n")
    done = gitvs("uninstall", "--root", root, "--yes")
    assert (done.code, done.err) == (0, "")
    assert contents(root).keys() == {str(drop_in.relative_to(root)), SETTINGS_PATH}
    assert gitvs("uninstall", "--root", root).out == "nothing to do\n"


def test_uninstall_keeps_what_was_edited_by_hand_unless_forced(root: Path, gitvs: Gitvs) -> None:
    (root / AGENT).write_text("# mine\n")
    gitvs("uninstall", "--root", root, "--yes")
    assert contents(root) == {AGENT: "# mine\n", SETTINGS_PATH: (root / SETTINGS_PATH).read_text()}
    gitvs("uninstall", "--root", root, "--yes", "--force")
    assert contents(root).keys() == {SETTINGS_PATH}


def test_a_file_in_the_way_is_an_error_in_words(tmp_path: Path, gitvs: Gitvs) -> None:
    (tmp_path / "etc").write_text("")
    done = gitvs("install", "--root", tmp_path, "--yes")
    assert done.code == 1
    assert "Not a directory" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_it_takes_root(command: str, gitvs: Gitvs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = gitvs(command, "--yes")
    assert (done.code, done.err) == (
        1,
        "gitvs: this needs root; run it with sudo. Nothing was changed\n",
    )


def test_without_systemd_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InstallationError, match=r"systemctl, systemd-sysusers.* not found"):
        systemctl.require_tools()


@pytest.mark.parametrize("program", ["pytest", "/usr/bin/env", "/nowhere/gitvs"])
def test_only_the_installed_program_is_put_into_units(program: str) -> None:
    with pytest.raises(InstallationError, match="not the program gitvs"):
        running_program(program)


def test_a_program_that_others_cannot_reach_is_refused(tmp_path: Path) -> None:
    program = tmp_path / "gitvs"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    with pytest.raises(InstallationError, match=r"could not run .*/gitvs: "):
        check_program(program)  # below /tmp, which is another one in there


def test_a_program_that_is_closed_to_others_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitvs.adapters.service.installation._HIDDEN_FOLDERS", ())
    program = tmp_path / "gitvs"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    with pytest.raises(InstallationError, match="is not accessible to other users"):
        check_program(program)


def test_a_program_whose_path_a_unit_would_misread_is_refused() -> None:
    with pytest.raises(InstallationError, match="plain characters"):
        check_program(Path("/opt/git vs/%n/gitvs"))


def test_the_sample_settings_say_what_is_missing(root: Path) -> None:
    with pytest.raises(SettingsError, match=r"gitvs.toml:\d+: .*either url or directory"):
        load_settings(root / SETTINGS_PATH)


def test_what_waiting_does_not_cure_does_not_restart_the_agent() -> None:
    (line,) = re.findall(r"(?m)^RestartPreventExitStatus=(.*)$", read_shipped_file("gitvs.service"))
    assert {int(code) for code in line.split()} == {ExitCode.USAGE, ExitCode.SETTINGS}


def test_every_line_of_the_sample_settings_is_valid_when_taken_in(tmp_path: Path) -> None:
    lines = read_shipped_file("gitvs.toml").splitlines()
    text = "\n".join(re.sub(r"^# (?=\w+ = )", "", line) for line in lines)
    assert tomllib.loads(text)["source"]["branch"] == "main"
    (tmp_path / "gitvs.toml").write_text(text)
    assert load_settings(tmp_path / "gitvs.toml").director == "lb1"


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The shipped units, running a program that exists here."""
    for name in DESTINATIONS:
        if "/" not in name:
            text = read_shipped_file(name).replace(str(DEFAULT_PROGRAM), "/bin/true")
            (tmp_path / name).write_text(text)
    return tmp_path


def test_systemd_finds_nothing_wrong_in_the_units(units: Path) -> None:
    command = ["systemd-analyze", "verify", *sorted(map(str, units.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("service", SERVICES)
def test_the_sandbox_rates_2_or_better(service: str, units: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager"]
    done = subprocess.run(
        [*command, str(units / service)], capture_output=True, text=True, check=True
    )
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert exposure is not None, done.stdout
    assert float(exposure[1]) <= 2.0, done.stdout


def test_both_services_have_the_same_sandbox() -> None:
    agent, restore = (sandbox(read_shipped_file(name)) for name in SERVICES)
    assert agent == restore


def sandbox(unit: str) -> list[str]:
    """Return the settings from `User=` to the end of the section."""
    section = unit[unit.index("User=") : unit.index("[Install]")]
    return [line for line in section.splitlines() if line and not line.startswith("#")]

"""The command line as a whole: exit codes, messages, helps, and what is imported when."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import click
import pytest

import gitvs
from gitvs.adapters.service.installation import read_shipped_file
from gitvs.cli import COMMANDS, run
from gitvs.cli.schema import SCHEMA_KINDS
from gitvs.cli.shared.lazy_group import LazyCommand, LazyGroup
from gitvs.cli.shared.options import common_options, log_to_stderr, state_options
from gitvs.core.errors import ExitCode, GitvsError, LockHeld, SettingsError, UnexpectedPlan
from tests.support.command_line import Gitvs, in_child, in_process
from tests.support.paths import EXAMPLES

FAILURES: list[tuple[BaseException, int, str]] = [
    (GitvsError("it broke"), 1, "gitvs: it broke\n"),
    (LockHeld("process 7 holds it"), 1, "gitvs: process 7 holds it\n"),
    (UnexpectedPlan("another plan"), 5, "gitvs: another plan\n"),
    (KeyboardInterrupt(), 130, "\ngitvs: interrupted\n"),
    (click.Abort(), 130, "gitvs: interrupted\n"),
    (
        click.FileError("plan.json", "no space"),
        1,
        "Error: Could not open file 'plan.json': no space\n",
    ),
]


@pytest.fixture(name="cli")
def fixture_cli(capsys: pytest.CaptureFixture[str]) -> Gitvs:
    return in_process(capsys)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A command that does what it is told: raises, or returns an exit code."""
    told = SimpleNamespace(error=None, code=None)

    @click.command()
    @common_options
    def fail() -> int | None:
        if told.error is not None:
            raise told.error
        code: int | None = told.code
        return code

    monkeypatch.setattr(sys.modules[__name__], "fail", fail, raising=False)
    monkeypatch.setitem(COMMANDS, "fail", LazyCommand(f"{__name__}:fail", "Fail."))
    return told


@pytest.mark.parametrize(("error", "code", "message"), FAILURES)
def test_every_error_has_its_message_and_exit_code(
    cli: Gitvs, failing: SimpleNamespace, error: BaseException, code: int, message: str
) -> None:
    failing.error = error
    ran = cli("fail")
    assert (ran.code, ran.out, ran.err) == (code, "", message)


@pytest.mark.parametrize("code", [None, *ExitCode])
def test_a_command_returns_its_exit_code(
    cli: Gitvs, failing: SimpleNamespace, code: ExitCode | None
) -> None:
    failing.code = code
    assert cli("fail").code == (code or 0)


def test_anything_else_is_a_bug_and_shows_its_traceback(failing: SimpleNamespace) -> None:
    failing.error = ZeroDivisionError("bug")
    with pytest.raises(ZeroDivisionError):
        run(["fail"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["vaildate"], "vaildate is not a command; did you mean validate?"),
        (["frobnicate"], "frobnicate is not a command; there are validate, render, schema"),
        (["--frobnicate"], "No such option"),
        (["validate", "--format", "xml"], "'xml' is not one of 'text', 'json'"),
        (["validate", "a", "b"], "unexpected extra argument"),
        (["validate", "--rev"], "requires an argument"),
        (["schema", "Sevice"], "Sevice is not a kind of document; did you mean Service?"),
        ([], "Usage: gitvs"),
    ],
)
def test_wrong_usage_is_exit_64_and_says_what_is_wrong(
    cli: Gitvs, arguments: list[str], words: str
) -> None:
    ran = cli(*arguments)
    assert (ran.code, ran.out) == (64, "")
    assert words in ran.err


def test_the_version_is_the_packages(cli: Gitvs) -> None:
    assert cli("--version").out == f"gitvs {gitvs.__version__}\n"


def test_the_help_lists_every_command_and_exit_code(cli: Gitvs) -> None:
    ran = cli("--help")
    assert ran.code == 0
    for name, entry in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(entry.short_help)}$", ran.out, re.MULTILINE)
    assert all(re.search(rf"\b{int(code)}  ", ran.out) for code in ExitCode)


@pytest.mark.parametrize("name", list(COMMANDS))
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_a_help_with_examples(cli: Gitvs, name: str, option: str) -> None:
    ran = cli(name, option)
    assert ran.code == 0
    assert f"Usage: gitvs {name}" in ran.out
    examples = ran.out.partition("Examples:\n")[2].splitlines()
    assert examples[0].startswith(f"    gitvs {name}")


WITHOUT_STATE = {"validate", "render", "check", "schema", "install", "uninstall"}


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_takes_verbose_and_where_it_has_a_use_a_state_directory(
    cli: Gitvs, name: str
) -> None:
    text = cli(name, "--help").out
    assert "-v, --verbose" in text
    assert ("--state-dir DIR" in text) == (name not in WITHOUT_STATE)
    assert ("GITVS_STATE_DIR" in text) == (name not in WITHOUT_STATE)


def test_a_state_directory_is_accepted_where_it_means_nothing(cli: Gitvs, tmp_path: Path) -> None:
    assert cli("schema", "Pool", "--state-dir", tmp_path).code == 0


def test_the_kinds_are_listed_with_what_they_are_for(cli: Gitvs) -> None:
    lines = cli("schema").out.splitlines()
    assert [x.split()[0] for x in lines] == list(SCHEMA_KINDS)
    assert "Pool         Real servers that Services share" in lines
    assert all(len(x.split()) > 3 for x in lines)


def examples_in(name: str) -> list[list[str]]:
    """The example calls in a command's help, without what a shell or a reader adds to them."""
    command = LazyGroup(lazy=COMMANDS).get_command(click.Context(click.Command("gitvs")), name)
    assert command is not None
    lines = (command.help or "").partition("Examples:")[2].splitlines()
    calls = (x.strip() for x in lines if x.strip().startswith("gitvs "))
    return [shlex.split(re.split(r" {2,}| > ", x)[0])[2:] for x in calls]


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_examples_in_helps_are_calls_that_parse(name: str) -> None:
    command = LazyGroup(lazy=COMMANDS).get_command(click.Context(click.Command("gitvs")), name)
    assert command is not None
    assert examples_in(name)
    for arguments in examples_in(name):
        command.make_context(name, list(arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["validate", str(EXAMPLES / "quickstart")],
        ["render", str(EXAMPLES / "quickstart"), "--director", "lb-ams"],
        ["schema", "Service"],
        ["frobnicate"],
    ],
)
def test_a_command_that_needs_no_kernel_imports_nothing_of_it(arguments: list[str]) -> None:
    script = (
        "import json, sys\n"
        "from gitvs.cli import run\n"
        f"run({arguments!r})\n"
        "print('\\n' + json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    imported = set(json.loads(done.stdout.splitlines()[-1]))
    assert "click" in imported
    assert not imported & {"pyroute2", "sqlite3", "apscheduler", "prometheus_client", "watchdog"}


def test_help_imports_no_manifests_and_no_terminal_library() -> None:
    script = (
        "import sys\n"
        "from gitvs.cli import run\n"
        "run(['--help'])\n"
        "sys.exit(bool({'yaml', 'rich', 'git', 'jsonschema'} & sys.modules.keys()))\n"
    )
    assert subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [["schema", "Service"], ["validate", str(EXAMPLES / "quickstart"), "--format", "json"]],
    ids=["much", "little"],
)
def test_a_reader_that_goes_away_is_no_error_message(arguments: list[str]) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "from gitvs.cli import main; main()", *arguments],
        env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.close()
    _, err = child.communicate()
    assert (child.returncode, err) == (1, b"")


def test_an_output_without_our_letters_gets_escapes_not_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "é→.yaml").write_text("apiVersion: gitvs/v1\nkind: Sevice\n")
    for form in ("text", "json"):
        ran = in_child("validate", tmp_path, "--format", form, PYTHONIOENCODING="ascii")
        assert (ran.code, ran.err) == (
            4,
            "gitvs: 1 problem; more may follow once these are corrected\n",
        )
        assert "\\xe9\\u2192.yaml" in ran.out


@pytest.mark.parametrize(("flags", "level"), [([], None), (["-v"], "INFO"), (["-vv"], "DEBUG")])
def test_verbose_logs_to_standard_error(flags: list[str], level: str | None) -> None:
    script = (
        "import logging, sys, click\n"
        "from gitvs.cli import COMMANDS, run\n"
        "from gitvs.cli.shared.lazy_group import LazyCommand\n"
        "from gitvs.cli.shared.options import common_options\n"
        "@click.command()\n"
        "@common_options\n"
        "def speak():\n"
        "    for level in (10, 20, 30, 40, 50):\n"
        "        logging.getLogger('gitvs').log(level, 'spoken')\n"
        "COMMANDS['speak'] = LazyCommand('__main__:speak', 'Speak.')\n"
        f"sys.exit(run(['speak', *{flags!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    levels = [x.split()[2] for x in done.stderr.splitlines()]
    names = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
    assert levels == ([] if level is None else names[names.index(level) :])


def test_the_state_directory_comes_from_option_then_environment_then_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @click.command()
    @state_options
    def where(state_dir: object) -> str:
        return str(state_dir)

    def answer(*arguments: str) -> str:
        return str(where.main(list(arguments), standalone_mode=False))

    monkeypatch.delenv("GITVS_STATE_DIR", raising=False)
    assert answer() == "/var/lib/gitvs"
    monkeypatch.setenv("GITVS_STATE_DIR", "/tmp/lb1")
    assert answer() == "/tmp/lb1"
    assert answer("--state-dir", "/tmp/lb2") == "/tmp/lb2"


def test_commands_by_hand_use_the_state_folder_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    @state_options
    def where(state_dir: object) -> str:
        return str(state_dir)

    def answer(*arguments: str) -> str:
        return str(where.main(list(arguments), standalone_mode=False))

    settings = tmp_path / "gitvs.toml"
    monkeypatch.setattr("gitvs.cli.shared.options.DEFAULT_SETTINGS_FILE", settings)
    monkeypatch.delenv("GITVS_STATE_DIR", raising=False)
    assert answer() == "/var/lib/gitvs"
    settings.write_text('state_dir = "/srv/lb1"\n')
    assert answer() == "/srv/lb1"
    assert answer("--state-dir", "/tmp/lb2") == "/tmp/lb2"
    settings.write_text("state_dir =")
    with pytest.raises(SettingsError, match="Nothing was changed; give --state-dir"):
        answer()
    assert answer("--state-dir", "/tmp/lb2") == "/tmp/lb2"
    monkeypatch.setenv("GITVS_STATE_DIR", "/tmp/lb3")
    assert answer() == "/tmp/lb3"


def test_the_agent_does_not_start_on_the_sample_settings(cli: Gitvs, tmp_path: Path) -> None:
    settings = tmp_path / "gitvs.toml"
    settings.write_text(read_shipped_file("gitvs.toml"))
    ran = cli("agent", "--config", settings, "--state-dir", tmp_path / "state")
    assert (ran.code, ran.out) == (ExitCode.SETTINGS, "")
    assert "source: give either url or directory" in ran.err
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(("text", "seconds"), [("1d", 86400.0), ("90s", 90.0), ("2h", 7200.0)])
def test_a_time_may_be_in_days(text: str, seconds: float) -> None:
    command = LazyGroup(lazy=COMMANDS).get_command(click.Context(click.Command("gitvs")), "pause")
    assert command is not None
    assert command.make_context("pause", ["--for", text]).params["seconds"] == seconds


@pytest.mark.parametrize("more", ["--json", "--watch"])
def test_a_check_is_one_line_and_nothing_else(cli: Gitvs, tmp_path: Path, more: str) -> None:
    """No agent answers here, and the test may not read the kernel."""
    ran = cli("status", "--check", "--state-dir", tmp_path)
    assert (ran.code, ran.err) == (2, "")
    assert re.fullmatch(r"CRITICAL: .+\n", ran.out)
    ran = cli("status", "--check", more, "--state-dir", tmp_path)
    assert ran.code == ExitCode.USAGE
    assert "cannot be combined" in ran.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_state_directory_without_permission_is_no_wrong_usage() -> None:
    """The store says who may read it, with exit code 1."""

    @click.command()
    @state_options
    def where(state_dir: object) -> str:
        return str(state_dir)

    with TemporaryDirectory() as folder:  # root's, and closed to others
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setresuid(65534, 65534, 65534)
                where.main(["--state-dir", folder], standalone_mode=False)
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_python_m_gitvs_is_gitvs() -> None:
    command = [sys.executable, "-m", "gitvs"]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"gitvs {gitvs.__version__}\n"
    assert subprocess.run([*command, "nosuch"], capture_output=True).returncode == 64


def test_logging_can_be_called_for_twice() -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        log_to_stderr(1)
        log_to_stderr(2)
        assert len(root.handlers) == 1
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        ("> /dev/full", 1, "gitvs: standard output cannot be written: No space left on device\n"),
        (">&-", 0, ""),
        (">&- 2>&-", 0, ""),
    ],
)
def test_standard_output_may_be_full_or_closed(redirection: str, code: int, said: str) -> None:
    program = shlex.join([sys.executable, "-c", "from gitvs.cli import main; main()"])
    done = subprocess.run(
        ["sh", "-c", f"{program} schema Service {redirection}"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (code, said)


@pytest.mark.parametrize(
    "arguments",
    [
        *(("history", f"--limit={n}") for n in ("٣", "1_0", "0", "1e2")),
        *(("status", f"--watch={n}") for n in ("nan", "inf", "٢", "1e9", "0.01", "-1")),
    ],
)
def test_a_number_that_is_none_is_refused(cli: Gitvs, arguments: tuple[str, ...]) -> None:
    assert cli(*arguments).code == 64


@pytest.mark.parametrize(
    "command", [["status"], ["history"], ["observe"], ["backup", "x"], ["teardown", "--yes"]]
)
@pytest.mark.parametrize("name", ["a" * 5000, "usr/" + "a" * 300])
def test_a_state_folder_whose_name_is_too_long_is_one_line(
    capsys: pytest.CaptureFixture[str], command: list[str], name: str
) -> None:
    ran = in_process(capsys)(*command, "--state-dir", f"/{name}")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("gitvs: the state folder /")
    assert ran.err.endswith("… cannot be used: File name too long. Nothing was changed\n")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    "command", [["validate"], ["plan"], ["plan", "--base", "HEAD"], ["render"], ["apply"]]
)
def test_a_folder_that_was_deleted_is_named(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    ran = in_process(capsys)(*command)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == ("gitvs: .: the current folder was deleted; change to another one\n")

"""`gitvs history` and `gitvs status`, with a real store, with and without an agent."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import gitvs.cli.shared.host as host_module
import gitvs.cli.status as status_module
from gitvs.adapters.process.clock import SystemClock
from gitvs.adapters.service.control_socket import ControlServer, make_socket
from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.cli.shared.in_child_process import in_child_process
from gitvs.core.errors import GitvsError
from gitvs.core.manifests.schema import schema_for
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Outcome
from gitvs.core.model.ledger import Incarnation, Ledger
from gitvs.core.model.resource_json import JsonObject
from gitvs.core.model.state import State
from gitvs.core.planning.plan import build_plan, diff
from gitvs.core.settings import KEPT_PLANS
from gitvs.ports import Applied, Ports
from gitvs.reconcile.one_pass import reconcile
from gitvs.report.status.status_json import status_json
from tests.support import scenario
from tests.support.builders import dummy, endpoint, real_server, vip, virtual_service
from tests.support.command_line import Gitvs, in_process
from tests.support.memory.kernel import MemoryKernel
from tests.support.statuses import NOW, A, in_sync

HERE = Incarnation("boot", 1)
CHANGES = build_plan(diff(scenario.before().state, scenario.after().state)).changes


@pytest.fixture(name="cli")
def fixture_cli(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Gitvs:
    monkeypatch.setenv("GITVS_STATE_DIR", str(tmp_path))
    return in_process(capsys)


def test_a_state_folder_without_a_database_has_no_history(cli: Gitvs, tmp_path: Path) -> None:
    ran = cli("history", "--state-dir", tmp_path / "typo")
    assert (ran.code, ran.out) == (1, "")
    assert f"there is no database {tmp_path}/typo/gitvs.db" in ran.err
    assert list(tmp_path.iterdir()) == [], "nothing is made"


def record(folder: Path, number: int = 1, result: Outcome = Outcome.APPLIED) -> None:
    """Record transactions that ended, each with the same plan."""
    target = Applied(scenario.after(), A, NOW)
    with SqliteStore(folder) as store:
        for _ in range(number):
            transaction = store.begin(HERE, CHANGES, target)
            store.finish(transaction, result, Ledger(), "why it ended")


def test_transactions_are_listed_newest_first_up_to_a_limit(cli: Gitvs, tmp_path: Path) -> None:
    record(tmp_path, 25)
    listed = [x.split()[0] for x in cli("history").out.splitlines() if "aaaaaaaaaaaa" in x]
    assert listed == [str(n) for n in range(25, 5, -1)]
    few = json.loads(cli("history", "--limit", 3, "--json").out)
    Draft202012Validator(schema_for("history")).validate(few)
    assert [t["id"] for t in few["transactions"]] == [25, 24, 23]


def test_the_history_is_read_while_the_store_is_open_elsewhere(cli: Gitvs, tmp_path: Path) -> None:
    record(tmp_path)
    with SqliteStore(tmp_path):
        assert "aaaaaaaaaaaa" in cli("history").out


def test_one_transaction_is_shown_with_its_plan(cli: Gitvs, tmp_path: Path) -> None:
    record(tmp_path)
    text = cli("history", "show", 1).out
    assert text.startswith("transaction 1: applied\n")
    places = [text.index(f"{change.key}") for change in CHANGES]
    assert len(places) == len(CHANGES)
    found = json.loads(cli("history", "show", 1, "--json").out)
    Draft202012Validator(schema_for("transaction")).validate(found)
    assert [c["key"] for c in found["changes"]] == [c.key for c in CHANGES]


def test_an_old_plan_is_forgotten_and_called_so(cli: Gitvs, tmp_path: Path) -> None:
    record(tmp_path, KEPT_PLANS + 1)
    assert cli("history", "show", 1).out.endswith(
        f"the plan is forgotten: only the newest {KEPT_PLANS} are kept\n"
    )
    assert json.loads(cli("history", "show", 1, "--json").out)["changes"] is None
    assert "forgotten" not in cli("history", "show", 2).out


@pytest.mark.parametrize(
    "words",
    [
        ["show"],
        ["show", "x"],
        ["17"],
        ["show", "1", "2"],
        ["show", "-1"],
        ["show", "٣"],
        ["show", "9" * 5000],
    ],
)
def test_other_words_are_wrong_usage(cli: Gitvs, words: list[str]) -> None:
    ran = cli("history", *words)
    assert (ran.code, ran.out) == (64, "")


def test_a_transaction_that_there_never_was_is_an_error_with_a_way_out(
    cli: Gitvs, tmp_path: Path
) -> None:
    record(tmp_path)
    for before, after in (([], ["--state-dir", tmp_path]), (["--state-dir", tmp_path], [])):
        assert cli("history", *before, "show", 1, *after).out.startswith("transaction 1: ")
    assert "Usage: gitvs history show" in cli("history", "show", "--help").out
    ran = cli("history", "show", 99)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "gitvs: there is no transaction 99; `gitvs history` lists them\n"


def test_the_history_needs_no_kernel(tmp_path: Path) -> None:
    record(tmp_path)
    script = (
        "import sys\n"
        "from gitvs.cli import run\n"
        f"run(['history', '--state-dir', {str(tmp_path)!r}])\n"
        "sys.exit('pyroute2' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@contextmanager
def answering(folder: Path, document: JsonObject) -> Iterator[None]:
    """An agent that answers every request with a document."""
    server = ControlServer(make_socket(folder / "control.sock"), lambda request, peer: document)
    server.start()
    try:
        yield
    finally:
        server.stop()


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> MemoryKernel:
    """The kernel that our own look reads, where no agent answers."""
    made = MemoryKernel("gitvs:test")

    @contextmanager
    def reader(folder: Path) -> Iterator[Ports]:
        with SqliteStore.open_readonly(folder) as store:
            yield Ports(made, store, SystemClock())

    monkeypatch.setattr(host_module, "open_for_reading", reader)
    return made


def apply(folder: Path, kernel: MemoryKernel) -> None:
    """Bring two services of one real server each into force, with the VIP that they share."""
    services = [virtual_service(), virtual_service(endpoint(port=443))]
    servers = [real_server(s.listener) for s in services]
    desired = Desired("lb1", "gitvs0", State([*services, *servers, dummy(), vip()]))
    with SqliteStore(folder) as store:
        ports = Ports(kernel, store, SystemClock())
        assert reconcile(ports, Applied(desired, A, NOW)).outcome is Outcome.APPLIED


WATCH = ["status", "--watch", "0.1"]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="an agent refuses its own user, but root")


@as_root
def test_the_agents_word_is_passed_on(cli: Gitvs, tmp_path: Path) -> None:
    document = status_json(in_sync())
    with answering(tmp_path, document):
        ran = cli("status", "--json")
        text = cli("status")
    assert (ran.code, json.loads(ran.out)) == (0, document)
    assert text.out.startswith("lb1: in sync with aaaaaaaaaaaa (by Ada Lovelace, ")
    assert (text.code, text.err) == (0, "")


def test_without_an_agent_store_and_kernel_are_read(
    cli: Gitvs, kernel: MemoryKernel, tmp_path: Path
) -> None:
    apply(tmp_path, kernel)
    found = json.loads(cli("status", "--json").out)
    Draft202012Validator(schema_for("status")).validate(found)
    assert (found["startedAt"], found["applied"]["id"], found["last"]["result"]) == (
        None,
        A.id,
        "applied",
    )
    assert [s["key"] for s in found["services"]] == [
        "tcp 203.0.113.10:80",
        "tcp 203.0.113.10:443",
    ]
    assert found["vips"] == ["203.0.113.10/32 dev gitvs0"]
    first, *rest = cli("status").out.splitlines()
    assert first.startswith("lb1: no agent is running; aaaaaaaaaaaa ")
    assert any(line.startswith("last pass  applied ") for line in rest)


def test_a_host_that_never_had_gitvs_has_a_status_too(
    cli: Gitvs, kernel: MemoryKernel, tmp_path: Path
) -> None:
    ran = cli("status")
    assert ran.code == 0
    assert ran.out.startswith("this director: no agent is running; nothing applied\n")
    assert list(tmp_path.iterdir()) == []


def test_an_agent_that_may_not_be_asked_is_not_said_to_be_absent(
    cli: Gitvs, kernel: MemoryKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_module, "ANSWER_TIMEOUT_SECONDS", 0.1)
    with make_socket(tmp_path / "control.sock"):  # nobody accepts
        ran = cli("status")
    assert (ran.code, ran.out) == (1, "")
    assert "did not answer within 0.1 s" in ran.err


def test_json_is_not_watched(cli: Gitvs) -> None:
    assert cli("status", "--json", "--watch").code == 64


def test_watching_shows_again_and_ctrl_c_ends_it_well(
    cli: Gitvs, kernel: MemoryKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt

    apply(tmp_path, kernel)
    monkeypatch.setattr(time, "sleep", sleep)
    ran = cli("status", "--watch", "0.1")
    assert (ran.code, slept) == (0, [0.1] * 3)
    assert ran.out.count("lb1: no agent is running") == 3
    assert not re.search(r"\x1b|\t", ran.out)


@as_root
def test_on_a_terminal_it_is_watched_in_place_and_fits_its_width(tmp_path: Path) -> None:
    document = status_json(in_sync(director="a-very-long-name" * 10))
    script = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job of a shell ignores it
        f"from gitvs.cli import main; sys.argv[1:] = {WATCH!r}; main()"
    )
    terminal, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (20, 60))
    with answering(tmp_path, document):
        child = subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, "GITVS_STATE_DIR": str(tmp_path), "TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        written = b""
        while written.count(b"a-very-long-name") < 9:  # three times in each picture
            written += os.read(terminal, 4096)
        child.send_signal(signal.SIGINT)
        with suppress(OSError):  # it ends once its last picture is read
            while os.read(terminal, 4096):
                pass
        assert child.wait() == 0
    os.close(terminal)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written.decode(errors="replace"))
    assert "…" in text  # the name is one word, and too long
    assert "asked again" in text
    assert max(len(x) for x in re.split(r"[\r\n]+", text)) <= 60


def test_a_look_apart_brings_back_what_it_found_or_met() -> None:
    assert in_child_process(lambda: {"pid": os.getpid()})["pid"] != os.getpid()

    def fail() -> JsonObject:
        raise GitvsError("no IPVS here")

    with pytest.raises(GitvsError, match="no IPVS here"):
        in_child_process(fail)


def test_a_look_apart_that_meets_a_bug_shows_it(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> JsonObject:
        raise ZeroDivisionError("bug")

    with pytest.raises(GitvsError, match="without an answer"):
        in_child_process(fail)
    assert "ZeroDivisionError: bug" in capfd.readouterr().err

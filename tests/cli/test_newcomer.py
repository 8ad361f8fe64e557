"""The first hour of somebody new: the README's commands, and the mistakes that people make.

The kernel is in memory; Git, the store and the control socket are real.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

import gitvs.cli.shared.host as host_module
from gitvs.adapters.process.clock import SystemClock
from gitvs.adapters.service.installation import read_shipped_file
from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.core.model.observation import Scope
from gitvs.core.model.resources import VirtualService
from gitvs.ports import Ports
from tests.support.agents import Site, eventually, service, site
from tests.support.command_line import Gitvs, in_process
from tests.support.git.repositories import Repository
from tests.support.memory.kernel import MemoryKernel
from tests.support.paths import EXAMPLES


@pytest.fixture(name="gitvs")
def fixture_gitvs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Gitvs:
    monkeypatch.setenv("GITVS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("COLUMNS", raising=False)
    return in_process(capsys)


@pytest.fixture(name="kernel")
def fixture_kernel(monkeypatch: pytest.MonkeyPatch) -> MemoryKernel:
    """The kernel that commands read and write."""
    kernel = MemoryKernel("gitvs:test")

    def make_ports(store: SqliteStore) -> Ports:
        store.set_witness(kernel.write_witness)
        return Ports(kernel, store, SystemClock())

    monkeypatch.setattr(host_module, "make_ports", make_ports)
    monkeypatch.setattr(host_module, "become_writer", lambda state_dir: None)
    monkeypatch.setattr(host_module, "writer_lock", lambda: nullcontext(lambda: None))
    return kernel


@pytest.fixture(name="clone")
def fixture_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A clone of the manifests, in which somebody stands."""
    repository = Repository(tmp_path / "lb")
    shutil.copytree(EXAMPLES / "quickstart", repository.folder, dirs_exist_ok=True)
    repository.commit(message="Quickstart")
    monkeypatch.chdir(repository.folder)
    return repository


def services(kernel: MemoryKernel) -> list[VirtualService]:
    """The virtual services in the kernel."""
    return kernel.observe(Scope(frozenset({"gitvs0"}))).state.of_type(VirtualService)


@contextmanager
def agent(folder: Path) -> Iterator[Site]:
    """An agent that answers in the state folder of `folder`."""
    here = site(folder)
    with here.answering():
        eventually(lambda: here.weights() == [1, 1])
        yield here


def test_the_commands_of_the_readme_by_hand(
    gitvs: Gitvs, kernel: MemoryKernel, clone: Repository
) -> None:
    ran = gitvs("validate")
    assert (ran.code, ran.err) == (0, "")
    ran = gitvs("plan", "--director", "lb-ams")
    assert (ran.code, ran.err) == (0, "")
    assert "0 to delete, 0 to drain" in ran.out
    ran = gitvs("apply", "--director", "lb-ams", "--rev", "HEAD")
    assert (ran.code, ran.err) == (0, "applied, read back, and as planned\n")
    ran = gitvs("apply", "--director", "lb-ams", "--rev", "HEAD")
    assert (ran.code, ran.err) == (0, "nothing to do\n")
    ran = gitvs("status")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("lb-ams: no agent is running; ")
    assert gitvs("status", "--check").out.startswith("CRITICAL: lb-ams: no agent is running; ")
    (_, line) = gitvs("history").out.splitlines()
    assert re.search(r"^1 .* applied .* Quickstart$", line.strip())
    assert gitvs("history", "show", 1).out.startswith("transaction 1: applied\n")


def test_the_commands_of_the_readme_with_an_agent(gitvs: Gitvs, tmp_path: Path) -> None:
    with agent(tmp_path) as here:
        assert gitvs("status").out.startswith("lb1: in sync with ")
        assert gitvs("status", "--check").out.startswith("OK: lb1: in sync with ")
        here.push(service(weight=5), "Weigh them up")
        assert "is in force" in gitvs("sync").out
        ran = gitvs("drain", "s2", "--why", "disk errors")
        assert (ran.code, ran.err) == (0, "")
        assert ran.out == "s2 gets no new connections in 1 virtual service; none open\n"
        ran = gitvs("status", "--check")
        assert (ran.code, ran.out) == (1, "WARNING: lb1: drained by hand: s2\n")
        assert gitvs("undrain", "s2").out == (
            "s2 gets new connections again: weight 5, as Git says\n"
        )
        assert gitvs("pause", "--for", "1d", "--why", "moving racks").out.startswith("paused until")
        first_line = gitvs("status").out.splitlines()[0]
        assert re.match(r"lb1: PAUSED by .+, (1d|23h59m) left: moving racks", first_line)
        assert gitvs("resume").out == "pause ended\n"
        assert gitvs("standby").out.startswith("on standby: ")
        assert gitvs("active").out.startswith("active: ")
        ran = gitvs("rollback", "--why", "502s since noon")
        assert ran.code == 0
        assert re.match(r"commit [0-9a-f]{12} is in force, and pinned until ", ran.out)
        assert here.weights() == [1, 1]
        assert len(gitvs("history").out.splitlines()) > 5


def wrong(text: str, *more: str) -> str:
    """The manifests of one service, with a mistake."""
    head = (EXAMPLES / "quickstart" / "directors.yaml").read_text()
    lines = (
        "apiVersion: gitvs/v1\nkind: Service\nmetadata: {name: shop}\nspec:\n"
        "  vips: [203.0.113.99]\n  realServers: [{address: 10.1.0.99}]"
    )
    return "\n".join([head, "---", lines, text, *more, ""])


MISTAKES = [
    (["validate", "manifets"], 1, "manifets cannot be read: No such file or directory"),
    (["statsu"], 64, "did you mean status?"),
    (["plan", "--director", "lb-amz"], 4, "no Director document is named lb-amz; did you mean"),
    (["plan", "--director", "lb-ams", "--rev", "v9"], 1, "has no commit, branch or tag v9"),
    (["plan", "--base"], 64, "requires an argument"),
    (["schema", "Servcie"], 64, "did you mean Service?"),
    (["history", "show"], 64, "Missing argument 'ID'"),
    (["history", "17"], 64, "`gitvs history show ID`"),
    (["drain"], 64, "Missing argument 'SERVER'"),
    (["pause", "--for", "soon"], 64, "write a whole number and a unit, such as 90s, 5m, 2h or 1d"),
    (["sync"], 1, "no agent answers"),
    (["apply", "--director", "lb-ams", "--allow", "everything"], 64, "is not one of"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "words"), MISTAKES, ids=[" ".join(m[0]) for m in MISTAKES]
)
def test_a_wrong_command_says_what_to_write(
    gitvs: Gitvs,
    kernel: MemoryKernel,
    clone: Repository,
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    ran = gitvs(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err
    assert not services(kernel)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  ports: [{port: 80}]\n  shceduler: wrr", "did you mean scheduler?"),
        ("  ports: [80]", "spec.ports[0]"),
        ("  ports: [{port: 80}]\n  scheduler: leastconn", "spec.scheduler"),
        ("  ports: [{port: 80}]\n  drain: {timeout: 5 min}", "90s"),
        ("\tports: [{port: 80}]", "tab"),
    ],
)
def test_a_wrong_manifest_is_named_with_its_line(
    gitvs: Gitvs, clone: Repository, text: str, words: str
) -> None:
    clone.write({"directors.yaml": wrong(text)})
    ran = gitvs("validate")
    assert (ran.code, words in ran.out + ran.err) == (4, True), ran
    assert re.search(r"^directors\.yaml:\d+:\d+: ", ran.out + ran.err, re.MULTILINE)


def test_deleting_most_of_it_is_blocked(
    gitvs: Gitvs, kernel: MemoryKernel, clone: Repository
) -> None:
    gitvs("apply", "--director", "lb-ams", "--rev", "HEAD")
    before = services(kernel)
    for file in ("web.yaml", "dns.yaml", "mail.yaml"):
        (clone.folder / file).unlink()
    ran = gitvs("apply", "--director", "lb-ams")
    assert ran.code == 3
    assert "Blocked by" in ran.out
    assert "mass-removal" in ran.out
    assert services(kernel) == before != []


def test_the_agent_says_which_settings_are_missing(gitvs: Gitvs, tmp_path: Path) -> None:
    (tmp_path / "gitvs.toml").write_text(read_shipped_file("gitvs.toml"))
    ran = gitvs("agent", "--config", tmp_path / "gitvs.toml")
    assert (ran.code, ran.out) == (78, "")
    assert "give either url or directory" in ran.err


def test_orders_that_mean_nothing_are_answered(gitvs: Gitvs, tmp_path: Path) -> None:
    with agent(tmp_path) as here:
        for arguments, words in (
            (["drain", "s22"], "s22 is no real server here. Did you mean s2?"),
            (["undrain", "s2"], "s2 is not drained by hand; drained are: none"),
            (["resume"], "nothing to resume: neither paused nor pinned"),
            (["active"], "not on standby by hand: nothing to end"),
            (["rollback", "main"], "`gitvs history` lists the commits"),
            (["accept-rewrite", "main"], "main"),
        ):
            ran = gitvs(*arguments)
            assert (ran.code, ran.out) == (1, ""), arguments
            assert words in ran.err
        assert here.weights() == [1, 1]

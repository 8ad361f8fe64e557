"""What each command imports: what it always needs, and nothing that only others need."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from gitvs.cli import COMMANDS
from tests.support.paths import EXAMPLES

KERNEL, STORE, GIT = "pyroute2", "sqlite3", "git"
MANIFESTS = frozenset({"yaml", "jsonschema"})
DAEMON = frozenset({"apscheduler", "watchdog", "prometheus_client"})
HEAVY = frozenset({KERNEL, STORE, GIT}) | MANIFESTS | DAEMON
HOST = frozenset({STORE}) | MANIFESTS
"""With the judge of the settings file, and YAML for observations.

The library for the kernel comes with the first link, address or route that is written.
"""

NEEDED = {
    "agent": HEAVY - {KERNEL},
    "apply": HOST | {GIT},
    "observe": HOST,
    "restore": HOST,
    "teardown": HOST,
    "backup": frozenset({STORE}),
    "history": frozenset({STORE}),
    "plan": MANIFESTS | {GIT},
    "render": MANIFESTS,
    "check": MANIFESTS,
    "validate": MANIFESTS,
    "schema": frozenset({"jsonschema"}),
}
"""Every other command asks the agent, or works on files of the host."""

COUNT_PROGRAMS = """
import json, sys
started = []
sys.addaudithook(
    lambda event, args: started.append(str(args[0]))
    if event in ("subprocess.Popen", "os.posix_spawn", "os.exec", "os.system")
    else None
)
"""
REPORT = "print(json.dumps([sorted(sys.modules), started]))"

ASKING = [
    "accept-rewrite",
    "active",
    "drain",
    "pause",
    "resume",
    "rollback",
    "standby",
    "status",
    "sync",
    "undrain",
]
"""The commands that an agent answers."""
WORK = (
    "gitvs.ports",
    "gitvs.core.manifests",
    "gitvs.core.planning.plan",
    "gitvs.reconcile",
    "gitvs.adapters.linux",
    "gitvs.adapters.store",
)
"""What the agent has done for them."""


@dataclass(frozen=True)
class Ran:
    imported: frozenset[str]
    """The heavy libraries among the modules."""
    programs: list[str]
    modules: tuple[str, ...]
    output: str

    @property
    def work(self) -> list[str]:
        """The modules that do the agent's work."""
        return [module for module in self.modules if module.startswith(WORK)]


def python(code: str) -> Ran:
    """Run code in a process of its own; which heavy modules it imports, and what it starts."""
    command = [sys.executable, "-c", f"{COUNT_PROGRAMS}\n{code}\n{REPORT}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    output, _, report = done.stdout.rstrip("\n").rpartition("\n")
    modules, programs = json.loads(report)
    heavy = HEAVY & {m.partition(".")[0] for m in modules}
    return Ran(heavy, programs, tuple(modules), output)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_command_imports_what_it_needs_and_nothing_else(name: str) -> None:
    ran = python(f"import {COMMANDS[name].import_path.partition(':')[0]}")
    assert ran.imported <= NEEDED.get(name, frozenset())


def test_a_restore_starts_no_program_and_imports_neither_git_nor_the_loader() -> None:
    ran = python("import gitvs.cli.restore")
    assert (ran.programs, ran.imported & (DAEMON | {GIT})) == ([], set())
    assert "gitvs.core.manifests.load_run" not in ran.modules


def test_a_status_that_the_agent_answers_loads_neither_kernel_nor_store(tmp_path: Path) -> None:
    ran = python(
        "import threading\n"
        "from pathlib import Path\n"
        "from gitvs.adapters.service.control_socket import make_socket\n"
        "from gitvs.cli import run\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "listener = make_socket(folder / 'control.sock')\n"
        "def answer():\n"
        "    connection, _ = listener.accept()\n"
        '    connection.sendall(b\'{"ok": true, "result": {"verdict": 1}}\\n\')\n'
        "    connection.close()\n"
        "threading.Thread(target=answer).start()\n"
        "assert run(['status', '--json', '--state-dir', str(folder)]) == 0\n"
    )
    assert (ran.imported, ran.programs, ran.work) == (set(), [], [])


@pytest.mark.parametrize("name", ASKING)
def test_a_command_that_asks_the_agent_imports_nothing_that_does_the_agents_work(
    name: str,
) -> None:
    assert python(f"import {COMMANDS[name].import_path.partition(':')[0]}").work == []


def test_a_name_is_completed_without_importing_a_command() -> None:
    """click calls `sys.exit` once it has completed."""
    code = (
        "import os\n"
        "from contextlib import suppress\n"
        "from gitvs.cli import run\n"
        "os.environ |= {'_GITVS_COMPLETE': 'bash_complete', 'COMP_WORDS': 'gitvs s',"
        " 'COMP_CWORD': '1'}\n"
        "with suppress(SystemExit):\n    run([])\n"
    )
    ran = python(code)
    commands = {command.import_path.partition(":")[0] for command in COMMANDS.values()}
    assert commands & set(ran.modules) == set()
    assert ran.output.split() == ["plain,schema", "plain,status", "plain,sync", "plain,standby"]


def test_manifests_of_a_folder_are_read_without_git() -> None:
    ran = python(f"from gitvs.cli import run\nrun(['validate', {str(EXAMPLES / 'quickstart')!r}])")
    assert (ran.imported, ran.programs) == (MANIFESTS, [])

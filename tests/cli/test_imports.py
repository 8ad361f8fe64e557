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
HOST = frozenset({KERNEL, STORE}) | MANIFESTS
"""With manifests: the settings file, and the settings that directors have by default."""

NEEDED = {
    "agent": HEAVY,
    "apply": HOST | {GIT},
    "observe": HOST,
    "restore": HOST,
    "teardown": HOST,
    "backup": frozenset({STORE}),
    "history": frozenset({STORE}),
    "plan": MANIFESTS | {GIT},
    "render": MANIFESTS,
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
REPORT = "print(json.dumps([sorted({m.partition('.')[0] for m in sys.modules}), started]))"


@dataclass(frozen=True)
class Ran:
    imported: frozenset[str]
    programs: list[str]


def python(code: str) -> Ran:
    """Run code in a process of its own; which heavy modules it imports, and what it starts."""
    command = [sys.executable, "-c", f"{COUNT_PROGRAMS}\n{code}\n{REPORT}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    modules, programs = json.loads(done.stdout.splitlines()[-1])
    return Ran(HEAVY & set(modules), programs)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_command_imports_what_it_needs_and_nothing_else(name: str) -> None:
    ran = python(f"import {COMMANDS[name].import_path.partition(':')[0]}")
    assert ran.imported <= NEEDED.get(name, frozenset())


def test_a_restore_starts_no_program_and_imports_no_git() -> None:
    ran = python("import gitvs.cli.restore")
    assert (ran.programs, ran.imported & (DAEMON | {GIT})) == ([], set())


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
    assert (ran.imported, ran.programs) == (set(), [])


def test_manifests_of_a_folder_are_read_without_git() -> None:
    ran = python(f"from gitvs.cli import run\nrun(['validate', {str(EXAMPLES / 'quickstart')!r}])")
    assert (ran.imported, ran.programs) == (MANIFESTS, [])

"""All measurements that take a kernel, in the guest: `python -m tests.bench.guest FOLDER PARTS…`.

Sizes in rising order, and before them the peers with a small one that nobody counts: the kernel
loads once what it needs. Everything is measured once, for counts don't vary, and each time in a
new network namespace. What was measured is in FOLDER at once, so that a crash loses nothing.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import peers
from tests.bench.agent import Agent
from tests.bench.load import Load, ipvsadm_text, make_load
from tests.bench.meter import Group
from tests.bench.peers import Keepalived
from tests.bench.samples import Recorder, Row, Who
from tests.bench.tasks import TASKS

MEMORY = Path("/run/bench")
WARM_UP_SERVICES = 10
FOREIGN_ROUTES_PER_SERVICE = 20
"""With 10,000 services they are the 200,000 routes of a director that has BGP."""

FIRST_NEW_WEIGHT = 101
"""No real server of a load has it."""

_FIRST_FOREIGN_ROUTE = int(IPv4Address("100.64.0.0"))


def main(folder: Path, parts: Sequence[str], sizes: Sequence[int]) -> None:
    """Measure parts at each size."""
    MEMORY.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=MEMORY) as discarded:
        _measure(("ipvsadm", "keepalived"), WARM_UP_SERVICES, Path(discarded))
    for size in sizes:
        _measure(parts, size, folder)


def _measure(parts: Sequence[str], size: int, folder: Path) -> None:
    recorder, load = Recorder(folder, size, run=1), make_load(size)
    for name in parts:
        with recorder.part(name), TemporaryDirectory(dir=MEMORY) as memory:
            PARTS[name](load, recorder, Path(memory))


def measure_ipvsadm(load: Load, recorder: Recorder, folder: Path) -> None:
    """Have ipvsadm write the table, and print it."""
    rules = folder / "rules"
    rules.write_text(ipvsadm_text(load))
    peers.renew()
    recorder.add_cost(Row.APPLY, Who.IPVSADM, peers.restore(rules))
    _check(load)
    recorder.add_cost(Row.OBSERVE, Who.IPVSADM, peers.save())


def measure_keepalived(load: Load, recorder: Recorder, folder: Path) -> None:
    """Have keepalived write the table, and then another weight."""
    peers.renew()
    with Keepalived(folder / "keepalived") as keepalived:
        recorder.add_cost(Row.APPLY, Who.KEEPALIVED, keepalived.start(load))
        _check(load)
        after = load.reweighed(FIRST_NEW_WEIGHT)
        recorder.add_cost(Row.CHANGE, Who.KEEPALIVED, keepalived.reload(after))
        _check(after)


def measure_apply(load: Load, recorder: Recorder, folder: Path) -> None:
    """Have gitvs write the table and read it, without and with routes of others."""
    peers.renew()
    _run_task("apply", recorder, folder)
    _check(load)
    _run_task("observe", recorder, folder)
    _add_foreign_routes(FOREIGN_ROUTES_PER_SERVICE * recorder.services, folder)
    _run_task("foreign_routes", recorder, folder)


def measure_transaction(task: str, load: Load, recorder: Recorder, folder: Path) -> None:
    """Have gitvs do a whole pass."""
    peers.renew()
    _run_task(task, recorder, folder)
    _check(load)


def measure_agent(load: Load, recorder: Recorder, folder: Path) -> None:
    """Start an agent that has nothing, change one real server, and boot."""
    peers.renew()
    with Group("agent") as group:
        recorder.say("starting the agent")
        agent = Agent(folder, folder / "state", load, group=group)
        try:
            after = _measure_running_agent(agent, load, recorder)
        finally:
            agent.stop()
    peers.renew()
    with Group("restore") as group:
        recorder.add_cost(Row.BOOT, Who.GITVS, group.run(agent.command("restore")))
    _check(after)


def _measure_running_agent(agent: Agent, load: Load, recorder: Recorder) -> Load:
    """Return the load that it has applied at the end; the first change is not counted."""
    assert agent.start_cost is not None
    recorder.add_cost(Row.COMMIT, Who.GITVS, agent.start_cost)
    _check(load)
    agent.change(load.reweighed(FIRST_NEW_WEIGHT))
    after = load.reweighed(FIRST_NEW_WEIGHT + 1)
    recorder.add_cost(Row.CHANGE, Who.GITVS, agent.change(after))
    _check(after)
    recorder.add_cost(Row.DRIFT, Who.GITVS, agent.drift_pass())
    with Group("status") as group:
        recorder.add_cost(Row.STATUS, Who.GITVS, group.run(agent.command("status")))
    for row, value in zip((Row.MEMORY, Row.PEAK), agent.megabytes(), strict=True):
        recorder.add(row, Who.GITVS, value)
    return after


PARTS: dict[str, Callable[[Load, Recorder, Path], None]] = {
    "ipvsadm": measure_ipvsadm,
    "keepalived": measure_keepalived,
    "apply": measure_apply,
    "transaction": partial(measure_transaction, "transaction"),
    "agent": measure_agent,
    "bound_vips": partial(measure_transaction, "bound_vips"),
}


def _run_task(task: str, recorder: Recorder, folder: Path) -> None:
    assert task in TASKS, task
    arguments = (str(recorder.folder), str(recorder.services), task, str(folder / "state"))
    subprocess.run([sys.executable, "-m", "tests.bench.tasks", *arguments], check=True)


def _add_foreign_routes(count: int, folder: Path) -> None:
    """Add routes as a routing daemon has them."""
    batch = folder / "routes"
    targets = (IPv4Address(_FIRST_FOREIGN_ROUTE + number) for number in range(count))
    batch.write_text("".join(f"route add {t} dev other proto static\n" for t in targets))
    for arguments in ("link add other type dummy", "link set other up", f"-batch {batch}"):
        subprocess.run(["ip", *arguments.split()], check=True)


def _check(load: Load) -> None:
    """Compare the kernel's table with a load."""
    assert peers.saved_lines() == sorted(ipvsadm_text(load).splitlines()), "another table"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].split(","), [int(size) for size in sys.argv[3:]])

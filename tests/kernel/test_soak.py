"""The soak: a real agent follows a real remote through everything at once, under traffic.

In `make test` it is short; `make soak` plays 200 commits, with a seed of its own each time.
The seed is printed, and with GITVS_SOAK_SEED and GITVS_SOAK_COMMITS the script is the same
again: `tests/support/soak.py` writes it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import Any

import pytest

from gitvs.adapters.linux.kernel import LinuxKernel
from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.cli import agent as _agent  # noqa: F401  # loaded before it is forked, not after
from gitvs.cli import run as gitvs
from gitvs.core.errors import AgentUnreachable, ControlFailed, ExitCode
from gitvs.core.manifests.files import ManifestFile
from gitvs.core.manifests.load import load_manifest_files
from gitvs.core.manifests.render import render_director
from gitvs.core.model.desired import Desired
from gitvs.core.model.resources import Key, Resource, Sysctl, Timeout
from gitvs.core.planning.overlay import with_fallback_flags
from gitvs.core.planning.ownership import OWNER_ALIAS_PREFIX, scope_of
from tests.harness.lab import Lab, run, run_batch
from tests.harness.processes import die_with_parent, fork_child
from tests.harness.traffic import Connection, Flood, FloodReport
from tests.kernel.agent_process import Host
from tests.support.soak import (
    FIRST,
    INTERFACE,
    STEADY_PORT,
    STEADY_VIP,
    Deed,
    Mishap,
    Push,
    Step,
    script,
)

COMMITS = int(os.environ.get("GITVS_SOAK_COMMITS") or 12)
SEED = os.environ.get("GITVS_SOAK_SEED")
IS_LONG = "GITVS_SOAK_COMMITS" in os.environ
SHORT_SEED = 3
PATIENCE_SECONDS = 60.0
AIM_SECONDS = 4.0
ATTEMPTS_PER_SECOND = 5
"""Few: on one slow processor, clients and director share the time."""
JUDGED = {
    Push.INVALID: {ExitCode.INVALID},
    Push.REFUSED: {ExitCode.ROLLED_BACK, ExitCode.ERROR},  # then quarantined
    Push.BLOCKED: {ExitCode.BLOCKED},
}
FOREIGN_VIP = "203.0.113.99"

MAX_GROWTH_MEGABYTES = 48
"""What the agent may have more at the end than after its first commit."""
MAX_GROWTH_DESCRIPTORS = 8
MAX_GROWTH_THREADS = 4
MAX_DATABASE_MEGABYTES = 8
MAX_LOG_LINES_A_CYCLE = 6


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(real_servers=4) as lab:
        lab.serve(80)
        yield lab


@pytest.mark.kernel(timeout_seconds=120 + PATIENCE_SECONDS * COMMITS)
def test_nothing_is_lost_in_a_soak(lab: Lab, tmp_path: Path) -> None:
    seed = int(SEED) if SEED else SystemRandom().randrange(10**6) if IS_LONG else SHORT_SEED
    print(f"again: GITVS_SOAK_SEED={seed} GITVS_SOAK_COMMITS={COMMITS}")
    soak = Soak(lab, Host(tmp_path, {"all.yaml": FIRST.text()}))
    try:
        soak.play(script(seed, COMMITS))
    finally:
        soak.kill()
        print(soak.host.log.read_text()[-20_000:])


def eventually(check: Callable[[], bool], what: str) -> None:
    """Wait until something holds.

    Raises: AssertionError if it does not come about.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not check():
        assert time.monotonic() < deadline, f"it never came about: {what}"
        time.sleep(0.1)


@dataclass(frozen=True, slots=True)
class Resources:
    """What a process holds: resident memory in MB, open descriptors, threads."""

    megabytes: float
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Resources:
        """Read what a process holds. Source: proc(5), /proc/pid/status."""
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(re.findall(r"^(VmRSS|Threads):\s+(\d+)", status, re.MULTILINE))
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return cls(int(fields["VmRSS"]) / 1024, descriptors, int(fields["Threads"]))


@dataclass
class Soak:
    """One soak at work."""

    lab: Lab
    host: Host
    good: set[str] = field(default_factory=set)
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._agent: int | None = None
        self._flood: Flood | None = None
        self._head = self.host.remote.git("rev-parse", "HEAD")
        self._is_good, self._push = True, Push.VALID
        self.good.add(self._head)
        self._others = Others(self.lab)

    def play(self, steps: list[Step]) -> None:
        """Play a script, and look at what is left."""
        untouched = self._others.snapshot()
        self._start()
        self._wait_until_judged()
        self._at_first = self._resources()
        self._flood = self.lab.flood(STEADY_VIP, STEADY_PORT, rate=ATTEMPTS_PER_SECOND)
        clients = [self.lab.connect(STEADY_VIP, STEADY_PORT) for _ in range(4)]
        clients.append(self.lab.connect(FOREIGN_VIP, 80))
        servers = [client.ask() for client in clients]
        for number, step in enumerate(steps):
            print(f"{number} {time.monotonic():.1f} {step}", flush=True)
            self._step(step)
            assert [client.ask() for client in clients] == servers
            assert not step.is_awaited or self._others.snapshot() == untouched
        self._end(next(s for s in reversed(steps) if s.is_good), clients, servers)
        assert self._others.snapshot() == untouched

    def _step(self, step: Step) -> None:
        if step.push is Push.REWRITE:
            self._rewrite(step)
        else:
            self._commit(step)
        began_at = time.monotonic()
        for deed in sorted(step.deeds, key=lambda d: d.after_seconds):
            time.sleep(max(0.0, began_at + deed.after_seconds - time.monotonic()))
            self._do(deed)
        time.sleep(step.pause_seconds)
        if step.is_awaited:
            self._wait_until_judged()

    # What people do

    def _commit(self, step: Step) -> None:
        self._head = self.host.remote.commit({"all.yaml": step.text}, step.message)
        self._is_good, self._push = step.is_good, step.push
        if step.is_good:
            self.good.add(self._head)

    def _rewrite(self, step: Step) -> None:
        """Rewrite what the director has accepted: refused, until a person accepts it."""
        self._wait_until_judged()
        before = self._status()["applied"]["id"]
        self.host.remote.git("reset", "--quiet", "--hard", f"HEAD~{step.dropped}")
        self._commit(step)
        self._have(self._is_rewrite_refused, "a rewritten branch is refused")
        status = self._status()
        assert status["applied"]["id"] == before
        self.host.order("accept-rewrite", subject=self._head)
        self._wait_until_judged()

    def _is_rewrite_refused(self) -> bool:
        self.host.order("sync")
        refused = f"its head {self._head[:12]} does not descend"
        return refused in (self._status()["source"]["error"] or "")

    def _do(self, deed: Deed) -> None:
        match deed.mishap:
            case Mishap.KILL:
                if deed.is_aimed:
                    self._wait_for_transaction()
                self.kill()
                time.sleep(deed.lasts_seconds)
                self._start()
            case Mishap.DRIFT:
                done = subprocess.run(deed.command, capture_output=True)
                self.seen["drift"] += done.returncode == 0
            case Mishap.REMOTE_AWAY:
                self._remote_goes()
            case Mishap.LINK_GONE:
                self._delete_link(deed)
            case Mishap.SICK:
                self._switch_ipv6(is_on=False)

    def _remote_goes(self) -> None:
        """Move the remote away: people go on, and the director cannot know."""
        remote = self.host.remote
        if remote.folder.name != "away":
            remote.folder = remote.folder.rename(remote.folder.with_name("away"))

    def _remote_comes(self) -> None:
        remote = self.host.remote
        if remote.folder.name == "away":
            remote.folder = remote.folder.rename(remote.folder.with_name("remote"))

    def _switch_ipv6(self, is_on: bool) -> None:
        """Switch IPv6 on the interface; while it is off, no IPv6 VIP can be repaired."""
        setting = Path("/proc/sys/net/ipv6/conf", INTERFACE, "disable_ipv6")
        if setting.exists():
            setting.write_text("0" if is_on else "1")

    def _delete_link(self, deed: Deed) -> None:
        """Take every VIP away for a moment: open connections live, nobody connects meanwhile."""
        assert self._flood is not None
        self._flood.pause()
        subprocess.run(deed.command, capture_output=True)
        self._have(self._is_bound, "the VIP is bound again")
        self._flood.resume()

    def _is_bound(self) -> bool:
        return f"{STEADY_VIP}/32 scope global {INTERFACE}" in run("ip", "address", "show")

    # The agent

    def _start(self) -> None:
        """Start the agent, forked from this warm process: Python takes seconds to start here."""
        self._agent = fork_child(self._work)

    def _work(self) -> None:
        die_with_parent()
        warnings.simplefilter("default")
        log = os.open(self.host.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.closerange(3, 4096)  # what this process has open is not the agent's
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        os._exit(gitvs(["agent", "--config", str(self.host.config)]))

    def kill(self) -> None:
        """Kill the agent, amid whatever it does; its children go on."""
        if self._agent is not None:
            os.kill(self._agent, signal.SIGKILL)
            status = os.waitpid(self._agent, 0)[1]
            self._agent = None
            assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, "it had ended by itself"
            self.seen["kill -9"] += 1

    def _wait_for_transaction(self) -> None:
        """Wait until a transaction is under way, or long enough."""
        deadline = time.monotonic() + AIM_SECONDS
        incarnation = LinuxKernel("").incarnation()
        with SqliteStore.open_readonly(self.host.state_dir) as store:
            while store.open_transaction(incarnation) is None and time.monotonic() < deadline:
                time.sleep(0.005)

    def _status(self) -> Any:
        status = self.host.order("status")
        assert status["applied"]["id"] in self.good, "only what is good is ever in force"
        return status

    def _have(self, check: Callable[[], bool], what: str) -> None:
        """Wait until something holds, while the agent may still be starting."""

        def holds() -> bool:
            try:
                return check()
            except (AgentUnreachable, ControlFailed):
                return False

        eventually(holds, what)

    def _wait_until_judged(self) -> None:
        """Wait until the newest commit is in force, or refused for what it is."""
        self._remote_comes()
        self._switch_ipv6(is_on=True)
        self._have(self._is_judged, f"{self._push} is judged: {self._head}")

    def _is_judged(self) -> bool:
        code = self.host.order("sync")["exitCode"]
        status = self._status()
        is_in_force = status["applied"]["id"] == self._head
        if (status["source"]["head"] or {}).get("id") != self._head:
            return False
        if self._is_good:
            return is_in_force and code == ExitCode.DONE
        assert not is_in_force
        return bool(code in JUDGED.get(self._push, {code}) and code != ExitCode.DONE)

    # The end

    def _end(self, last_good: Step, clients: list[Connection], servers: list[str]) -> None:
        """Let drains end, stop, and compare with what the last good commit says."""
        eventually(lambda: not self._is_draining(), "the drains end")
        assert [client.ask() for client in clients] == servers
        report = self._clients_report()
        assert self._agent is not None
        self._expect_bounded()
        os.kill(self._agent, signal.SIGTERM)
        status = os.waitpid(self._agent, 0)[1]
        self._agent = None
        assert os.waitstatus_to_exitcode(status) == 0
        assert self._kernel(last_good.text) == self._wanted(last_good.text)
        log = self.host.log.read_text()
        assert not re.findall(r"Traceback|met a bug| CRITICAL .*", log)
        self._tell(report)

    def _resources(self) -> Resources:
        assert self._agent is not None
        return Resources.of(self._agent)

    def _expect_bounded(self) -> None:
        """Compare what the agent holds, and has written, with what it may."""
        now, before = self._resources(), self._at_first
        assert now.megabytes - before.megabytes < MAX_GROWTH_MEGABYTES
        assert now.descriptors - before.descriptors <= MAX_GROWTH_DESCRIPTORS
        assert now.threads - before.threads <= MAX_GROWTH_THREADS
        written = sum(f.stat().st_size for f in self.host.state_dir.glob("gitvs.db*"))
        assert written < MAX_DATABASE_MEGABYTES << 20
        lines = self.host.log.read_text().splitlines()
        cycles = sum("pass result=" in line or "not fetched" in line for line in lines)
        assert len(lines) <= MAX_LOG_LINES_A_CYCLE * (cycles + self.seen["kill -9"] + 1)
        self._held = f"{before} → {now}, database {written >> 10} kB, {len(lines)} log lines"

    def _is_draining(self) -> bool:
        with SqliteStore.open_readonly(self.host.state_dir) as store:
            return bool(store.ledger(LinuxKernel("").incarnation()).drains)

    def _wanted(self, text: str) -> dict[Key, Resource]:
        return dict(with_fallback_flags(_desired(text).state))

    def _kernel(self, text: str) -> dict[Key, Resource]:
        """Everything in the kernel but what others own, and settings that are there anyway."""
        wanted = self._wanted(text)
        with SqliteStore(self.host.state_dir) as store:
            kernel = LinuxKernel(OWNER_ALIAS_PREFIX + store.id)
            assert store.open_transaction(kernel.incarnation()) is None
            scope = scope_of(store.ledger(kernel.incarnation()), _desired(text))
            found = kernel.observe(scope).state
        return {
            key: resource
            for key, resource in found.items()
            if key in wanted
            or not (isinstance(resource, Sysctl | Timeout) or FOREIGN_VIP in str(key))
        }

    def _clients_report(self) -> FloodReport:
        """End the traffic; nobody may have lost anything."""
        assert self._flood is not None
        self._flood.run(3)
        report = self._flood.stop()
        assert report.lost == {}
        assert report.exchanges == report.attempts * report.long_lived
        return report

    def _tell(self, report: FloodReport) -> None:
        log = self.host.log.read_text()
        passes = Counter(re.findall(r"pass result=([a-z-]+)", log))
        recovered = Counter(re.findall(r"recovered id=\d+ result=(\S+)", log))
        print(
            f"attempts={report.attempts} lines={report.exchanges}"
            f" slowest={report.slowest_seconds:.2f} passes={dict(passes)}"
            f" recovered={dict(recovered)} seen={dict(self.seen)} held={self._held}"
        )


def _desired(text: str) -> Desired:
    return render_director(load_manifest_files([ManifestFile("all.yaml", text.encode())]), "lb1")


class Others:
    """What somebody else has on this host: none of it may ever change."""

    def __init__(self, lab: Lab) -> None:
        run_batch(
            [
                "link add other0 type dummy",
                f"address add {FOREIGN_VIP}/32 dev other0",
                "address add 2001:db8::99/128 dev other0",
                "route add 198.51.100.0/24 dev back proto static",
                "route add local 198.51.101.0/24 dev lo table local proto 99",
            ]
        )
        listener = ["-t", f"{FOREIGN_VIP}:80"]
        run("ipvsadm", "-A", *listener, "-s", "rr")
        run("ipvsadm", "-a", *listener, "-r", f"{lab.address('rs4')}:80", "-m", "-w", "7")
        Path("/proc/sys/net/ipv4/vs/sloppy_tcp").write_text("1")

    def snapshot(self) -> dict[str, str]:
        """Return all of it, as text."""
        rules = run("ipvsadm", "-Sn").splitlines()
        routes = [run("ip", f"-{v}", "route", "show", "table", "all") for v in (4, 6)]
        settings = Path("/proc/sys/net/ipv4/vs")
        return {
            "rules": "\n".join(line for line in rules if FOREIGN_VIP in line),
            "addresses": run("ip", "-oneline", "address", "show", "dev", "other0"),
            "link": run("ip", "-oneline", "link", "show", "dev", "other0"),
            "routes": "\n".join(
                line for line in "".join(routes).splitlines() if INTERFACE not in line
            ),
            **{
                name.name: name.read_text()
                for name in settings.iterdir()
                if not name.name.startswith("expire_")
            },
        }

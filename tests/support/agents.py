"""A daemon in a thread of this process: real Git, real store, the kernel in memory."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from gitvs.adapters.process.checker_process import CheckerProcess
from gitvs.adapters.process.clock import SystemClock
from gitvs.adapters.service.control_socket import ControlServer, Peer, make_socket
from gitvs.adapters.service.systemd import Notifier
from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.agent.control_requests import ControlRequests
from gitvs.agent.daemon import Agent
from gitvs.agent.write_lock import MakeLock
from gitvs.core.errors import GitvsError
from gitvs.core.model.observation import Scope
from gitvs.core.model.resources import RealServer
from gitvs.core.model.state import State
from gitvs.core.settings import SOCKET_FILE_NAME, MetricsSettings, RemoteSettings, Settings
from gitvs.core.status.agent_status import AgentStatus
from gitvs.ports import Kernel, Ports
from tests.support.memory.kernel import MemoryKernel

PATIENCE_SECONDS = 120.0
"""Only what never comes about takes so long; a slow machine must not."""

DIRECTOR = """
apiVersion: gitvs/v1
kind: Director
metadata: {name: lb1}
spec: {}
"""


def service(
    weight: int = 1, servers: int = 2, scheduler: str = "wlc", drain: str = "60s", more: str = ""
) -> str:
    """A manifest of one service; its real servers are called s1, s2, …"""
    lines = [
        f"  - {{name: s{n}, address: 10.0.0.{n}, weight: {weight}}}" for n in range(1, servers + 1)
    ]
    return "\n".join(
        [
            "apiVersion: gitvs/v1",
            "kind: Service",
            "metadata: {name: web}",
            "spec:",
            "  vips: [203.0.113.10]",
            "  ports: [{port: 80}]",
            f"  scheduler: {scheduler}",
            f"  drain: {{timeout: {drain}}}",
            *([more] if more else []),
            "  realServers:",
            *lines,
        ]
    )


class MovingClock(SystemClock):
    """The host's clocks, set ahead: both, or the wall clock alone."""

    def __init__(self) -> None:
        self.ahead_seconds = 0.0
        self.wall_ahead_seconds = 0.0

    def boottime(self) -> float:
        return super().boottime() + self.ahead_seconds

    def now(self) -> Any:
        return super().now() + timedelta(seconds=self.ahead_seconds + self.wall_ahead_seconds)


def eventually(check: Callable[[], bool], what: str = "") -> None:
    """Wait until something holds.

    Raises: AssertionError if it does not come about.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not check():
        assert time.monotonic() < deadline, what or "it never came about"
        time.sleep(0.02)


@dataclass
class Running:
    """A running agent."""

    agent: Agent
    desk: ControlRequests

    @property
    def status(self) -> AgentStatus:
        return self.agent.status

    def order(self, command: str, **fields: Any) -> dict[str, Any]:
        """What an operator asks for; root is asking."""
        return self.desk.answer({"command": command, **fields}, Peer(1, 0))

    def refusal(self, command: str, **fields: Any) -> str:
        """Ask for what has to be refused, and return the words."""
        try:
            answer = self.order(command, **fields)
        except GitvsError as error:
            return str(error)
        raise AssertionError(f"not refused: {answer}")


@dataclass
class Site:
    """A remote repository, and a director that follows it."""

    folder: Path
    kernel: MemoryKernel = field(default_factory=lambda: MemoryKernel("gitvs:test"))
    clock: MovingClock = field(default_factory=MovingClock)
    lock: MakeLock = field(default=lambda: nullcontext(lambda: None))
    chooser: Callable[[Collection[str]], str] = lambda known: "lb1"
    make_checker: Callable[[Callable[[], None]], CheckerProcess] = CheckerProcess

    def __post_init__(self) -> None:
        self.settings = Settings(
            RemoteSettings(str(self.remote), allow_local=True, poll_seconds=0.2),
            director="lb1",
            drift_seconds=60.0,
            metrics=MetricsSettings(listen=""),
        )

    @property
    def remote(self) -> Path:
        return self.folder / "remote"

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.remote), "-c", "user.name=Ada", "-c", "user.email=a@x"]
        done = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def push(self, text: str, message: str = "change") -> str:
        """Commit a manifest; return the commit."""
        (self.remote / "web.yaml").write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def state(self) -> State:
        """Everything in the kernel, as it is between two writes."""
        while True:
            with suppress(RuntimeError):  # the agent's thread wrote meanwhile
                return self.kernel.observe(Scope(frozenset({"gitvs0"}))).state

    def weights(self) -> list[int]:
        """The weights in the kernel."""
        return [s.weight for s in self.state().of_type(RealServer)]

    def choose(self, known: Collection[str]) -> str:
        return self.chooser(known)

    def set_weight(self, weight: int) -> None:
        """Somebody changes a weight by hand."""
        server = self.state().of_type(RealServer)[0]
        self.kernel.put(replace(server, weight=weight))

    @contextmanager
    def running(self, kernel: Kernel | None = None) -> Iterator[Running]:
        """Run the agent for as long as the block lasts."""
        ready = threading.Event()
        found: list[Running] = []
        crashed: list[BaseException] = []

        def work() -> None:
            try:
                with SqliteStore(self.state_dir) as store:
                    store.set_witness((kernel or self.kernel).write_witness)
                    ports = Ports(kernel or self.kernel, store, self.clock)
                    agent = Agent(
                        ports,
                        self.state_dir,
                        lambda: self.settings,
                        lambda settings: self.choose,
                        Notifier({}),
                        self.lock,
                        self.make_checker,
                    )
                    found.append(Running(agent, ControlRequests(agent)))
                    ready.set()
                    agent.run()
            except BaseException as error:  # noqa: BLE001  # told below, in the test's thread
                crashed.append(error)
            finally:
                ready.set()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        ready.wait()
        try:
            if found:
                yield found[0]
        finally:
            if found:
                found[0].agent.stop()
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), "the agent does not stop"
            if crashed:
                raise crashed[0]

    @contextmanager
    def answering(self) -> Iterator[Running]:
        """Run the agent, which answers at its socket, for as long as the block lasts."""
        with self.running() as running:
            server = ControlServer(
                make_socket(self.state_dir / SOCKET_FILE_NAME), running.desk.answer
            )
            server.start()
            try:
                yield running
            finally:
                server.stop()


def site(folder: Path) -> Site:
    """Return a site whose remote has one service, `web`, with two real servers of weight 1."""
    made = Site(folder)
    command = ["git", "init", "--quiet", "--initial-branch=main", str(made.remote)]
    subprocess.run(command, check=True)
    (made.remote / "lb1.yaml").write_text(DIRECTOR)
    made.push(service())
    return made

"""gitvs at work on the director under us: manifests go in, and this kernel follows.

Each pass opens the store anew, as each run of gitvs does. Time is the kernel's, but for what
`pass_time` adds, so that nobody waits for a drain's deadline.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gitvs.adapters.linux.kernel import LinuxKernel
from gitvs.adapters.process.clock import SystemClock
from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.core.manifests.load import load_manifest_files
from gitvs.core.manifests.render import render_director
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Outcome
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.observation import Observation, Scope
from gitvs.core.model.resources import Key
from gitvs.core.planning.ownership import OWNER_ALIAS_PREFIX, scope_of
from gitvs.core.planning.plan import Change, Plan
from gitvs.ports import Applied, Kernel, Ports, WriteResult
from gitvs.reconcile.one_pass import PassOptions, PassResult, plan_pass, reconcile
from tests.harness.lab import Lab
from tests.harness.traffic import Flood
from tests.support.faults import WrappedKernel
from tests.support.manifests.writing import Doc, director, file_of, server

NAME = "lb1"
VIP = "192.0.2.10"
VIP6 = "2001:db8::10"
NOTHING_SAID = PassOptions()
NO_SCOPE = Scope()


class MovingClock(SystemClock):
    """The host's clock, set ahead."""

    ahead_seconds = 0.0

    def boottime(self) -> float:
        return super().boottime() + self.ahead_seconds


def desired(*documents: Doc, name: str = NAME) -> Desired:
    """Return what manifests say; without a Director among them there is a plain one."""
    has_director = any(d["kind"] == "Director" for d in documents)
    written = documents if has_director else (director(name), *documents)
    return render_director(load_manifest_files([file_of("all.yaml", *written)]), name)


class Unhurried(WrappedKernel):
    """A kernel that rests after each write, so that clients see every state on the way.

    gitvs sends many changes at once, and a wrong order among them would rarely be noticed.
    """

    def __init__(self, kernel: Kernel, pause_seconds: float) -> None:
        super().__init__(kernel)
        self._pause_seconds = pause_seconds

    def execute(self, changes: Sequence[Change]) -> list[WriteResult]:
        outcomes = []
        for change in changes:
            outcomes += self._kernel.execute([change])
            time.sleep(self._pause_seconds)
        return outcomes


@dataclass
class Director:
    """The network namespace under us and a state folder, run by gitvs.

    With `pause_seconds` its kernel is `Unhurried`.
    """

    state_dir: Path
    pause_seconds: float = 0
    clock: MovingClock = field(default_factory=MovingClock)

    def bring(
        self,
        *documents: Doc,
        on: Callable[[Kernel], Kernel] = lambda kernel: kernel,
        options: PassOptions = NOTHING_SAID,
        name: str = NAME,
    ) -> PassResult:
        """One pass, however it ends; `on` wraps the kernel that it runs on."""
        return self.follow(desired(*documents, name=name), on, options)

    def follow(
        self,
        wanted: Desired,
        on: Callable[[Kernel], Kernel] = lambda kernel: kernel,
        options: PassOptions = NOTHING_SAID,
    ) -> PassResult:
        """One pass to a rendered state, however it ends."""
        with self.ports() as ports:
            kernel = on(ports.kernel)
            target = Applied(wanted, None, self.clock.now())
            return reconcile(Ports(kernel, ports.store, self.clock), target, options)

    def apply(self, *documents: Doc) -> PassResult:
        """One pass, which must have changed the kernel just as planned."""
        done = self.bring(*documents)
        gates = () if done.planned is None else done.planned.proposal.gates
        failures = () if done.transaction is None else done.transaction.failures
        assert (done.outcome, gates, failures) == (Outcome.APPLIED, (), ())
        return done

    def plan(self, *documents: Doc) -> Plan:
        """Return what a pass would do now."""
        with self.ports() as ports:
            return plan_pass(ports, desired(*documents)).proposal.plan

    def ledger(self) -> Ledger:
        """Return what the store records."""
        with self.ports() as ports:
            return ports.store.ledger(ports.kernel.incarnation())

    def draining(self) -> set[Key]:
        """Return the real servers that drain."""
        return set(self.ledger().drains)

    def observe(self, *documents: Doc, scope: Scope = NO_SCOPE) -> Observation:
        """Read the kernel: all that gitvs owns, these manifests speak of, or the scope names."""
        wanted = scope_of(self.ledger(), desired(*documents)) if documents else scope
        with self.ports() as ports:
            return ports.kernel.observe(wanted)

    def pass_time(self, seconds: float) -> None:
        """Set the clock ahead."""
        self.clock.ahead_seconds += seconds

    @contextmanager
    def ports(self) -> Iterator[Ports]:
        """Open the store, as every run of gitvs does."""
        with SqliteStore(self.state_dir) as store:
            kernel: Kernel = LinuxKernel(OWNER_ALIAS_PREFIX + store.id, self.state_dir)
            store.set_witness(kernel.write_witness)
            if self.pause_seconds:
                kernel = Unhurried(kernel, self.pause_seconds)
            yield Ports(kernel, store, self.clock)


def real_servers(
    lab: Lab, *names: str, versions: tuple[int, ...] = (4,), **fields: object
) -> list[Doc]:
    """Return hosts of the lab, by default all, as manifests name them."""
    return [
        server(lab.address(name, version), **fields)
        for version in versions
        for name in names or lab.real_servers
    ]


class Clients:
    """Clients of one or more VIPs who notice everything: new connections, and long-lived ones."""

    def __init__(self, lab: Lab, *addresses: str, port: int = 80) -> None:
        self.floods: list[Flood] = [lab.flood(address, port) for address in addresses]

    def go_on(self, attempts: int = 5) -> None:
        """Return when each VIP has been asked so many more times."""
        for flood in self.floods:
            flood.run(attempts)


@contextmanager
def nobody_complains(lab: Lab, *addresses: str, port: int = 80) -> Iterator[Clients]:
    """Keep clients busy meanwhile: no new connection may fail, no long-lived one may break."""
    clients = Clients(lab, *addresses, port=port)
    clients.go_on()
    yield clients
    clients.go_on()
    for address, flood in zip(addresses, clients.floods, strict=True):
        report = flood.stop()
        assert (address, report.lost) == (address, {})
        assert report.exchanges == report.attempts * report.long_lived > 0

"""A plan that skips what states share is the plan that compares everything.

Directors live through random histories: commits, drains, operations, drift, sick objects,
adoption, failures. Each plan is made again from copies that share nothing.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.core.errors import KernelUnreadable
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Outcome
from gitvs.core.model.resources import RealServer, Resource, VirtualService
from gitvs.core.model.state import State
from gitvs.core.planning.operations import Operation, OperationKind, Operations
from gitvs.core.planning.ownership import OWNER_ALIAS_PREFIX
from gitvs.core.planning.plan import Change, Phase
from gitvs.ports import Applied
from gitvs.reconcile.one_pass import (
    PassOptions,
    PassResult,
    PlannedPass,
    plan_from_observation,
    reconcile,
)
from gitvs.reconcile.repair_memory import RepairMemory
from gitvs.reconcile.transaction import recover
from tests.support.effort import examples
from tests.support.faults import Crashed, FaultyKernel, How
from tests.support.memory.kernel import MemoryKernel
from tests.support.strategies import LISTENERS, SERVERS, desired_states
from tests.support.sweep import ALLOW, SCOPE, World


def copied(resource: Resource) -> Resource:
    """Return an equal resource that is another object."""
    if isinstance(resource, VirtualService | RealServer):
        return replace(resource, listener=replace(resource.listener))
    return replace(resource)


def unshared_state(state: State) -> State:
    return State(map(copied, state.values()))


def unshared(desired: Desired) -> Desired:
    return replace(desired, state=unshared_state(desired.state))


@dataclass
class Director:
    """A director whose agent reads and compares as little as it can."""

    world: World
    store: SqliteStore
    memory: RepairMemory = field(default_factory=RepairMemory)
    last: PassResult | None = None
    partial_plans: int = 0

    def bring(self, desired: Desired, options: PassOptions, fault: tuple[int, How] | None) -> None:
        """Run one pass, maybe with a fault at one change; check its plan."""
        kernel: Any = self.world.kernel
        if fault is not None:
            kernel = FaultyKernel(kernel, *fault)
        applied = self.store.applied()
        wanted = desired
        if applied is not None:  # as the renderer does
            wanted = replace(desired, state=desired.state.sharing(applied.desired.state))
        target = Applied(wanted, None, self.world.clock.now())
        ports = self.world.ports(self.store, kernel)
        last, self.last = self.last, None
        operations = self.store.operations().in_force(ports.moment())
        try:
            done = reconcile(ports, target, options, last, self.memory)
        except (Crashed, KernelUnreadable):
            recover(self.world.ports(self.store))  # as the next start does
            return
        if done.outcome in (Outcome.APPLIED, Outcome.CONVERGED):
            self.last = done
        if done.planned is not None:
            self.partial_plans += not done.planned.is_full_reading
            self.check(done.planned, desired, options, operations)

    def check(
        self, planned: PlannedPass, desired: Desired, options: PassOptions, operations: Operations
    ) -> None:
        """Make a plan again with everything compared."""
        full = plan_from_observation(
            unshared(desired),
            planned.applied and replace(planned.applied, desired=unshared(planned.applied.desired)),
            replace(planned.observation, state=unshared_state(planned.observation.state)),
            planned.ledger,
            planned.boottime_seconds,
            OWNER_ALIAS_PREFIX + self.store.id,
            options,
            operations,
        ).proposal
        assert full == planned.proposal
        assert list(full.foreign) == list(planned.proposal.foreign)
        assert full.digest == planned.proposal.digest


Step = Callable[[Director], None]
"""What happens next to a director."""


@st.composite
def commits(draw: st.DrawFn, states: list[Desired]) -> Step:
    desired = draw(st.sampled_from(states))
    options = replace(
        draw(st.sampled_from([ALLOW, ALLOW, PassOptions()])),
        is_full_reading=draw(st.sampled_from([False, False, True])),
        adopt=draw(st.sampled_from([False, False, True])),
    )
    fault = draw(st.none() | st.tuples(st.integers(0, 6), st.sampled_from(How)))
    return lambda director: director.bring(desired, options, fault)


@st.composite
def disturbances(draw: st.DrawFn) -> Step:
    """Somebody changes the kernel, or it changes by itself."""
    number, weight = draw(st.integers(0, 30)), draw(st.integers(0, 9))
    what = draw(st.sampled_from(["weight", "remove", "foreign", "sick", "well", "busy", "idle"]))

    def disturb(director: Director) -> None:
        kernel = director.world.kernel
        state = kernel.observe(SCOPE).state
        servers, services = state.of_type(RealServer), state.of_type(VirtualService)
        if what == "foreign":
            listener = LISTENERS[number % len(LISTENERS)]
            kernel.execute([Change(None, VirtualService(listener), Phase.MAKE)])
        elif what == "well":
            kernel.refused_keys.clear()
        elif servers:
            server = servers[number % len(servers)]
            match what:
                case "weight":
                    change = Change(server, replace(server, weight=weight), Phase.MODIFY)
                    kernel.execute([change])
                case "remove":
                    kernel.execute([Change(services[number % len(services)], None, Phase.BREAK)])
                case "sick":
                    kernel.refused_keys[server.key] = errno.EACCES
                case _:
                    kernel.set_connections(server, active=int(what == "busy"))

    return disturb


@st.composite
def orders(draw: st.DrawFn) -> Step:
    """An operator asks for something, or ends it; time passes."""
    what = draw(st.sampled_from(["drain", "remove", "standby", "end", "wait"]))
    address = draw(st.sampled_from([a for some in SERVERS.values() for a in some]))

    def order(director: Director) -> None:
        store = director.store
        if what == "wait":
            director.world.clock.seconds += 45
        elif what == "end":
            for operation in store.operations().all:
                store.end_operation(operation)
        else:
            kind = OperationKind.STANDBY if what == "standby" else OperationKind.DRAIN
            now = director.world.clock.now()
            subject = "" if what == "standby" else str(address)
            store.put_operation(
                Operation(kind, "ada", "", now, None, subject, is_immediate=what == "remove")
            )

    return order


@given(st.data())
@settings(max_examples=examples(150))
def test_a_plan_that_skips_what_is_shared_is_the_plan_that_compares_everything(
    data: st.DataObject,
) -> None:
    states = data.draw(st.lists(desired_states(LISTENERS[:5]), min_size=2, max_size=3))
    steps = data.draw(st.lists(commits(states) | commits(states) | disturbances() | orders()))
    with TemporaryDirectory() as folder:
        world = World(MemoryKernel("gitvs:test"), Path(folder))
        with world.store() as store:
            director = Director(world, store)
            for step in steps:
                step(director)

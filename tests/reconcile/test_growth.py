"""One change costs the same among few and among many virtual services: calls are counted.

From the files of a commit to the finished pass. What is left is one look at each file, service
or group, without a call for each.
"""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from gitvs.core.manifests.files import ManifestFile
from gitvs.core.manifests.load import Loader
from gitvs.core.manifests.render import Renderer
from gitvs.core.model.history import Commit, Outcome
from gitvs.core.planning.gates import find_lifts
from gitvs.ports import Applied
from gitvs.reconcile.one_pass import PassOptions, PassResult, reconcile
from tests.bench.load import DIRECTOR, changed_path, make_load, manifests
from tests.support.memory.kernel import MemoryKernel
from tests.support.sweep import World

FEW, MANY = 120, 240
SLACK = 8
"""Longer numbers and other addresses make other texts."""


class CountedCalls:
    """Counts the calls of each function, Python's and C's, while it is on."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def __enter__(self) -> None:
        self.calls.clear()
        sys.setprofile(self._count)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _count(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "call":
            self.calls[frame.f_code.co_qualname] += 1
        elif event == "c_call":
            self.calls[str(called.__qualname__)] += 1


def calls_of_a_change(folder: Path, services: int) -> Counter[str]:
    """Return how often each function is called for the change of one weight."""
    counted = CountedCalls()
    world = World(MemoryKernel("gitvs:test"), folder)
    loader, renderer = Loader(), Renderer()
    load = make_load(services)
    files = {path: ManifestFile(path, data) for path, data in manifests(load).items()}
    last: PassResult | None = None
    with world.store() as store:
        ports = world.ports(store)
        for number, weight in enumerate((101, 102, 103, 104)):
            path = changed_path(load)
            files[path] = ManifestFile(path, manifests(load.reweighed(weight))[path])
            commit = Commit(f"{number:040}", "Ada", "change", datetime.now(UTC))
            all_files = [*files.values()]
            with counted:
                desired = renderer.render(loader.load(all_files), DIRECTOR)
                applied = store.applied()
                find_lifts(applied and applied.desired, desired, (), (), lambda _: "")
                target = Applied(desired, commit, world.clock.now())
                last = reconcile(ports, target, PassOptions(is_full_reading=False), last)
            assert last.outcome is Outcome.APPLIED
    assert last is not None
    assert last.planned is not None
    assert not last.planned.is_full_reading
    return counted.calls


def test_one_change_costs_the_same_among_twice_as_many_services(tmp_path: Path) -> None:
    few = calls_of_a_change(tmp_path / "few", FEW)
    many = calls_of_a_change(tmp_path / "many", MANY)
    grown = {name: (few[name], n) for name, n in many.items() if n > few[name] + SLACK}
    assert not grown

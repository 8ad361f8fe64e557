"""A loader that is used again says what a fresh one says, and looks at what changed alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from gitvs.core.manifests import load
from gitvs.core.manifests.files import File
from gitvs.core.manifests.load import Loader, load_manifest_files
from gitvs.core.manifests.load_run import Manifests
from gitvs.core.problems import InvalidManifests
from tests.support.effort import examples
from tests.support.manifests.manifest_strategies import Files, edits, manifest_files
from tests.support.manifests.writing import Doc, director, file_of, server, service
from tests.support.work import work_of


def outcome(loader: Loader | None, files: list[File]) -> tuple[object, ...]:
    """Everything that a load says, with the places of services."""
    try:
        manifests = load_manifest_files(files) if loader is None else loader.load(files)
    except InvalidManifests as error:
        return (str(error), *error.problems)
    places = [str(s.origin) for s in manifests.services]
    return manifests.services, places, manifests.pools, manifests.placed_services, manifests.policy


@settings(max_examples=examples(60))
@given(edits())
def test_it_says_what_a_fresh_one_says(history: list[Files]) -> None:
    loader = Loader()
    for files in history:
        assert outcome(loader, [*manifest_files(files)]) == outcome(None, [*manifest_files(files)])


def web(number: int, **changed: Any) -> Doc:
    spec = {
        "vips": [f"203.0.113.{number}"],
        "realServers": [server(f"10.0.{number}.1"), server(f"10.0.{number}.2")],
    }
    return service(f"web{number}", **(spec | changed))


def files_of(*services: Doc, routes: tuple[str, ...] = ("198.51.100.0/24",)) -> list[File]:
    documents = (file_of(f"s{number}.yaml", each) for number, each in enumerate(services))
    return [file_of("d.yaml", director(localRoutes=[*routes])), *documents]


@pytest.fixture
def full_loads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many services were checked, for each load that looked at all of them."""
    found: list[int] = []
    accept = load._LastLoad.accept

    def counting(self: Any, run: Any, changed: Manifests, files: Any) -> bool:
        is_enough = accept(self, run, changed, files)
        if not is_enough:
            found.append(len(self.manifests.services))
        return is_enough

    monkeypatch.setattr(load._LastLoad, "accept", counting)
    return found


@pytest.mark.parametrize(
    "changed",
    [
        {"scheduler": "wrr"},
        {"realServers": [server("10.0.2.1", weight=7), server("10.0.2.2")]},
        {"realServers": [server("10.0.2.1")]},
        {"realServers": [server("10.0.2.1"), server("10.0.2.9")]},
        {"ports": [{"port": 443}, {"port": 444}]},
        {"vips": ["203.0.113.2", "203.0.113.77"]},
    ],
    ids=str,
)
def test_what_cannot_concern_another_service_is_checked_alone(
    full_loads: list[int], changed: dict[str, Any]
) -> None:
    loader = Loader()
    loader.load(files_of(web(1), web(2), web(3)))
    files = files_of(web(1), web(2, **changed), web(3))
    assert outcome(loader, files) == outcome(None, files)
    assert full_loads == []


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"vips": ["203.0.113.1"]}, "same-virtual-service"),
        ({"vips": [{"address": "203.0.113.1", "bind": False}]}, "different-bind"),
        ({"realServers": [server("203.0.113.3")]}, "real-server-is-vip"),
        ({"vips": ["10.0.1.2"]}, "real-server-is-vip"),
        ({"realServers": [server("198.51.100.7")]}, "real-server-in-local-route"),
        ({"directors": {"names": ["lb7"]}}, "unknown-director"),
        ({"realServers": [server("10.0.2.1", weight=65535), server("10.0.2.1")]}, "duplicate"),
    ],
    ids=str,
)
def test_a_conflict_with_a_service_that_did_not_change_is_found(
    changed: dict[str, Any], rule: str
) -> None:
    loader = Loader()
    loader.load(files_of(web(1), web(2), web(3)))
    files = files_of(web(1), web(2, **changed), web(3))
    said = outcome(loader, files)
    assert said == outcome(None, files)
    assert rule in str(said)
    before = files_of(web(1), web(2), web(3))
    assert outcome(loader, before) == outcome(None, before), "taken back"


def test_two_that_take_a_name_at_once_are_found() -> None:
    loader = Loader()
    loader.load(files_of(web(1), web(2), web(3)))
    renamed = [service("same", vips=[f"203.0.113.{n}"], realServers=[server()]) for n in (1, 2)]
    files = files_of(*renamed, web(3))
    said = outcome(loader, files)
    assert said == outcome(None, files)
    assert "duplicate-name" in str(said)


def test_an_address_that_moves_from_one_to_another_that_has_it_too_is_found() -> None:
    """Service 1 gives an address up that service 2 takes, while service 3 takes it as well."""
    loader = Loader()
    loader.load(files_of(web(1), web(2), web(3)))
    taken = {"vips": ["203.0.113.1"]}
    files = files_of(web(1, vips=["203.0.113.9"]), web(2, **taken), web(3, **taken))
    said = outcome(loader, files)
    assert said == outcome(None, files)
    assert "same-virtual-service" in str(said)


def test_many_small_changes_together_are_too_many_objects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gitvs.core.manifests.rules.object_counts.MAX_RULES_PER_DIRECTOR", 20)
    loader = Loader()
    services = [web(n) for n in (1, 2, 3)]
    loader.load(files_of(*services))
    for n in (1, 2, 3):
        ports = [{"port": 443 + i} for i in range(3)]
        services[n - 1] = web(n, ports=ports)
        files = files_of(*services)
        assert outcome(loader, files) == outcome(None, files)
    assert "too-many-objects" in str(outcome(loader, files))


def test_now_and_then_everything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "_MAX_PARTIAL_LOADS", 2)
    loader = Loader()
    for weight in range(1, 9):
        files = files_of(web(1), web(2, realServers=[server(weight=weight)]))
        assert outcome(loader, files) == outcome(None, files)
    kept = loader._cache
    assert len(kept.files) < 7
    assert len(kept.parsed_documents) < 7


def test_one_change_costs_the_same_among_twice_as_many_services() -> None:
    def cost(count: int) -> float:
        services = [web(n) for n in range(1, count)]
        loader = Loader()
        loader.load(files_of(*services))
        files = files_of(web(1, scheduler="wrr"), *services[1:])
        return work_of(lambda: loader.load(files)).calls

    assert cost(120) - cost(60) < 2 * 60 + 20, "but for a look at each file, and at each service"

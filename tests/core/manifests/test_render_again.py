"""A renderer that is used again says what a fresh one says, and shares what stays."""

from __future__ import annotations

from hypothesis import given, settings

from gitvs.core.errors import UnknownDirector
from gitvs.core.manifests.load import Loader
from gitvs.core.manifests.render import Renderer, render_director
from gitvs.core.model.desired import Desired
from gitvs.core.model.resources import RealServer, Vip
from gitvs.core.problems import InvalidManifests
from tests.support.effort import examples
from tests.support.manifests.manifest_strategies import Files, edits, manifest_files
from tests.support.manifests.writing import director, file_of, pool, server, service


def whole(desired: Desired) -> tuple[object, ...]:
    """Everything, with what takes no part in comparisons, and the order."""
    return (desired, list(desired.state), desired.locations, desired.server_names)


@settings(max_examples=examples(40))
@given(edits())
def test_it_says_what_a_fresh_one_says(history: list[Files]) -> None:
    loader, renderer = Loader(), Renderer()
    for files in history:
        try:
            manifests = loader.load(manifest_files(files))
        except InvalidManifests:
            continue
        for name in (*manifests.director_names, *manifests.director_names[:1], "nobody"):
            try:
                again = whole(renderer.render(manifests, name))
            except UnknownDirector:
                assert name not in manifests.director_names
            else:
                assert again == whole(render_director(manifests, name))


def test_what_stays_is_the_same_object() -> None:
    loader, renderer = Loader(), Renderer()
    base = [director(), pool("a", server("10.0.0.1")), service("a", pools=["a"])]
    for weight in (1, 2):
        other = service("b", vips=["203.0.113.11"], realServers=[server(weight=weight)])
        files = [file_of("base.yaml", *base), file_of("other.yaml", other)]
        desired = renderer.render(loader.load(files), "lb1")
        if weight == 1:
            first = desired
    [kept, changed] = desired.state.of_type(RealServer)
    assert kept is first.state[kept.key]
    assert changed is not first.state[changed.key]
    assert changed.weight == 2


def test_a_pool_that_changed_changes_its_services_and_no_others() -> None:
    loader, renderer = Loader(), Renderer()
    services = [
        service("a", pools=["a"]),
        service("b", vips=["203.0.113.11"], pools=["b"]),
    ]
    for weight in (1, 2):
        pools = [
            file_of("a.yaml", pool("a", server("10.0.0.1", weight=weight))),
            file_of("b.yaml", pool("b", server("10.0.0.2"))),
        ]
        manifests = loader.load([*pools, file_of("c.yaml", director(), *services)])
        desired = renderer.render(manifests, "lb1")
        if weight == 1:
            first = desired
    [a, b] = desired.state.of_type(RealServer)
    assert (a.weight, b is first.state[b.key]) == (2, True)


def test_directors_share_what_is_the_same_to_both() -> None:
    """On lb3 the VIP is on another interface; lb4 has another address of the host."""
    address = {"addresses": {"node": ["10.9.0.1"]}}
    directors = [
        director("lb1", **address),
        director("lb2", **address),
        director("lb3", interface="other0", **address),
        director("lb4", addresses={"node": ["10.9.0.4"]}),
    ]
    manifests = Loader().load([file_of("all.yaml", *directors, service(hostAddresses=["node"]))])
    renderer = Renderer()
    states = {name: renderer.render(manifests, name).state for name in manifests.director_names}
    first, second = states["lb1"].of_type(RealServer), states["lb2"].of_type(RealServer)
    assert all(one is other for one, other in zip(first, second, strict=True))
    for name, state in states.items():
        interface = "other0" if name == "lb3" else "gitvs0"
        assert [vip.key for vip in state.of_type(Vip)] == [f"203.0.113.10/32 dev {interface}"]
    assert "tcp 10.9.0.4:443" in states["lb4"]
    assert "tcp 10.9.0.1:443" not in states["lb4"]

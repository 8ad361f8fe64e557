"""Twice the input is at most three times the work, whatever is wrong with it. It is counted."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from gitvs.core.manifests.file_cache import validate_file_compactly
from gitvs.core.manifests.files import ManifestFile
from gitvs.core.manifests.load import Loader
from gitvs.core.manifests.messages.schema_messages import MAX_SUGGESTIONS
from gitvs.core.manifests.render import render_director
from gitvs.core.manifests.rules.unread_manifests import UnreadManifests
from gitvs.core.manifests.syntax.source_positions import value_text
from gitvs.core.problems import InvalidManifests
from tests.support.manifests.writing import (
    Doc,
    director,
    document,
    file_of,
    pool,
    problems_of,
    server,
    service,
    text_file,
)
from tests.support.work import work_of

Files = list[ManifestFile]
INPUTS: list[Callable[[int], Files]] = []


def growing(make: Callable[[int], Files]) -> Callable[[int], Files]:
    INPUTS.append(make)
    return make


def addresses(count: int, net: int = 10) -> list[str]:
    return [f"{net}.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(1, count + 1)]


def documents(*given: Doc) -> Files:
    return [file_of("all.yaml", *given)]


def services(count: int, **spec: Any) -> list[Doc]:
    return [service(f"s{n}", **{"vips": [vip], **spec}) for n, vip in enumerate(addresses(count))]


@growing
def sound_services(n: int) -> Files:
    return documents(director(), *services(n))


@growing
def separators_before_a_syntax_error(n: int) -> Files:
    return [text_file("a.yaml", "---\n" * 200 * n + "a: [\n")]


@growing
def documents_that_cannot_be_read(n: int) -> Files:
    return [text_file("a.yaml", "---\na: [\n" * n)]


@growing
def lines_of_one_document_that_cannot_be_read(n: int) -> Files:
    return [text_file("a.yaml", "a: [\n" + "- b\n" * 100 * n)]


@growing
def unknown_pools_beside_known_ones(n: int) -> Files:
    known = [pool(f"pool-{m}", server()) for m in range(n)]
    return documents(
        director(),
        *known,
        *(service(f"s{m}", vips=[a], pools=[f"pol-{m}"]) for m, a in enumerate(addresses(n))),
    )


@growing
def unknown_directors_beside_known_ones(n: int) -> Files:
    known = [director(f"lb-{m}") for m in range(n)]
    made = services(n)
    for m, each in enumerate(made):
        each["spec"]["directors"] = {"names": [f"bl-{m}"]}
    return documents(*known, *made)


@growing
def unknown_fields(n: int) -> Files:
    return documents(director(**{f"interfaze{m}": 1 for m in range(n)}))


@growing
def unknown_kinds(n: int) -> Files:
    return documents(*(document("Servize", f"s{m}", {}) for m in range(n)))


@growing
def documents_of_other_programs(n: int) -> Files:
    return [text_file("a.yaml", "---\n- 1\n" * n)]


@growing
def files_with_a_problem(n: int) -> Files:
    return [text_file(f"{m}.yaml", "a: 1\n") for m in range(n)]


@growing
def listed_twice(n: int) -> Files:
    return documents(director(), service(hostAddresses=[{"a": m} for m in range(n)]))


@growing
def all_of_a_list_twice(n: int) -> Files:
    return documents(director(), service(hostAddresses=[f"a{m}" for m in range(n)] * 2))


@growing
def aliases(n: int) -> Files:
    text = "apiVersion: gitvs/v1\nkind: Pool\nmetadata: {name: web}\nspec:\n  realServers:\n"
    text += "  - &a {address: 10.0.0.1}\n" + "  - *a\n" * n
    return [text_file("a.yaml", text)]


@growing
def duplicate_keys(n: int) -> Files:
    return [text_file("a.yaml", "a: 1\n" * n)]


@growing
def a_service_on_each_director_with_one_address(n: int) -> Files:
    made = [service(f"s{m}", directors={"names": [f"lb{m}"]}) for m in range(n)]
    return documents(*(director(f"lb{m}") for m in range(n)), *made)


@growing
def the_same_address_again_and_again(n: int) -> Files:
    return documents(director(), *(service(f"s{m}") for m in range(n)))


@growing
def a_problem_with_every_director(n: int) -> Files:
    made = services(n, hostAddresses=["missing"])
    return documents(*(director(f"lb{m}") for m in range(n)), *made)


@growing
def real_servers_twice(n: int) -> Files:
    twice = [server(a) for a in addresses(n)] * 2
    return documents(director(), pool("web", *twice), service(pools=["web"]))


@growing
def real_servers_in_local_routes(n: int) -> Files:
    made = service(vips=["203.0.113.1"], realServers=[server(a) for a in addresses(n)])
    return documents(director(localRoutes=["10.0.0.0/8"]), made)


@growing
def broken_references_beside_broken_documents(n: int) -> Files:
    broken = [document("Pool", f"p{m}", {"realServer": []}) for m in range(n)]
    made = services(n, directors={"matchLabels": {"a": "b"}}, pools=["web"])
    return documents(director(), *broken, *made)


@growing
def addresses_by_ports_by_servers(n: int) -> Files:
    sizes = {"vips": addresses(n // 20, 203), "ports": [{"port": p} for p in range(1, 11)]}
    return documents(director(), service(**sizes, realServers=[server(a) for a in addresses(20)]))


@growing
def far_too_many_rules(n: int) -> Files:
    sizes = {"vips": addresses(n, 203), "ports": [{"port": p} for p in range(1, n)]}
    return documents(director(), service(**sizes, realServers=[server(a) for a in addresses(n)]))


@growing
def a_json_text_without_an_end(n: int) -> Files:
    return [text_file("a.json", '{"a": "' + "x" * 100 * n)]


def load(files: Files) -> None:
    with suppress(InvalidManifests):
        manifests = Loader(validate_file_compactly).load(files)
        for name in manifests.director_names:
            render_director(manifests, name)


@pytest.mark.parametrize("make", INPUTS, ids=lambda make: make.__name__)
def test_twice_the_input_is_less_than_three_times_the_work(make: Callable[[int], Files]) -> None:
    load(make(4))
    once, twice = (work_of(partial(load, make(n))).total for n in (150, 300))
    assert twice < 3 * once


class CountedText(str):
    """A text that counts the characters that are read for `in`."""

    read = 0

    def __contains__(self, other: object) -> bool:
        CountedText.read += len(self)
        return super().__contains__(str(other))


def test_names_are_looked_for_in_unread_text_all_at_once() -> None:
    unread = UnreadManifests()
    text = CountedText("- {name: web-1}, x: 'mail'\n" * 1000)
    unread.add_text(text)
    names = {*(f"n{n}" for n in range(1000)), "web-1", "mail", "eb-1"}
    assert unread.names_among("Pool", names) == {"web-1", "mail"}
    assert not unread.may_contain_any("Director")
    assert CountedText.read <= 10 * len(text)


def test_the_first_unknown_names_get_a_suggestion_and_all_are_reported() -> None:
    unknown = [service(f"s{n}", vips=[a], pools=["wep"]) for n, a in enumerate(addresses(50))]
    found = problems_of(director(), pool("web", server()), *unknown)
    assert len(found) == 50
    assert sum("did you mean web?" in p.message for p in found) == MAX_SUGGESTIONS
    assert sum("there is web" in p.message for p in found) == 50 - MAX_SUGGESTIONS


def test_a_long_text_is_not_repeated_by_aliases() -> None:
    text = f"a: &a {'x' * 10_000}\nb: [{'*a, ' * 200}]\n"
    with pytest.raises(InvalidManifests) as raised:
        Loader().load([text_file("a.yaml", text)])
    assert "aliases-explode" in {problem.rule for problem in raised.value.problems}


def test_a_json_text_without_an_end_takes_little_memory() -> None:
    file = text_file("a.json", '["' + "x\\n" * 500_000)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidManifests, match="is not JSON"):
            Loader().load([file])
        assert tracemalloc.get_traced_memory()[1] < 20 * len(file.data)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "value", ["x" * 100, "\x1b" * 100, ["é"] * 100, {"a": [1, None, True]}, 5, 1.5, None, "it's"]
)
def test_the_text_of_a_value_is_the_beginning_of_its_json(value: Any) -> None:
    whole = json.dumps(value, ensure_ascii=False)
    shown = value_text(value)
    if shown.endswith("…"):
        assert whole.replace("\x1b", "\\u001b").startswith(shown[:-1])
    else:
        assert shown == whole

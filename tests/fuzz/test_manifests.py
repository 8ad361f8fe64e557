"""Any document, with any value of any type anywhere in it, is loaded or has problems."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gitvs.core.manifests.file_cache import validate_file_compactly
from gitvs.core.manifests.files import ManifestFile
from gitvs.core.manifests.load import Loader, Manifests
from gitvs.core.manifests.render import render_director
from gitvs.core.problems import InvalidManifests, Problem
from tests.support.effort import examples
from tests.support.manifests.writing import Doc
from tests.support.paths import CASES, EXAMPLES

WORDS = sorted(
    {
        *("apiVersion", "kind", "metadata", "name", "labels", "spec", "directors", "names", "vips"),
        *("matchLabels", "hostAddresses", "ports", "port", "protocol", "targetPort", "onePacket"),
        *("scheduler", "schedulerFlags", "persistence", "timeout", "engine", "forwarding"),
        *("realServers", "address", "weight", "upperThreshold", "lowerThreshold", "tunnel"),
        *("pools", "sameLabels", "firewallMark", "addressFamily", "crossFamily", "drain"),
        *("interface", "addresses", "localRoutes", "sysctls", "timeouts", "syncDaemons", "role"),
        *("standby", "services", "maxRemovedPercent", "protectedVips", "owners", "path"),
        *("health", "<<", "bind", "type", "checksum", "ipv4Prefix", "description", "id"),
        *("gitvs/v1", "gitvs/v2", "Service", "Pool", "Director", "Defaults", "Policy", "service"),
        *("10.0.0.1", "203.0.113.10", "2001:db8::1", "10.0.0.0/8", "0.0.0.0/0", "::ffff:1.2.3.4"),
        *("fe80::1%eth0", "010.0.0.1", "1.2.3.4/24", "web", "lb1", "rr", "mh", "mh-port", "sip"),
        *("yes", "010", "0x1f", "0o17", "1_000", "12:30", "5m", "90s", "0s", "99999999999h", "tun"),
        *(
            "",
            " ",
            "-",
            "/",
            "..",
            "a/b",
            "é",
            "\x1b[2J",
            "\u202e",
            "x" * 300,
            "net.ipv4.ip_forward",
        ),
        *("primary", "udp", "gue", "null", "true", "٣", "²", "1e400", "-1", "1.5"),
    }
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.sampled_from([0, 1, -1, 80, 65535, 65536, 2**31, 2**32, 2**63, 1e308, -0.0, 0.5]),
    st.sampled_from(WORDS),
    st.text(max_size=8),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(WORDS), st.text(max_size=4)), inner, max_size=4),
    ),
    max_leaves=8,
)
SOUND_DOCUMENTS: list[Doc] = [
    document
    for path in (*sorted(EXAMPLES.rglob("*.yaml")), *sorted(CASES.glob("*-example/**/all.yaml")))
    for document in yaml.safe_load_all(path.read_text())
    if isinstance(document, dict) and str(document.get("apiVersion")).startswith("gitvs/")
]
KINDS = ("Director", "Service", "Pool", "Defaults", "Policy")
assert {document["kind"] for document in SOUND_DOCUMENTS} == set(KINDS)


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of a value and of everything in it."""
    if not isinstance(value, dict | list):
        return [path]
    steps = value.items() if isinstance(value, dict) else enumerate(value)
    return [path, *(p for step, inner in steps for p in paths_of(inner, (*path, step)))]


@st.composite
def documents(draw: st.DrawFn) -> Any:
    """A sound document with up to four values replaced, added, repeated or removed."""
    root = [deepcopy(draw(st.sampled_from(SOUND_DOCUMENTS)))]
    for _ in range(draw(st.integers(0, 4))):
        *outer, step = draw(st.sampled_from(paths_of(root)[1:] or [(0,)]))
        parent: Any = root
        for each in outer:
            parent = parent[each]
        match draw(st.sampled_from(["replace", "replace", "add", "repeat", "remove"])):
            case "add" if isinstance(parent, dict):
                parent[draw(st.sampled_from(WORDS))] = draw(VALUES)
            case "repeat" if isinstance(parent, list):
                parent.append(deepcopy(parent[step]))
            case "remove" if outer:
                del parent[step]
            case _ if root:
                parent[step] = draw(VALUES)
    return root[0] if root else None


def load(*files: ManifestFile) -> Manifests | None:
    """Load files and render every director; None if they have problems, which can be shown."""
    try:
        manifests = Loader(validate_file_compactly).load(files)
    except InvalidManifests as error:
        check_problems(error.problems)
        return None
    for name in manifests.director_names:
        render_director(manifests, name)
    return manifests


def check_problems(problems: Sequence[Problem]) -> None:
    """Check that there are problems, that each has a place, and that each can be shown."""
    assert problems
    for problem in problems:
        assert problem.line > 0
        assert problem.column > 0
        str(problem).encode()


def json_file(number: int, document: Any) -> ManifestFile:
    return ManifestFile(f"{number}.json", json.dumps(document).encode())


def yaml_file(number: int, document: Any) -> ManifestFile:
    text = yaml.safe_dump(document, allow_unicode=True)
    return ManifestFile(f"{number}.yaml", text.encode(errors="replace"))


def of_kind(kind: str, spec: Any) -> Doc:
    return {"apiVersion": "gitvs/v1", "kind": kind, "metadata": {"name": "a"}, "spec": spec}


@settings(max_examples=examples(300))
@given(st.lists(documents(), min_size=1, max_size=3), st.sampled_from([json_file, yaml_file]))
@example([of_kind("Service", None)], json_file)
@example([of_kind("Service", 5)], json_file)
@example([of_kind("Service", True)], json_file)
@example([of_kind("Service", [])], json_file)
@example([of_kind("Service", "text")], json_file)
def test_any_value_anywhere_gives_problems_at_most(several: list[Any], write: Any) -> None:
    load(*(write(number, document) for number, document in enumerate(several)))


@settings(max_examples=examples(300))
@given(st.data())
def test_any_damage_to_the_text_gives_problems_at_most(data: st.DataObject) -> None:
    document = data.draw(st.sampled_from(SOUND_DOCUMENTS))
    write = data.draw(st.sampled_from([json_file, yaml_file]))
    file = write(0, document)
    damaged = bytearray(file.data)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(damaged)))
        end = data.draw(st.integers(start, min(start + 9, len(damaged))))
        damaged[start:end] = data.draw(
            st.one_of(
                st.binary(max_size=4),
                st.sampled_from(
                    [b"---\n", b"&a ", b"*a", b"<<: ", b"!!x ", b"\t", b"\\ud800", b'"']
                ),
            )
        )
    load(ManifestFile(file.path, bytes(damaged)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [None, True, 5, 0.5, "text", [], ["a"]])
def test_a_spec_of_another_type_is_one_problem_with_its_line(kind: str, value: Any) -> None:
    text = json.dumps(of_kind(kind, value)).replace('"spec"', '\n"spec"')
    with pytest.raises(InvalidManifests) as raised:
        Loader().load([ManifestFile("a.yaml", text.encode())])
    (problem,) = raised.value.problems
    assert (problem.file, problem.line, problem.rule) == ("a.yaml", 2, "wrong-type")


def test_an_empty_spec_hides_no_other_problem() -> None:
    text = yaml.safe_dump_all([of_kind("Service", None), of_kind("Pool", {"realServer": []})])
    with pytest.raises(InvalidManifests) as raised:
        Loader().load([ManifestFile("a.yaml", text.encode())])
    assert {problem.rule for problem in raised.value.problems} == {
        "wrong-type",
        "unknown-field",
        "missing-field",
    }

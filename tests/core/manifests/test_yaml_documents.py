"""Reading bytes: each trap of YAML and JSON gets one clear answer, at the right place."""

from __future__ import annotations

from typing import Any

import pytest

from gitvs.core.manifests.files import ManifestFile
from gitvs.core.manifests.syntax.yaml_documents import is_manifest, parse_file
from gitvs.core.problems import Problem
from tests.support.manifests.writing import (
    director,
    document,
    file_of,
    problems_in,
    rules_of,
    service,
    text_file,
)
from tests.support.work import work_of

HEAD = "apiVersion: gitvs/v1\nkind: Service\nmetadata: {name: web}\nspec:\n"
SOUND = HEAD + "  vips: [203.0.113.10]\n  ports: [{port: 443}]\n  realServers: []\n"


def reading(text: str | bytes, path: str = "a.yaml") -> tuple[list[Any], list[Problem]]:
    data = text if isinstance(text, bytes) else text.encode()
    read = parse_file(ManifestFile(path, data))
    return [d.data for d in read.documents], read.problems


def value(text: str, path: str = "a.yaml") -> Any:
    documents, problems = reading(text, path)
    assert problems == []
    return documents[0]


def problem(text: str | bytes, path: str = "a.yaml") -> Problem:
    (found,) = reading(text, path)[1]
    return found


def problems_with(line: str) -> list[Problem]:
    """The problems of a sound Service with one more line in its spec."""
    return problems_in(text_file("a.yaml", SOUND + line))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-12", -12),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("True", "True"),
        ("010", "010"),
        ("0x1f", "0x1f"),
        ("0o17", "0o17"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        (".inf", ".inf"),
        (".5", ".5"),
        ("+1", "+1"),
        ("1" * 5000, "1" * 5000),
        ("'1'", "1"),
        ('"true"', "true"),
        ("2001:db8::10", "2001:db8::10"),
        ("=", "="),
    ],
)
def test_only_constants_and_decimal_numbers_are_more_than_text(text: str, expected: Any) -> None:
    found = value(f"key: {text}\n")["key"]
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("  crossFamily: no\n", "write false"),
        ("  crossFamily: Yes\n", "write true"),
        ("  firewallMark: 010\n", "write 10, or 8 if octal is meant"),
        ("  firewallMark: 089\n", "write 89"),
        ("  firewallMark: 0x1f\n", "write it in decimal: 31"),
        ("  firewallMark: 0o17\n", "write it in decimal: 15"),
        ("  firewallMark: 1_000\n", "write it without _: 1000"),
        ("  firewallMark: 12:30\n", "base 60"),
        ("  firewallMark: '77'\n", "remove the quotes: 77"),
        ("  firewallMark: 1.0\n", "a whole number is wanted, not 1.0"),
        ("  drain: {timeout: 90}\n", "90s"),
        ("  drain: {timeout: 12:30}\n", "a duration is a whole number and a unit"),
        ("  hostAddresses: [2024]\n", 'put it in quotes: "2024"'),
        ("  <<: {scheduler: rr}\n", "merge keys"),
        ("  shceduler: rr\n", "did you mean scheduler?"),
        ("  scheduler: wrrr\n", "did you mean wrr?"),
        ("  health: {}\n", "checks is missing"),
        ("  health: true\n", "write {checks: [{tcp: {}}]}"),
    ],
)
def test_what_yaml_makes_of_a_value_is_explained(line: str, says: str) -> None:
    found = [p for p in problems_with(line) if p.line == 8]
    assert any(says in p.message for p in found), found


def test_a_duplicate_key_is_refused_with_the_line_of_the_first() -> None:
    found = problem("a:\n  b: 1\n  c: 2\n  b: 3\n")
    assert (found.line, found.column, found.rule, found.pointer) == (4, 3, "duplicate-key", "/a")
    assert "first in line 2" in found.message


@pytest.mark.parametrize("key", ["1", "true", "null", "1.5"])
def test_a_key_that_is_not_text_is_refused(key: str) -> None:
    assert problem(f"a: 1\n{key}: 2\n").rule == "key-not-text"


@pytest.mark.parametrize("key", ["? [1]\n: 2", "? {a: 1}\n: 2", "a: &x y\n*x : 2"])
def test_a_list_a_mapping_or_an_alias_as_a_key_is_refused(key: str) -> None:
    assert problem(key + "\n").rule == "key-not-text"


def test_anchors_that_explode_are_refused_quickly() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    found = []
    assert work_of(lambda: found.append(problem("\n".join(lines)))).calls < 50_000
    assert found[0].rule == "aliases-explode"


def test_an_alias_repeats_its_anchor_under_its_own_key() -> None:
    assert value("a: &x {b: [1]}\nc: *x\n") == {"a": {"b": [1]}, "c": {"b": [1]}}


@pytest.mark.parametrize("text", ["a: *x\n", "a: &x [*x]\n", "a: &x 1\n---\nb: *x\n"])
def test_an_alias_without_a_complete_anchor_is_refused(text: str) -> None:
    assert problem(text).rule == "unknown-alias"


@pytest.mark.parametrize("text", ["a:\n\tb: 1\n", "a:\n  b: 1\n\tc: 2\n"])
def test_a_tab_in_the_indentation_is_named(text: str) -> None:
    assert "tab" in problem(text).message


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert value("\ufeffa: 1\n") == {"a": 1}
    assert value('\ufeff{"a": 1}', "a.json") == {"a": 1}


@pytest.mark.parametrize(
    ("data", "line", "column", "says"),
    [
        (b"a: 1\nb: \xff\n", 2, 4, "byte 0xff is not UTF-8"),
        ("é: ü\nß: ".encode() + b"\xc3", 2, 4, "byte 0xc3"),
        ("a: 1\n".encode("utf-16"), 1, 1, "UTF-16"),
        (b"\xef\xbb\xbfa: \xff", 1, 4, "byte 0xff"),
    ],
)
def test_what_is_not_utf_8_is_refused_where_it_is(
    data: bytes, line: int, column: int, says: str
) -> None:
    found = problem(data)
    assert (found.line, found.column, found.rule) == (line, column, "not-utf-8")
    assert says in found.message


@pytest.mark.parametrize("data", [b"a: \x00\n", b"a: \x1b[31m\n", "a: \u0080\n".encode()])
def test_control_characters_are_refused(data: bytes) -> None:
    found = problem(data)
    assert (found.rule, found.line, found.column) == ("control-character", 1, 4)


@pytest.mark.parametrize("path", ["a.yaml", "a.json"])
def test_half_a_surrogate_pair_is_refused(path: str) -> None:
    assert problem('{"a": "\\ud800"}', path).rule in ("not-utf-8", "syntax")


@pytest.mark.parametrize("path", ["a.yaml", "a.json"])
def test_a_byte_order_mark_inside_of_a_file_is_named(path: str) -> None:
    found = problem("\ufeff" + "a: 1\n" + "\ufeff---\nb: 2\n", path)
    assert (found.rule, found.line, found.column) == ("control-character", 2, 1)
    assert "U+FEFF" in found.message
    assert "byte order mark" in found.message


@pytest.mark.parametrize("path", ["a.yaml", "a.json"])
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> topic\n", 2),
        ("a: 1\r\n<<<<<<<\r\nb: 1\r\n", 2),
        ("a: 1\nb: 2\n\n>>>>>>> 1a2b3c4 (Move DNS)\n", 4),
    ],
)
def test_the_marks_of_a_merge_conflict_are_the_one_problem_of_their_file(
    text: str, line: int, path: str
) -> None:
    found = problem(text, path)
    assert (found.rule, found.line, found.column) == ("conflict-marker", line, 1)
    assert "marks a merge conflict that is not resolved" in found.message


def test_text_that_only_looks_like_a_conflict_is_read() -> None:
    text = "a: |\n  <<<<<<< HEAD\n  =======\nb: '<<<<<<<'\n"
    assert value(text) == {"a": "<<<<<<< HEAD\n=======\n", "b": "<<<<<<<"}


def test_what_refers_to_a_file_with_a_conflict_is_not_blamed() -> None:
    conflict = ManifestFile("lb1.yaml", b"<<<<<<< HEAD\nkind: Director\nmetadata: {name: lb1}\n")
    web = file_of("web.yaml", service(directors={"names": ["lb1"]}))
    assert [p.rule for p in problems_in(conflict, web)] == ["conflict-marker"]


def test_a_file_of_ten_megabytes_is_one_problem() -> None:
    found = problem(b"a: 1\n" * 2_000_000)
    assert found.rule == "file-too-large"
    assert "the file is over the limit of 4 MiB" in found.message


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("[" * 1000, "a.yaml"),
        ("[" * 100_000, "a.yaml"),
        ("- " * 1000, "a.yaml"),
        ("\n".join(" " * n + "a:" for n in range(1000)), "a.yaml"),
        ("{a: " * 1000, "a.yaml"),
        ("[" * 100_000, "a.json"),
        ('{"a":' * 1000, "a.json"),
    ],
    ids=["flow", "flow-huge", "block-list", "block-map", "flow-map", "json", "json-map"],
)
def test_nesting_a_thousand_deep_is_one_problem(text: str, path: str) -> None:
    found = []
    assert work_of(lambda: found.append(problem(text, path))).calls < 5000
    assert found[0].rule == "nesting-too-deep"


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!int", "!secret", "!!binary"])
def test_tags_are_refused(tag: str) -> None:
    for text in (f"a: {tag} x\n", f"a: {tag} [x]\n", f"a: {tag} {{x: y}}\n"):
        assert problem(text).rule == "yaml-tag"


def test_empty_documents_are_skipped() -> None:
    assert reading("---\n---\na: 1\n---\n# nothing\n---\nb: 2\n...\n") == ([{"a": 1}, {"b": 2}], [])
    assert reading("") == reading("# only a comment\n") == reading(" \n", "a.json") == ([], [])


@pytest.mark.parametrize("text", ["- 1\n", "text\n", "12\n", "[]\n"])
def test_a_document_that_is_no_mapping_is_refused(text: str) -> None:
    assert rules_of(problems_in(text_file("a.yaml", text))) == ["not-a-mapping"]


def test_a_document_that_cannot_be_read_costs_itself_alone() -> None:
    text = "a: 1\n---\nb: [\n---\nc: 3\n---\n\td: 4\n---\ne: e: 5\n---\nf: 6\n"
    documents, problems = reading(text)
    assert documents == [{"a": 1}, {"c": 3}, {"f": 6}]
    assert [p.line for p in problems] == [4, 7, 9]
    assert {p.rule for p in problems} == {"syntax"}


def test_a_file_full_of_unreadable_documents_is_given_up_quickly() -> None:
    text, found = "---\na: [\n" * 100_000, []
    work = work_of(lambda: found.extend(reading(text)[1]))
    assert len(found) == 21
    assert "the rest was not tried" in found[-1].message
    assert work.calls < 5000
    assert work.characters < 100 * len(text)


def test_places_are_right_behind_an_unreadable_document() -> None:
    text = "---\na: [\n---\n\nb:\n  c: 1\n  c: 2\n"
    assert [(p.line, p.column) for p in reading(text)[1]] == [(3, 1), (7, 3)]


def test_windows_line_ends_are_line_ends() -> None:
    assert value("a: 1\r\nb: 2\r\n") == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{\n\t"a":\t[1, 2.5, -3, 1e2],\r\n\t"b": {} }\n', {"a": [1, 2.5, -3, 100.0], "b": {}}),
        ('{"a": "\\ud83d\\ude00\\/\\n\\u00e9"}', {"a": "😀/\né"}),
        ('{"a": [[], {}, [{}], true, false, null]}', {"a": [[], {}, [{}], True, False, None]}),
        ('{"no": "no", "a:b": "# x", "c": "*d"}', {"no": "no", "a:b": "# x", "c": "*d"}),
    ],
)
def test_json_is_read_as_json(text: str, expected: Any) -> None:
    assert value(text, "a.json") == expected


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ('{"a": 1,}', 1, 9),
        ("{a: 1}", 1, 2),
        ('{"a": 01}', 1, 7),
        ('{"a": +1}', 1, 7),
        ('{"a" 1}', 1, 6),
        ('{"a": 1', 1, 8),
        ('{"a": [1 2]}', 1, 10),
        ('{"a": 1}\n{"b": 2}', 2, 1),
        ('{"a": "\t"}', 1, 7),
        ('{"a": tru}', 1, 7),
        ("[1}", 1, 3),
        ('{"a": 1} x', 1, 10),
        ('{\n\t"a": NaN}', 2, 7),
        ("]", 1, 1),
        ('{"a": ' + "1" * 40 + "}", 1, 7),
    ],
)
def test_what_is_not_json_is_refused_where_it_is(text: str, line: int, column: int) -> None:
    found = problem(text, "a.json")
    assert (found.rule, found.line, found.column) == ("syntax", line, column)


def test_a_duplicate_key_in_json_is_refused() -> None:
    found = problem('{\n\t"a": 1,\n\t"a": 2\n}', "a.json")
    assert (found.rule, found.line, found.column) == ("duplicate-key", 3, 2)


def test_a_problem_in_json_has_its_place() -> None:
    text = '{"apiVersion": "gitvs/v1", "kind": "Pool", "metadata": {"name": "a"},\n'
    text += '\t"spec": {"realServers": [{"address": "10.0.0.1", "weight": -1}]}}'
    (found,) = problems_in(text_file("a.json", text))
    assert (found.line, found.column, found.pointer) == (2, 61, "/spec/realServers/0/weight")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.yaml", True),
        ("x/b.yml", True),
        ("x/y/c.json", True),
        ("WEB.YAML", True),
        ("x/Web.Yml", True),
        ("c.JSON", True),
        ("README.md", False),
        (".a.yaml", False),
        (".github/a.yaml", False),
        ("a.yaml.orig", False),
        ("yaml", False),
    ],
)
def test_manifests_are_known_by_suffix_and_dot_names_are_skipped(path: str, expected: bool) -> None:
    assert is_manifest(path) is expected
    found = problems_in(ManifestFile(path, b"nonsense"))
    assert ([p.rule for p in found] == ["no-manifests"]) is not expected


def test_json_is_json_whatever_the_case_of_its_suffix() -> None:
    assert reading("a: 1\n", "A.JSON")[1][0].message.endswith("nothing of this file is used")
    assert value('{"a": 10}', "A.Json") == {"a": 10}


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("v1", "`path` in the agent's settings"),
        (None, "`path` in the agent's settings"),
        ("gitvs/v2", "it knows gitvs/v1"),
    ],
)
def test_an_unknown_api_version_says_what_to_do(version: str | None, says: str) -> None:
    built = document("Service", "a", {})
    del built["apiVersion"]
    if version is not None:
        built["apiVersion"] = version
    (found,) = problems_in(file_of("a.yaml", built))
    assert found.rule == "unknown-api-version"
    assert says in found.message


def test_an_unknown_kind_gets_a_suggestion() -> None:
    (found,) = problems_in(file_of("a.yaml", document("Sevice", "a", {})))
    assert found.rule == "unknown-kind"
    assert "did you mean Service?" in found.message


def test_sound_documents_around_have_no_problems() -> None:
    assert problems_in(text_file("a.yaml", SOUND), file_of("b.json")) == []
    assert problems_in(file_of("a.yaml", director(), service())) == []

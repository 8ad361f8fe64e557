"""What is recalled of files says what reading them says, and no file with a problem is recalled."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings

from gitvs.core.manifests import file_cache
from gitvs.core.manifests.file_cache import FileCache, cache_edition
from gitvs.core.manifests.files import GitFile, ManifestFile
from gitvs.core.manifests.load import Loader, load_manifest_files
from gitvs.core.manifests.load_run import ValidatedFile, validate_file
from gitvs.core.manifests.render import render_director
from gitvs.core.manifests.syntax.source_positions import Document, Origin, SourcePosition
from gitvs.core.problems import InvalidManifests
from tests.support.effort import examples
from tests.support.manifests.manifest_strategies import Files, edits, manifest_files
from tests.support.manifests.writing import folder
from tests.support.paths import EXAMPLES
from tests.support.stored_files import Texts, stored


def unreadable() -> bytes:
    raise AssertionError("a file that is known is not read")


def shape(reading: ValidatedFile) -> object:
    """All that a reading says: documents with the place of every value, and problems."""
    documents = [
        (d.file, d.data, d.position, d.is_well_formed, list(p)) for d, p in reading.documents
    ]
    assert [d for d, _ in reading.documents] == reading.parsed.documents
    return documents, reading.parsed.problems, reading.parsed.unread_text


HEAD = "apiVersion: gitvs/v1\nkind: Pool\n"
SOUND = {
    "empty.yaml": "",
    "comment.yml": "# nothing\n---\n",
    "bom.yaml": f"\ufeff{HEAD}metadata: {{name: p}}\nspec: {{realServers: []}}\n",
    "alias.yaml": f"{HEAD}metadata: {{name: p, labels: &l {{a: b}}}}\n"
    "spec: {realServers: [{address: 10.0.0.1, labels: *l}, {address: 10.0.0.2, labels: *l}]}\n",
    "text.yaml": f"{HEAD}metadata: {{name: p, description: 'é \u2028 \U0001f600 \"'}}\n"
    "spec: {realServers: []}\n",
    "two.yaml": f"{HEAD}metadata: {{name: p}}\nspec: {{realServers: []}}\n---\n"
    f"{HEAD}metadata:\n  name: q\nspec:\n  realServers:\n    - address: 10.0.0.1\n",
    "policy.yaml": "apiVersion: gitvs/v1\nkind: Policy\nspec: {maxRemovedPercent: 12.5}\n",
    "pool.json": '{"apiVersion": "gitvs/v1", "kind": "Pool",\n "metadata": {"name": "p"},\n'
    ' "spec": {"realServers": [{"address": "10.0.0.1", "weight": 5}]}}\n',
}


@pytest.mark.parametrize("path", SOUND)
def test_a_sound_file_is_recalled_whole_without_being_read(path: str) -> None:
    texts, file = Texts(), stored(path, SOUND[path].encode())
    fresh = shape(FileCache(texts).validate_file(file))
    assert fresh == shape(validate_file(file))
    again = FileCache(texts).validate_file(GitFile(path, file.blob_id, unreadable))
    assert shape(again) == fresh
    assert texts.found == list(texts.kept)


def test_every_example_is_recalled_as_it_was_read() -> None:
    texts = Texts()
    files = [stored(file.path, file.data) for file in folder(EXAMPLES)]
    fresh = [shape(FileCache(texts).validate_file(file)) for file in files]
    assert [shape(FileCache(texts).validate_file(file)) for file in files] == fresh
    assert texts.found
    assert set(texts.found) == set(texts.kept)


@pytest.mark.parametrize(
    "text",
    [
        "kind: [",
        "- no mapping\n",
        f"{HEAD}metadata: {{name: p}}\n",
        f"{HEAD}metadata: {{name: p, name: q}}\nspec: {{realServers: []}}\n",
        f"{SOUND['two.yaml']}---\nx: &a [*b]\n",
        "a: \x01\n",
    ],
)
def test_a_file_with_a_problem_is_read_anew_each_time(text: str) -> None:
    texts, file = Texts(), stored("a.yaml", text.encode())
    fresh = shape(FileCache(texts).validate_file(file))
    assert not FileCache(texts).validate_file(file).is_valid
    assert shape(FileCache(texts).validate_file(file)) == fresh
    assert texts.kept == {}


def test_a_file_is_known_wherever_it_is_but_yaml_is_not_taken_for_json() -> None:
    texts, data = Texts(), SOUND["pool.json"].encode()
    paths = ("a.json", "b/c.json", "a.yaml", "b.yml")
    for path in paths:
        file = stored(path, data)
        assert shape(FileCache(texts).validate_file(file)) == shape(validate_file(file))
    assert len(texts.kept) == 2
    assert len(texts.found) == len(paths) - 2


def test_a_file_of_no_repository_is_read() -> None:
    texts, file = Texts(), ManifestFile("a.yaml", SOUND["two.yaml"].encode())
    assert shape(FileCache(texts).validate_file(file)) == shape(validate_file(file))
    assert texts.kept == {}


class Looked:
    """A document's content that counts who looks for places in it."""

    def __init__(self) -> None:
        self.data: object = {"weight": 1}
        self.looks = 0

    @property
    def position(self) -> SourcePosition:
        self.looks += 1
        return SourcePosition(3, 1, children={"weight": SourcePosition(4, 9)})


def test_the_line_of_a_value_is_looked_up_once_however_many_services_have_it() -> None:
    content = Looked()
    spot = Origin(Document("pool.yaml", content)) / "weight"
    assert [spot.line, spot.line] == [4, 4]
    assert content.looks == 1


def test_another_gitvs_has_another_edition(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache_edition()
    assert cache_edition() == before
    monkeypatch.setattr(file_cache, "__version__", "0.0.1")
    assert cache_edition() != before


@settings(max_examples=examples(40))
@given(edits())
def test_processes_that_share_texts_say_what_they_say_alone(history: list[Files]) -> None:
    texts = Texts()
    for files in history:
        sources = [stored(file.path, file.data) for file in manifest_files(files)]
        assert outcome(Loader(FileCache(texts).validate_file), sources) == outcome(None, sources)


def outcome(loader: Loader | None, files: Iterable[GitFile]) -> object:
    """What files come to: every problem, or every director's desired state with its lines."""
    try:
        manifests = load_manifest_files(files) if loader is None else loader.load(files)
    except InvalidManifests as error:
        return error.problems
    states = [render_director(manifests, name) for name in manifests.director_names]
    return [(state, state.locations, state.policy) for state in states]

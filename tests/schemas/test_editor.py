"""Manifests in an editor: what it completes, explains and underlines."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from gitvs.core.manifests.schema import DOCUMENT_KINDS, schema_for
from gitvs.core.manifests.syntax.yaml_documents import is_manifest
from tests.harness.editor import Editor, Mark, editor
from tests.support.manifests.writing import manifest_examples
from tests.support.paths import ROOT, SCHEMAS

SCHEDULERS = ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf"]

HEAD = "apiVersion: gitvs/v1\nkind: Service\nmetadata: {name: web}\nspec:\n"
SERVICE = f"""{HEAD}  vips: [203.0.113.10, {{address: "2001:db8::10", bind: false}}]
  ports: [{{port: 443}}]
  realServers:
    - address: 10.0.3.5
"""
WRONG = f"{SERVICE}  pool: [web]\n"
DIRECTOR = "apiVersion: gitvs/v1\nkind: Director\nmetadata: {name: lb1}\n"


@pytest.fixture(name="at_work", scope="module")
def fixture_at_work() -> Iterator[Editor]:
    """An editor whose settings give every file the schema."""
    with editor(ROOT, schemas={"./schemas/manifest.schema.json": "*.yaml"}) as one:
        yield one


@pytest.fixture(name="bare", scope="module")
def fixture_bare() -> Iterator[Editor]:
    """An editor that has no schemas but those that files name."""
    with editor(ROOT) as one:
        yield one


def readme(pattern: str) -> str:
    """The one line that README shows and that fits a pattern."""
    [found] = re.findall(rf"^    ({pattern})$", (ROOT / "README.md").read_text(), re.MULTILINE)
    return str(found)


def schema_beside(manifests: Path) -> Path:
    """The schema where README puts it."""
    manifests.mkdir(exist_ok=True)
    schema = manifests / ".manifest.schema.json"
    schema.write_text(json.dumps(schema_for("Manifest")))
    return schema


def with_schema(text: str, schema: object = SCHEMAS / "manifest.schema.json") -> str:
    return f"# yaml-language-server: $schema={schema}\n{text}"


def test_it_completes_kinds_and_the_fields_of_the_kind(at_work: Editor) -> None:
    assert at_work.offers(ROOT, "apiVersion: gitvs/v1\nkind: ¦") == [*DOCUMENT_KINDS]
    service = at_work.offers(ROOT, f"{HEAD}  ¦")
    director = at_work.offers(ROOT, f"{DIRECTOR}spec:\n  ¦")
    assert {"vips", "ports", "scheduler", "realServers", "pools"} <= set(service)
    assert {"localRoutes", "sysctls", "standby"} <= set(director)
    assert not {"localRoutes", "sysctls"} & set(service)
    assert "timeout" in at_work.offers(ROOT, f"{HEAD}  drain:\n    ¦")
    assert "weight" in at_work.offers(ROOT, f"{SERVICE}      ¦")


def test_it_completes_values(at_work: Editor) -> None:
    assert set(SCHEDULERS) <= set(at_work.offers(ROOT, f"{HEAD}  scheduler: ¦"))
    assert at_work.offers(ROOT, f"{HEAD}  tunnel: {{type: ¦}}") == ["ipip", "gue", "gre"]
    assert "mh-port" in at_work.offers(ROOT, f"{HEAD}  schedulerFlags:\n    - ¦")


def test_it_completes_each_document_of_a_file_as_its_kind(at_work: Editor) -> None:
    in_second = at_work.offers(ROOT, f"{DIRECTOR}---\n{HEAD}  s¦\n---\n{DIRECTOR}")
    assert "scheduler" in in_second
    assert "sysctls" not in in_second


@pytest.mark.parametrize(
    ("text", "title", "words"),
    [
        (f"{HEAD}  sche¦duler: wlc\n", "Scheduler", "over the real servers"),
        (f"{HEAD}  vips:\n    - ad¦dress: 10.0.0.1\n", "Address", "bound on the dummy interface"),
        (f"{HEAD}  realServers:\n    - we¦ight: 3\n", "Weight", "0 takes no new connections"),
        (f"{DIRECTOR}spec: {{stand¦by: true}}\n", "Standby", "VIPs"),
        ("apiVersion: gitvs/v1\nki¦nd: Pool\n", "Kind", "`Policy`"),
    ],
)
def test_it_explains_fields(at_work: Editor, text: str, title: str, words: str) -> None:
    shown = at_work.explains(ROOT, text)
    assert shown.startswith(f"#### {title}\n")
    assert words in shown


def test_it_underlines_nothing_in_sound_manifests(at_work: Editor) -> None:
    files = [f for folder in manifest_examples(ROOT / "examples") for f in folder.rglob("*.yaml")]
    assert len(files) > 5
    for file in files:
        assert at_work.marks(ROOT, file.read_text()) == [], file


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (f"{SERVICE}  shceduler: wlc\n", 9, "shceduler is not allowed"),
        (f"{SERVICE}  scheduler: wcl\n", 9, '"wlc"'),
        (f"{SERVICE}  drain: {{timeout: 5 min}}\n", 9, "500ms, 90s, 5m, 2h"),
        (f"{SERVICE}      weight: 65536\n", 9, "maximum of 65535"),
        (f"{SERVICE}  pools: [web]\n", 9, "exactly one of `realServers`"),
        (f"{SERVICE}  firewallMark: 5\n", 9, "exactly one of `ports`"),
        (f"{HEAD}  firewallMark: 5\n", 4, 'Missing property "realServers"'),
        (SERVICE.replace("10.0.3.5", "10.0.3.555"), 8, "IPv4"),
        (SERVICE.replace("203.0.113.10", "203.0.113.0/24"), 5, "IPv4"),
        (SERVICE.replace("2001:db8::10", "2001:db8::x"), 5, "IPv6"),
        (SERVICE.replace("name: web", "name: we b"), 3, "letters, digits"),
        (SERVICE.replace("Service", "Servcie"), 2, '"Service"'),
        (f"{DIRECTOR}---\n{WRONG}", 13, "pool is not allowed"),
        (f"{SERVICE}---\n{DIRECTOR}spec: {{sysctls: {{kernel.panic: 1}}}}\n", 13, "below net."),
    ],
)
def test_it_underlines_what_is_wrong(at_work: Editor, text: str, line: int, words: str) -> None:
    [mark] = at_work.marks(ROOT, text)
    assert (mark.line, words in mark.text) == (line, True), mark


def test_a_line_gives_a_document_its_schema(bare: Editor) -> None:
    [mark] = bare.marks(ROOT, f"{with_schema(DIRECTOR)}---\n{with_schema(WRONG)}")
    assert mark == Mark(15, 3, "Property pool is not allowed.")
    assert bare.offers(ROOT, with_schema("kind: ¦")) == [*DOCUMENT_KINDS]


def test_a_line_says_nothing_of_the_next_document(bare: Editor) -> None:
    """It should, and README need not warn of it, once yaml-language-server's issue 946 is done."""
    assert bare.marks(ROOT, f"{with_schema(DIRECTOR)}---\n{WRONG}") == []


def test_the_schema_of_one_kind_does_too(bare: Editor) -> None:
    schema = SCHEMAS / "service.schema.json"
    assert bare.offers(ROOT, with_schema(f"{HEAD}  forwarding: ¦", schema))[:1] == ["nat"]
    assert bare.marks(ROOT, with_schema(SERVICE, schema)) == []
    [mark] = bare.marks(ROOT, with_schema(WRONG, schema))
    assert mark == Mark(10, 3, "Property pool is not allowed.")


def test_a_schema_may_be_named_from_the_folder_of_the_file(bare: Editor, tmp_path: Path) -> None:
    name = schema_beside(tmp_path).name
    for folder, path in ((tmp_path, name), (tmp_path, f"./{name}"), (tmp_path / "a", f"../{name}")):
        assert bare.offers(folder, with_schema("kind: ¦", path)) == [*DOCUMENT_KINDS], path


def test_a_schema_may_be_a_url(bare: Editor) -> None:
    handler = partial(QuietHandler, directory=os.fspath(SCHEMAS))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/manifest.schema.json"
        assert bare.offers(ROOT, with_schema("kind: ¦", url)) == [*DOCUMENT_KINDS]
        server.shutdown()


def test_a_setting_of_the_editor_serves_all_documents_of_a_folder(tmp_path: Path) -> None:
    manifests = tmp_path / "manifests"
    schema_beside(manifests)
    with editor(
        tmp_path, schemas=json.loads(readme(r"\{.*yaml\.schemas.*\}"))["yaml.schemas"]
    ) as one:
        assert one.offers(manifests / "team", f"{DIRECTOR}---\nkind: ¦") == [*DOCUMENT_KINDS]
        assert one.offers(tmp_path / "other", "kind: ¦") == []


def test_readme_shows_a_schema_that_gitvs_leaves_alone(bare: Editor, tmp_path: Path) -> None:
    schema = schema_beside(tmp_path)
    assert readme(r"gitvs schema Manifest > .*").endswith(f"/{schema.name}")
    line = readme(r"# yaml-language-server: .*")
    assert bare.offers(tmp_path, f"{line}\nkind: ¦") == [*DOCUMENT_KINDS]
    assert not is_manifest(schema.name)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""

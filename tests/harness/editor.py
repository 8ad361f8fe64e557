"""What an editor sees: yaml-language-server, spoken to as an editor does.

Source: Language Server Protocol 3.17; each message is JSON-RPC after a `Content-Length` header.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from threading import Timer
from typing import Any

_PROGRAM = (
    Path(sys.prefix) / "language-server/node_modules/yaml-language-server/bin/yaml-language-server"
)
_PATIENCE_SECONDS = 300
_CAPABILITIES = {
    "textDocument": {
        "completion": {"completionItem": {"snippetSupport": True}},
        "hover": {"contentFormat": ["markdown"]},
        "publishDiagnostics": {},
    },
    "workspace": {"configuration": True, "workspaceFolders": True},
}
CURSOR = "¦"


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """What an editor underlines: line and column, counted from 1, and its words."""

    line: int
    column: int
    text: str


class Editor:
    """An editor with one language server; the texts that it opens are in no file."""

    def __init__(self, process: Popen[bytes], folder: Path, settings: Mapping[str, Any]) -> None:
        assert process.stdin
        assert process.stdout
        self._send, self._receive = process.stdin, process.stdout
        self._settings = {"yaml": {"schemaStore": {"enable": False}, **settings}}
        self._number = 0
        self._opened = 0
        self._is_set = False
        self._marks: dict[str, list[Mark]] = {}
        root = folder.as_uri()
        folders = [{"uri": root, "name": folder.name}]
        asked = {"rootUri": root, "workspaceFolders": folders, "capabilities": _CAPABILITIES}
        self._call("initialize", **asked)
        self._notify("initialized")
        self._notify("workspace/didChangeConfiguration", settings={})
        while not self._is_set:
            self._read()

    def marks(self, folder: Path, text: str) -> list[Mark]:
        """Return what is underlined in a text that is open as a new file of a folder."""
        uri = self._open(folder, text)
        while uri not in self._marks:
            self._read()
        return sorted(self._marks[uri])

    def offers(self, folder: Path, text: str) -> list[str]:
        """Return the words that complete a text at its cursor."""
        answer = self._at_cursor("completion", folder, text)
        return [one["label"] for one in answer["items"]]

    def explains(self, folder: Path, text: str) -> str:
        """Return what is shown where the mouse, the cursor of a text, rests."""
        answer = self._at_cursor("hover", folder, text)
        return str(answer["contents"]["value"]) if answer else ""

    def _at_cursor(self, what: str, folder: Path, text: str) -> Any:
        before, after = text.split(CURSOR)
        uri = self._open(folder, before + after)
        line, column = before.count("\n"), len(before) - before.rfind("\n") - 1
        position = {"line": line, "character": column}
        return self._call(f"textDocument/{what}", textDocument={"uri": uri}, position=position)

    def _open(self, folder: Path, text: str) -> str:
        self._opened += 1
        uri = (folder / f"{self._opened}.yaml").as_uri()
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self._notify("textDocument/didOpen", textDocument=document)
        return uri

    def _call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        self._write({"id": self._number, "method": method, "params": parameters})
        while (answer := self._read()).get("id") != self._number or "method" in answer:
            pass
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def _notify(self, method: str, **parameters: Any) -> None:
        self._write({"method": method, "params": parameters})

    def _write(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._send.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self._send.flush()

    def _read(self) -> dict[str, Any]:
        """Return the next message; marks are kept, questions of the server answered."""
        length = 0
        while line := self._receive.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name == b"Content-Length" else length
        assert length, "the language server has gone, or said nothing for too long"
        message: dict[str, Any] = json.loads(self._receive.read(length))
        self._take_in(message)
        return message

    def _take_in(self, message: dict[str, Any]) -> None:
        match message.get("method"):
            case "textDocument/publishDiagnostics":
                found = message["params"]
                self._marks[found["uri"]] = [_mark(one) for one in found["diagnostics"]]
            case "workspace/configuration":
                asked = [one["section"] for one in message["params"]["items"]]
                answer = [self._settings.get(section, {}) for section in asked]
                self._write({"id": message["id"], "result": answer})
                self._is_set = True
            case _ if "method" in message and "id" in message:
                self._write({"id": message["id"], "result": None})


def _mark(diagnostic: dict[str, Any]) -> Mark:
    start = diagnostic["range"]["start"]
    return Mark(start["line"] + 1, start["character"] + 1, diagnostic["message"])


@contextmanager
def editor(folder: Path, **settings: Any) -> Iterator[Editor]:
    """Run a language server for a folder, with settings named as below `yaml.` in an editor's.

    Raises: AssertionError if there is none.
    """
    assert _PROGRAM.exists(), (
        f"{_PROGRAM} is missing: `make .venv/language-server/ready` fetches it"
    )
    assert shutil.which("node"), "node is missing: `tests/harness/install nodejs` installs it"
    command = ["node", str(_PROGRAM), "--stdio"]
    with Popen(command, stdin=PIPE, stdout=PIPE) as process:
        patience = Timer(_PATIENCE_SECONDS, process.kill)
        patience.start()
        try:
            yield Editor(process, folder, settings)
        finally:
            patience.cancel()
            process.terminate()

"""What the shells complete: directors, real servers, revisions.

Nothing of the kernel, Git or the schemas is imported, and an error completes nothing: who presses
Tab wants a word or silence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from itertools import islice
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from gitvs.adapters.files.work_tree import nearest_git
from gitvs.adapters.service.control_socket import send_request
from gitvs.core.planning.gates import LIFTABLE_GATES
from gitvs.core.settings import DEFAULT_STATE_DIR, socket_path_of

ANSWER_TIMEOUT_SECONDS = 1.0
MAX_FILES = 5_000
MAX_FILE_BYTES = 1 << 20

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_HARMLESS_WORD = re.compile(r"[\w./:@+%,][\w./:@+%,-]*", re.ASCII)
"""What may be offered: a name from a branch or a manifest becomes part of a command line, and `;`,
`$` or a quote in it would be obeyed there."""

_DIRECTOR_DOCUMENT = re.compile(
    r"""^["']?kind["']?:\s*["']?Director["']?\s*(?:#.*)?$""", re.MULTILINE | re.ASCII
)
_NAME = re.compile(r"""["']?metadata["']?:.*?\bname["']?:\s*["']?([\w.-]+)""", re.DOTALL | re.ASCII)


def quietly(words: Callable[[click.Context], Iterable[tuple[str, str]]]) -> Complete:
    """Return a completion of these words, each with its help; it never raises."""

    @wraps(words)
    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        try:
            found = dict(words(context))
        except Exception:  # noqa: BLE001  # a traceback on the command line helps nobody
            return []
        return [
            CompletionItem(word, help=help_text or None)
            for word, help_text in found.items()
            if word.startswith(incomplete) and _HARMLESS_WORD.fullmatch(word)
        ]

    return complete


def state_dir_of(context: click.Context) -> Path:
    return Path(context.params.get("state_dir") or DEFAULT_STATE_DIR)


def _status(context: click.Context) -> Any:
    path = socket_path_of(state_dir_of(context))
    return send_request(path, {"command": "status"}, ANSWER_TIMEOUT_SECONDS)


def stand_in(arguments: Sequence[str]) -> click.Command | None:
    """Return a command that completes the value of an option like the real one, or None.

    `plan` and `render` take 0.2 to 0.3 s of processor time to import, this takes 0.1 s.
    """
    complete = _VALUE_OPTIONS.get(arguments[-1])
    if complete is None:
        return None
    options = [
        click.Option([name], multiple=True, shell_complete=function)
        for name, function in _VALUE_OPTIONS.items()
    ]
    path = click.Argument(["path"], required=False, default=".")
    rest = click.Argument(["rest"], nargs=-1)
    settings = {"ignore_unknown_options": True}
    return click.Command(arguments[0], params=[*options, path, rest], context_settings=settings)


@quietly
def real_servers(context: click.Context) -> Iterator[tuple[str, str]]:
    """Complete the real servers of a running agent, by their names, else by their addresses."""
    for service in _status(context)["services"]:
        for server in service["realServers"]:
            address = server["object"]["address"]
            yield (server["name"], address) if server["name"] else (address, "")


@quietly
def drained_servers(context: click.Context) -> Iterator[tuple[str, str]]:
    """Complete the real servers that are drained by hand."""
    for operation in _status(context)["operations"]:
        if operation["kind"] == "drain":
            yield operation.get("name") or operation["subject"], operation["why"]


@quietly
def directors(context: click.Context) -> Iterator[tuple[str, str]]:
    """Complete the names of Director documents below PATH, as far as they stand there plainly."""
    folder = Path(context.params.get("path") or ".")
    names = ("*.yaml", "*.yml", "*.json")
    files = (file for pattern in names for file in folder.rglob(pattern))
    for file in islice(files, MAX_FILES):
        if file.is_symlink() or not file.is_file() or file.stat().st_size > MAX_FILE_BYTES:
            continue
        text = file.read_text("utf-8", errors="replace")
        if file.suffix == ".json":
            yield from _json_director(text)
            continue
        for document in re.split(r"^---", text, flags=re.MULTILINE):
            if _DIRECTOR_DOCUMENT.search(document) and (found := _NAME.search(document)):
                yield found[1], ""


def _json_director(text: str) -> Iterator[tuple[str, str]]:
    document = json.loads(text)
    if isinstance(document, dict) and document.get("kind") == "Director":
        yield str(document["metadata"]["name"]), ""


@quietly
def revisions(context: click.Context) -> Iterator[tuple[str, str]]:
    """Complete branches and tags of the repository that PATH is in, from its files."""
    git = nearest_git(Path(context.params.get("path") or ".").resolve())
    if git is None:
        return
    repository = _common_folder(git)
    yield "HEAD", ""
    for kind in ("heads", "tags", "remotes"):
        folder = repository / "refs" / kind
        for file in islice((f for f in folder.rglob("*") if f.is_file()), MAX_FILES):
            yield str(file.relative_to(folder)), ""
    packed = repository / "packed-refs"
    for line in packed.read_text("utf-8", "replace").splitlines() if packed.exists() else ():
        if found := re.fullmatch(r"[0-9a-f]+ refs/(?:heads|tags|remotes)/(.+)", line):
            yield found[1], ""


def _common_folder(git: Path) -> Path:
    """Return the folder of the refs; `.git` is a file in a linked work tree."""
    if git.is_dir():
        return git
    folder = git.parent / git.read_text("utf-8").removeprefix("gitdir:").strip()
    common = folder / "commondir"
    return folder / common.read_text("utf-8").strip() if common.exists() else folder


@quietly
def gates(context: click.Context) -> Iterator[tuple[str, str]]:
    """Complete the gates that can be lifted."""
    return ((name, "") for name in LIFTABLE_GATES)


_VALUE_OPTIONS: Mapping[str, Complete] = {
    "--director": directors,
    "--rev": revisions,
    "--base": revisions,
    "--head": revisions,
    "--allow": gates,
}

"""What the shells complete: directors, real servers, revisions.

Nothing of the kernel, Git or the schemas is imported, of YAML only where directors are completed,
and an error completes nothing: Tab must complete a word or do nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from gitvs.adapters.files.work_tree import read_regular_file, repository_of
from gitvs.adapters.service.control_socket import send_request
from gitvs.core.planning.gates import LIFTABLE_GATES
from gitvs.core.settings import DEFAULT_STATE_DIR, socket_path_of

ANSWER_TIMEOUT_SECONDS = 1.0
MAX_REFS = 5_000
MAX_PACKED_REFS_BYTES = 4 << 20

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_HARMLESS_WORD = re.compile(r"[\w./:@+%,][\w./:@+%,-]*", re.ASCII)
"""What completion may offer: a name from a branch or a manifest becomes part of a command line, and
the shell would interpret `;`, `$` or a quote in it.
"""

_PACKED_REF = re.compile(r"^[0-9a-f]+ refs/(?:heads|tags|remotes)/(.+)$", re.MULTILINE)


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
    """Complete the names of the Director documents below PATH."""
    names = import_module("gitvs.adapters.files.director_names").director_names
    return ((name, "") for name in names(Path(context.params.get("path") or ".")))


@quietly
def revisions(context: click.Context) -> Iterator[tuple[str, str]]:
    """Complete branches and tags of the repository that PATH is in, from its files."""
    repository = repository_of(Path(context.params.get("path") or ".").resolve())
    if repository is None:
        return
    yield "HEAD", ""
    for kind in ("heads", "tags", "remotes"):
        folder = repository / "refs" / kind
        for file in islice((f for f in folder.rglob("*") if f.is_file()), MAX_REFS):
            yield str(file.relative_to(folder)), ""
    packed = repository / "packed-refs"
    if packed.exists():
        text = read_regular_file(packed, MAX_PACKED_REFS_BYTES).decode("utf-8", "replace")
        for found in _PACKED_REF.finditer(text):
            yield found[1], ""


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

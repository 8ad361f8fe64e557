"""The part of a document that can be judged although its schema has found problems in it.

Without it, one mistyped port would hide every other problem of its document and of the documents
that refer to it. What is wrong is left out: an item of a list by itself, anything else as a field.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from gitvs.core.manifests.syntax.source_positions import Document, ParsedContent
from gitvs.core.problems import Problem

LEFT_OUT: Any = object()
"""Stands for an item that is left out, so that the others keep their index and position."""

_LISTS = frozenset(
    {
        "vips",
        "ports",
        "realServers",
        "pools",
        "localRoutes",
        "syncDaemons",
        "protectedVips",
        "owners",
    }
)
"""The lists of a spec of which an item may be missing, and the rest still means what it says."""

_MAPS = frozenset({"sysctls", "timeouts", "addresses", "services"})
"""The objects of a spec whose fields mean something each by itself: one of them may be missing.

Of any other object the fields belong together: a persistence without its timeout is a mistake.
"""


@dataclass(frozen=True, slots=True)
class SoundPart:
    """A document without what is wrong in it.

    If only items of lists are missing (`lacks_only_items`), the rest means what it says, and every
    rule may judge it. Otherwise only its single values may be checked: a service without its
    scheduler is another service.
    """

    document: Document
    lacks_only_items: bool


def sound_part(
    document: Document,
    problems: Iterable[Problem],
    is_valid: Callable[[Document], bool],
) -> SoundPart | None:
    """Return what can be judged of a document with problems; None if that is nothing.

    `is_valid` is what its schema says of a document that may lack a field of its spec.
    """
    data = document.data
    if not document.is_well_formed or not isinstance(data, dict):
        return None
    paths = [_item_path(_steps(data, problem.pointer)) for problem in problems]
    left = _without(data, [path for path in paths if not _may_stay(data, path)])
    if not is_valid(Document(document.file, ParsedContent(_compact(left), document.position))):
        return None
    lacks_only_items = all(_is_item(path) for path in paths) and all(
        any(item is not LEFT_OUT for item in left["spec"][str(path[1])]) for path in paths
    )
    part = Document(document.file, ParsedContent(left, document.position))
    return SoundPart(part, lacks_only_items)


Path = tuple[str | int, ...]


def _may_stay(data: Any, path: Path) -> bool:
    """Whether the rest can be judged with it: a wrong name, or a spec that lacks a field."""
    if path == ("spec",):
        return isinstance(data["spec"], dict)
    return path == ("metadata", "name") and isinstance(data["metadata"].get("name"), str)


def _steps(data: Any, pointer: str) -> Path:
    """Return the path of a JSON pointer, as far as it is in the data, and one step more."""
    steps: list[str | int] = []
    for text in pointer.split("/")[1:]:
        name = text.replace("~1", "/").replace("~0", "~")
        step: str | int = int(name) if isinstance(data, list) else name
        steps.append(step)
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            break
    return tuple(steps)


def _is_item(path: Path) -> bool:
    return len(path) == 3 and path[0] == "spec" and path[1] in _LISTS and isinstance(path[2], int)


def _item_path(path: Path) -> Path:
    """Return the path of what has to be left out: an item of a list or map, else a whole field."""
    if _is_item(path[:3]):
        return path[:3]
    if path[:1] == ("spec",) and len(path) > 2 and path[1] not in _MAPS:
        return path[:2]
    indexes = [i for i, step in enumerate(path) if isinstance(step, int)]
    return path[: indexes[0]] if indexes else path


def _without(value: Any, paths: Collection[Path]) -> Any:
    """Return a copy of a value without what is at the paths."""
    if not paths or not isinstance(value, dict | list):
        return value
    below: dict[str | int, list[Path]] = {}
    for path in paths:
        if path:
            below.setdefault(path[0], []).append(path[1:])
    if isinstance(value, list):
        return [
            LEFT_OUT if () in below.get(i, ()) else _without(item, below.get(i, ()))
            for i, item in enumerate(value)
        ]
    return {
        key: _without(item, below.get(key, ()))
        for key, item in value.items()
        if () not in below.get(key, ())
    }


def _compact(value: Any) -> Any:
    """Return a value without the items that are left out."""
    if isinstance(value, list):
        return [_compact(item) for item in value if item is not LEFT_OUT]
    if isinstance(value, dict):
        return {key: _compact(item) for key, item in value.items()}
    return value

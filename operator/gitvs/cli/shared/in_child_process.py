"""A look in a process of its own, for commands that look again: giving up root is for good."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from gitvs.core.errors import GitvsError

Document = Mapping[str, Any]


def apart(look: Callable[[], Document]) -> Document:
    """Return what `look` returns, called in a child, so that this process keeps its rights.

    Raises:
        GitvsError: in the child's words.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _answer(look, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        text = stream.read()
    os.waitpid(child, 0)
    if not text:
        raise GitvsError("the process that was to look ended without an answer")
    answer: Document = json.loads(text)
    if "error" in answer:
        raise GitvsError(answer["error"])
    found: Document = answer["found"]
    return found


def _answer(look: Callable[[], Document], writing: int) -> None:
    """Look, write what was found, and end this process without running what the parent's does."""
    try:
        try:
            answer: dict[str, object] = {"found": look()}
        except GitvsError as error:
            answer = {"error": str(error)}
        with os.fdopen(writing, "wb") as stream:
            stream.write(json.dumps(answer).encode())
    except KeyboardInterrupt:
        pass  # the parent ends too
    except Exception:  # noqa: BLE001  # a bug: shown here, since the parent can't
        traceback.print_exc()
    finally:
        os._exit(0)

"""Runs work in a child process, so that the parent keeps the privileges that work gives up."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from gitvs.core.errors import GitvsError

JsonObject = Mapping[str, Any]


def in_child_process(work: Callable[[], JsonObject]) -> JsonObject:
    """Return what `work` returns in a child process, so that this process keeps its privileges.

    Raises:
        GitvsError: with the child's message.
    """
    read_descriptor, write_descriptor = os.pipe()
    child_pid = os.fork()
    if child_pid == 0:
        os.close(read_descriptor)
        _run_child(work, write_descriptor)
    os.close(write_descriptor)
    with os.fdopen(read_descriptor, "rb") as stream:
        text = stream.read()
    os.waitpid(child_pid, 0)
    if not text:
        raise GitvsError("the child process ended without an answer")
    answer: JsonObject = json.loads(text)
    if "error" in answer:
        raise GitvsError(answer["error"])
    result: JsonObject = answer["found"]
    return result


def _run_child(work: Callable[[], JsonObject], write_descriptor: int) -> None:
    """Run `work`, write its result, and exit without the parent's cleanup."""
    try:
        try:
            answer: dict[str, object] = {"found": work()}
        except GitvsError as error:
            answer = {"error": str(error)}
        with os.fdopen(write_descriptor, "wb") as stream:
            stream.write(json.dumps(answer).encode())
    except KeyboardInterrupt:
        pass  # the parent ends too
    except Exception:  # noqa: BLE001  # a bug: shown here, since the parent can't
        traceback.print_exc()
    finally:
        os._exit(0)

"""The kernel's refusals in words: what one errno means for one change, and what to do.

The kernel has a few numbers for many reasons; which reason it is depends on the change.
Each row was tried on Linux 6.1. The text leaves out what happens next: that is for the
caller to say, who knows.
"""

from __future__ import annotations

import errno
import os

from gitvs.core.plan import Change


def explain(change: Change, code: int) -> str:
    """Return a refusal as a sentence; `code` is positive, as in `errno.ENOENT`."""
    name = errno.errorcode.get(code, f"error {code}")
    return f"{change.kind} {change.key}: {os.strerror(code)} ({name})"

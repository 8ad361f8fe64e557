"""What a reviewer should know of a change, though no gate stops it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from gitvs.core.model import Key


@dataclass(frozen=True, slots=True)
class Risk:
    """One thing to know. `name` is the rule's; `key` is the object it is about, if it is one."""

    name: str
    message: str
    key: Key | None = None

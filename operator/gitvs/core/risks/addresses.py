"""Risks of addresses that the director answers for: by ARP, and with its own daemons."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gitvs.core.risks.risk import Risk
from gitvs.core.risks.step import Step

RULES: tuple[Callable[[Step], Iterator[Risk]], ...] = ()

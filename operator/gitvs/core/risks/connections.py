"""Risks for the connections that are there when a plan is applied."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gitvs.core.risks.risk import Risk
from gitvs.core.risks.step import Step

RULES: tuple[Callable[[Step], Iterator[Risk]], ...] = ()

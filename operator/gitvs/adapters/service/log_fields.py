"""Log records that know which run, commit and director they belong to."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

_LOG_FIELDS: ContextVar[Mapping[str, str]] = ContextVar("fields", default=MappingProxyType({}))


@contextmanager
def log_fields(**fields: str) -> Iterator[None]:
    """Have everything that is logged meanwhile, in this thread, carry these fields too."""
    token = _LOG_FIELDS.set({**_LOG_FIELDS.get(), **{k: v for k, v in fields.items() if v}})
    try:
        yield
    finally:
        _LOG_FIELDS.reset(token)


class LogFieldsFilter(logging.Filter):
    """Gives records `fields`, as the journal names them, and `context`, as text."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through, with its fields."""
        fields = _LOG_FIELDS.get()
        record.fields = {f"GITVS_{name.upper()}": value for name, value in fields.items()}
        record.context = "".join(f" {name}={value}" for name, value in fields.items())
        return True

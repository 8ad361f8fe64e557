"""Adds run, commit and director to log records."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

_LOG_FIELDS: ContextVar[Mapping[str, str]] = ContextVar("fields", default=MappingProxyType({}))


@contextmanager
def log_fields(**fields: str) -> Iterator[None]:
    """Add these fields to all log records of this thread inside the block."""
    token = _LOG_FIELDS.set({**_LOG_FIELDS.get(), **{k: v for k, v in fields.items() if v}})
    try:
        yield
    finally:
        _LOG_FIELDS.reset(token)


class LogFieldsFilter(logging.Filter):
    """Adds `fields`, with the journal's names, and `context`, as text, to log records."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields to a record, and accept it."""
        fields = _LOG_FIELDS.get()
        record.fields = {f"GITVS_{name.upper()}": value for name, value in fields.items()}
        record.context = "".join(f" {name}={value}" for name, value in fields.items())
        return True

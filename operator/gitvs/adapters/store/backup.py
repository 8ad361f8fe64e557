"""A sound copy of the store's database, also while an agent writes it."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from gitvs.adapters.store.database import (
    DATABASE_FILE_NAME,
    as_store_errors,
    damage_error,
    open_for_reading,
)
from gitvs.adapters.store.sealed_records import SealedRecords, Unreadable
from gitvs.core.errors import StoreError


def check_database_exists(state_dir: Path) -> Path:
    """Return the path of the database of a state folder.

    Raises:
        StoreError: there is none.
    """
    path = state_dir / DATABASE_FILE_NAME
    if not os.path.lexists(path):
        raise StoreError(f"there is no database {path}: nothing was applied from there yet")
    return path


def copy_database(state_dir: Path) -> bytes:
    """Return a copy of the database of a state folder, complete in one file and checked.

    Raises:
        StoreError: there is none, or it is damaged, or of an older gitvs.
    """
    path = check_database_exists(state_dir)
    with as_store_errors(path), tempfile.TemporaryDirectory() as folder:
        copy_path = Path(folder, DATABASE_FILE_NAME)
        with (
            closing(open_for_reading(state_dir)) as database,
            closing(sqlite3.connect(copy_path)) as copy,
        ):
            database.backup(copy)
        with closing(open_for_reading(Path(folder))) as copy:
            _verify(copy, path)
        return copy_path.read_bytes()


def _verify(copy: sqlite3.Connection, path: Path) -> None:
    """Check every record of a copy; what is damaged there is damaged in the database."""
    try:
        SealedRecords(copy).verify()
    except Unreadable as error:
        raise damage_error(path, str(error)) from error


def write_file(path: Path, content: bytes, is_replacing: bool) -> None:
    """Write a file that only its owner may read, completely or not at all.

    Raises:
        StoreError: it exists and is not to be replaced, or it cannot be written.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        try:
            descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if is_replacing:
                draft.replace(path)
            else:
                os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    except FileExistsError as error:
        raise StoreError(
            f"{path} exists already, and was left as it is: name another FILE, or replace it with"
            " --force"
        ) from error
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}. No copy was made") from error

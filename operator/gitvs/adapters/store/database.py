"""The store's database file: creates, opens, checks and migrates it, and describes its errors.

A database is complete or absent: a new one is built under another name and then linked into
place, so an empty or half-made file is always damage. The content is left to `sqlite_store`.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from gitvs.adapters.store.migrations import SCHEMA, SCHEMA_VERSION, migrate
from gitvs.adapters.store.sealed_records import DECODING_ERRORS, SealedRecords, Unreadable
from gitvs.core.errors import StoreDamaged, StoreError

DATABASE_FILE_NAME = "gitvs.db"
BUSY_SECONDS = 5.0

_ADVICE_BY_SQLITE_CODE = {
    sqlite3.SQLITE_BUSY: (
        f"another process has kept it locked for {BUSY_SECONDS:.0f} s; let it end, and try again"
    ),
    sqlite3.SQLITE_LOCKED: "another connection keeps it locked; try again",
    sqlite3.SQLITE_FULL: "the disk is full; make room there, and try again",
    sqlite3.SQLITE_READONLY: (
        "it cannot be written: the disk is mounted read-only, or the file or its folder"
        " belongs to another user; make both writable for the user who runs gitvs"
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "it, or its journal beside it, cannot be opened: the disk is mounted read-only, or the"
        " user who runs gitvs may not read and write both files and their folder"
    ),
    sqlite3.SQLITE_PERM: "no permission; run gitvs as the owner of the folder, or as root",
    sqlite3.SQLITE_IOERR: (
        "the disk is full, or does not read or write; look at `df` and the kernel's log"
    ),
}
_ADVICE_BY_ERRNO = {
    errno.EACCES: "run gitvs as root, or as the owner of the state folder",
    errno.EPERM: "run gitvs as root, or as the owner of the state folder",
    errno.EEXIST: "the state folder has to be a folder; choose another --state-dir",
    errno.ENOTDIR: "the state folder has to be a folder; choose another --state-dir",
    errno.ENOSPC: "make room on that disk, and try again",
    errno.EROFS: "remount that disk read-write, or choose another --state-dir",
}
_DAMAGE_MESSAGE = (
    "is damaged{detail}. gitvs does not guess what it owns, and nothing was changed."
    " Move it and its -wal and -shm files away, and take the objects over again with"
    " `gitvs apply --adopt`; a copy made by `gitvs backup` helps only if nothing was"
    " applied since"
)
_DAMAGE_CODES = (
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_CONSTRAINT,  # no statement of ours violates one of an undamaged store
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_SCHEMA,
    sqlite3.SQLITE_ERROR,  # a table or a column has another name
    0,  # a text that is not UTF-8
)
_FORMAT_VERSIONS = slice(18, 20)
"""Where a database says which versions of SQLite can write and read it.

Source: sqlite.org/fileformat.html, section 1.3.
"""
_WAL_FORMAT_VERSIONS = b"\x02\x02"
_ERROR_CODE_MASK = 0xFF  # extended result codes keep the primary one in the low byte


@contextmanager
def as_store_errors(path: Path) -> Iterator[None]:
    """Turn errors of SQLite, records or the file system about `path` into a `StoreError`."""
    try:
        yield
    except Unreadable as error:
        raise damage_error(path, str(error)) from error
    except UnicodeDecodeError as error:  # in what SQLite says of a damaged schema
        raise damage_error(path, "a text in it is not UTF-8") from error
    except (sqlite3.InterfaceError, sqlite3.ProgrammingError):
        raise  # a bug of gitvs
    except sqlite3.DatabaseError as error:
        error_class = StoreDamaged if _primary_code(error) in _DAMAGE_CODES else StoreError
        raise error_class(f"database {path}: {_describe(error)}") from error
    except OSError as error:
        advice = _ADVICE_BY_ERRNO.get(error.errno or 0, "gitvs keeps its records there")
        raise StoreError(f"{error.filename or path}: {error.strerror}; {advice}") from error


def _primary_code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0) & _ERROR_CODE_MASK
    return code


def _describe(error: sqlite3.Error) -> str:
    code = _primary_code(error)
    if code in _DAMAGE_CODES:
        return _DAMAGE_MESSAGE.format(detail=f" ({error})")
    return (
        f"{_ADVICE_BY_SQLITE_CODE[code]} ({error})"
        if code in _ADVICE_BY_SQLITE_CODE
        else str(error)
    )


def damage_error(path: Path, detail: str) -> StoreDamaged:
    """Return the error for a database whose content cannot be trusted."""
    return StoreDamaged(f"database {path}: {_DAMAGE_MESSAGE.format(detail=f' ({detail})')}")


def open_for_writing(state_dir: Path) -> sqlite3.Connection:
    """Open the database of a state folder; create both if missing.

    Raises:
        StoreError: it cannot be opened, is damaged, is from a newer gitvs, or is not ours.
    """
    path = state_dir / DATABASE_FILE_NAME
    with as_store_errors(path):
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_other_owner(state_dir)
        if not _database_exists(path):
            _create(path)
        connection = _connect(path, "rw")
        try:
            connection.execute("PRAGMA synchronous = FULL")
            if _checked_version(connection, path) < SCHEMA_VERSION:
                _migrate(connection)
            connection.execute("BEGIN")
            SealedRecords(connection).verify()
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
    return connection


def open_for_reading(state_dir: Path) -> sqlite3.Connection:
    """Open the database of a state folder without ever writing; a missing one reads as empty.

    Raises:
        StoreError: it cannot be opened, is damaged, or has another schema version.
    """
    path = state_dir / DATABASE_FILE_NAME
    with as_store_errors(path):
        if not _database_exists(path):
            return _open_empty_database()
        connection = _connect(path, "ro")
        try:
            connection.execute("PRAGMA query_only = ON")
            version = _checked_version(connection, path)
        except BaseException:
            connection.close()
            raise
        if version < SCHEMA_VERSION:
            connection.close()
            raise StoreError(
                f"database {path}: written by an older gitvs (schema {version}, this one"
                f" reads {SCHEMA_VERSION}); the next `gitvs apply` or agent updates it"
            )
    return connection


def _database_exists(path: Path) -> bool:
    """Whether the database exists; unlike `os.path.exists`, missing permission is an error."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise damage_error(path, "it is a folder")
    return True


def _refuse_other_owner(state_dir: Path) -> None:
    """Reject another user's state folder: files of two users would lock each other out.

    Raises:
        StoreError: the folder belongs to another user.
    """
    owner = state_dir.stat().st_uid
    if owner != os.geteuid():
        raise StoreError(
            f"state folder {state_dir} belongs to user {owner}, and gitvs runs as user"
            f" {os.geteuid()}: run it as user {owner}, or choose another --state-dir"
        )


def _create(path: Path) -> None:
    """Build a complete database under another name and link it into place; the first one wins."""
    journal = path.with_name(path.name + "-wal")
    if journal.exists():
        raise StoreError(
            f"database {path} is missing, but its journal {journal.name} is there: half"
            " of the store was moved or deleted. Restore the file, or move the journal"
            " away too and take the objects over again with `gitvs apply --adopt`"
        )
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        with closing(_connect(draft, "rw")) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA journal_mode = WAL")
            _create_schema(connection)
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        _fsync_folder(path.parent)
    finally:
        for suffix in ("", "-wal", "-shm"):
            draft.with_name(draft.name + suffix).unlink(missing_ok=True)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?mode={mode}"
    return _configured(sqlite3.connect(uri, timeout=BUSY_SECONDS, isolation_level=None, uri=True))


def _open_empty_database() -> sqlite3.Connection:
    connection = _configured(sqlite3.connect(":memory:", isolation_level=None))
    _create_schema(connection)
    return connection


def _configured(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _checked_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the schema version of a valid database.

    Raises:
        StoreError: it is damaged, or was made by another program or a newer gitvs.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"database {path}: written by a newer gitvs (schema {version}, this one knows up to"
            f" {SCHEMA_VERSION}); install that version again. Nothing was changed"
        )
    tables = {row["name"] for row in connection.execute("SELECT name FROM sqlite_schema")}
    if version <= 0 or ("record" if version == SCHEMA_VERSION else "store") not in tables:
        raise damage_error(path, "empty, or not a database of gitvs")
    journal_mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if journal_mode != "wal" or _format_versions(path) != _WAL_FORMAT_VERSIONS:
        # The newest records would be missing, or nothing could be written, without a word.
        raise damage_error(path, "it says that it has another journal, or another format")
    check_result = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if check_result != "ok":
        raise damage_error(path, check_result.splitlines()[-1])
    return version


def _format_versions(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_FORMAT_VERSIONS.stop)[_FORMAT_VERSIONS]


def _create_schema(connection: sqlite3.Connection) -> None:
    """Make an empty store."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(SCHEMA)
    SealedRecords(connection).create_index(str(uuid.uuid4()))
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring a store of an older gitvs up to date, completely or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("PRAGMA user_version").fetchone()[0] < SCHEMA_VERSION:
        try:
            migrate(connection)
        except DECODING_ERRORS as error:
            raise Unreadable(f"a row of an older gitvs: {error!r}") from error
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")

"""The schema of the store's database, as scripts; new ones are added, old ones never change."""

from __future__ import annotations

MIGRATIONS = (
    """
    CREATE TABLE store (id TEXT NOT NULL) STRICT;
    CREATE TABLE incarnation (
        id INTEGER PRIMARY KEY,
        boot_id TEXT NOT NULL,
        namespace_cookie TEXT NOT NULL,
        UNIQUE (boot_id, namespace_cookie)
    ) STRICT;
    CREATE TABLE owned (
        incarnation INTEGER NOT NULL REFERENCES incarnation ON DELETE CASCADE,
        key TEXT NOT NULL,
        PRIMARY KEY (incarnation, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE drain (
        incarnation INTEGER NOT NULL REFERENCES incarnation ON DELETE CASCADE,
        key TEXT NOT NULL,
        timeout_seconds REAL NOT NULL,
        deadline_seconds REAL NOT NULL,
        PRIMARY KEY (incarnation, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE saved (
        incarnation INTEGER NOT NULL REFERENCES incarnation ON DELETE CASCADE,
        key TEXT NOT NULL,
        resource TEXT NOT NULL,
        PRIMARY KEY (incarnation, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE applied (
        only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
        at TEXT NOT NULL,
        revision TEXT,
        desired TEXT NOT NULL
    ) STRICT;
    CREATE TABLE history (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        started_at TEXT NOT NULL,
        finished_at TEXT,
        result TEXT,
        revision TEXT,
        summary TEXT NOT NULL,
        message TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE TABLE plan (
        history INTEGER PRIMARY KEY REFERENCES history ON DELETE CASCADE,
        changes TEXT NOT NULL
    ) STRICT;
    CREATE TABLE open_transaction (
        incarnation INTEGER PRIMARY KEY REFERENCES incarnation ON DELETE CASCADE,
        history INTEGER NOT NULL UNIQUE REFERENCES history ON DELETE CASCADE,
        stage TEXT NOT NULL,
        ledger TEXT NOT NULL,
        desired TEXT NOT NULL,
        at TEXT NOT NULL,
        conflicts TEXT NOT NULL DEFAULT '[]'
    ) STRICT;
    CREATE TABLE accepted_head (
        only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
        revision TEXT NOT NULL,
        at TEXT NOT NULL
    ) STRICT;
    CREATE TABLE suspect (
        incarnation INTEGER NOT NULL REFERENCES incarnation ON DELETE CASCADE,
        revision TEXT NOT NULL,
        version TEXT NOT NULL,
        found_open INTEGER NOT NULL DEFAULT 0,
        quarantined_at TEXT,
        reason TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (incarnation, revision, version)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE operation (
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        service TEXT NOT NULL,
        said TEXT NOT NULL,
        PRIMARY KEY (kind, subject, service)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE barred (
        revision TEXT PRIMARY KEY,
        reason TEXT NOT NULL,
        at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE alive (
        only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
        at TEXT NOT NULL
    ) STRICT;
    """,
    """
    CREATE TABLE applied_part (
        key TEXT PRIMARY KEY,
        record TEXT NOT NULL
    ) STRICT;
    CREATE TABLE target_part (
        history INTEGER NOT NULL REFERENCES open_transaction (history) ON DELETE CASCADE,
        key TEXT NOT NULL,
        record TEXT,
        PRIMARY KEY (history, key)
    ) STRICT;
    ALTER TABLE applied RENAME COLUMN desired TO head;
    ALTER TABLE open_transaction RENAME COLUMN desired TO head;
    ALTER TABLE open_transaction DROP COLUMN ledger;
    """,
)
"""One script for each schema version, in order."""

FIRST_VERSION_WITH_PARTS = 3
"""Since this version, desired states are stored in parts; before, each was one text."""

SCHEMA_VERSION = len(MIGRATIONS)

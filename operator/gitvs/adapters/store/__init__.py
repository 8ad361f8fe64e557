"""The store: what must outlive the process, in one SQLite database.

In reading order: `sqlite_store` (the port `Store`), `database` (the file), `migrations` (its
schema), `rows`, `desired_rows`, `ledger_rows`, `cached_records`, `retention`.
"""

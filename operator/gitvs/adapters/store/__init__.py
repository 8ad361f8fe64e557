"""The store: what must outlive the process, in one SQLite database.

In reading order: `sqlite_store` (the port `Store`), `database` (the file), `sealed_records` (what
is in it), `small_records`, `quarantine`, `large_records`, `chains`, `packed_states`,
`packed_plans`, `packed_resources`, `migrations` (stores of older versions), `backup`.
"""

"""Adapters: one folder for each outside system, behind a Protocol of `ports` or a few functions.

`linux` (the kernel), `git`, `store` (SQLite), `service` (systemd, control socket, metrics,
settings file), `files` (folders on disk), `process` (privileges, lock and clock of this
process).
"""

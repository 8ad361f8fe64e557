"""This process: `privileges` (users and capabilities), `writer_lock`, `clock`."""

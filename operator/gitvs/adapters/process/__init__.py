"""This process: `privileges` (user and capabilities), `writer_lock`, `clock`."""

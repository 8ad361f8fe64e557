"""Real Git repositories for tests, made by Git itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_AUTHOR_DATE": "2026-01-02T12:00:00Z",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_COMMITTER_DATE": "2026-01-02T13:00:00+01:00",
}


class Repository:
    """A work tree on branch main."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *args: str, stdin: bytes = b"") -> str:
        """Run a Git command here, and return what it wrote."""
        done = subprocess.run(
            ["git", "-c", "safe.directory=*", *args],
            cwd=self.folder,
            env=_ENVIRONMENT,
            input=stdin,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode(errors="surrogateescape").strip()

    def write(self, files: dict[str, str | bytes]) -> None:
        """Write files into the work tree."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, files: dict[str, str | bytes] | None = None, message: str = "Change") -> str:
        """Commit files on top of what is there; return the commit's id."""
        self.write(files or {})
        self.git("add", "--all")
        options = ("--quiet", "--allow-empty", "--file=-")  # an argument has 128 KiB at most
        self.git("commit", *options, stdin=message.encode(errors="surrogateescape"))
        return self.git("rev-parse", "HEAD")

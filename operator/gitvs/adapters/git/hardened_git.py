"""Starts Git through GitPython, isolated from the configuration of user, host and repository.

No hook, filter, pager, prompt or network protocol is used unless this module asks for it. No
child process outlives its timeout or fills our memory. The meaning of the commands is left to
`objects` and `remote`.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
from typing import Any

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # gitvs reports a missing git itself

import git  # it reads GIT_PYTHON_REFRESH

from gitvs.adapters.process.privileges import clear_ambient_capabilities
from gitvs.core.errors import SourceError, SourceUnreachable

LOCAL_TIMEOUT_SECONDS = 60.0
MAX_OUTPUT_BYTES = 64 * 1024 * 1024

_INHERITED_VARIABLES = frozenset(
    {"PATH", "HOME", "TMPDIR"}
    | {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
    | {"HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
)
_ENVIRONMENT = {
    "LANGUAGE": "C",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": "/dev/null",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_PAGER": "cat",
}
_CONFIGURATION = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.askPass=",
    "credential.helper=",
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.graftFileDeprecated=false",  # our GIT_GRAFT_FILE exists, so Git would advise against it
    # By default, a power cut can leave refs to empty objects, and then every fetch fails.
    "core.fsync=all",
    # Git rejects other users' repositories because their configuration could run programs.
    # The commands used here run none, and if gitvs is root, Git runs as the owner.
    "safe.directory=*",
)
_USERINFO = re.compile(r"(?<=://)[^/\s]*@")
_MAX_ERROR_CHARACTERS = 500
_ADVICE = re.compile(r"(hint|warning):", re.IGNORECASE)
_CONSEQUENCES = (
    "fatal: Could not read from remote repository.",
    "Please make sure you have the correct access rights",
    "and the repository exists.",
    "fatal: the remote end hung up unexpectedly",
    "fatal: early EOF",
    "fatal: index-pack failed",
    "fatal: unpack-objects failed",
)
"""Lines that name no cause; they only follow from one."""


class GitFailed(SourceError):
    """A Git command ended with an error; `lines` is what it wrote, the cause first.

    `error_text` is the lines as one, without credentials, and not too long.
    """

    def __init__(self, returncode: int, lines: Sequence[str] = ()) -> None:
        self.returncode = returncode
        self.lines = tuple(lines)
        self.error_text = shortened("; ".join(lines))
        super().__init__(
            f"git said: {self.error_text}" if lines else f"git ended with exit code {returncode}"
        )


class HardenedGit(git.Git):
    """GitPython's `Git`, with its only method that starts a process overridden.

    Inheritance is GitPython's own extension point: every command goes through `execute`.
    """

    __slots__ = ("_popen_arguments",)

    def __init__(
        self,
        folder: Path,
        git_dir: Path | None = None,
        owner: os.stat_result | None = None,
        configuration: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Run commands in `folder`, on the repository `git_dir`; if gitvs is root, as `owner`."""
        super().__init__(str(folder))
        options: dict[str, Any] = {"c": [*_CONFIGURATION, *configuration]}
        if git_dir is not None:
            options["git_dir"] = str(git_dir)
        self.set_persistent_git_options(**options)
        self.update_environment(**{**_ENVIRONMENT, **(environment or {})})
        self._popen_arguments: dict[str, Any] = {"start_new_session": True}
        if owner is not None and os.geteuid() == 0 and owner.st_uid != 0:
            self._popen_arguments |= {"user": owner.st_uid, "group": owner.st_gid}
            self._popen_arguments["extra_groups"] = []
            self.update_environment(HOME="/nonexistent")

    def execute(self, command: Any, *args: Any, istream: Any = DEVNULL, **kwargs: Any) -> Any:
        """Start a command with a clean environment, in a new session, without capabilities.

        GitPython's own method passes on all of our environment.

        Raises:
            SourceError: it could not be started.
        """
        inherited = {name: os.environ[name] for name in _INHERITED_VARIABLES & os.environ.keys()}
        clear_ambient_capabilities()
        try:
            return Popen(
                command,
                cwd=self.working_dir,
                env={**inherited, **self.environment()},
                stdin=istream,
                stdout=PIPE,
                # Nobody reads the errors of a process that stays, and a full pipe would stop it.
                stderr=DEVNULL if istream == PIPE else PIPE,
                **self._popen_arguments,
            )
        except OSError as error:
            if isinstance(error, FileNotFoundError) and error.filename == command[0]:
                raise SourceError(
                    f"no {command[0]} is installed here, or it is not in PATH; install it"
                ) from error
            raise SourceError(f"git cannot be started: {error}") from error

    def start(self, command: str, *args: str) -> Popen[bytes]:
        """Start a command that answers as long as it is asked; end it with `kill_and_close`.

        Raises:
            SourceError: it could not be started.
        """
        process: Any = self._call_process(command, *args, as_process=True, istream=PIPE)
        assert isinstance(process, Popen)
        return process

    def run(
        self,
        command: str,
        *args: str,
        input: bytes = b"",
        timeout_seconds: float = LOCAL_TIMEOUT_SECONDS,
    ) -> bytes:
        """Run a command to its end, and return what it wrote.

        Raises:
            GitFailed: it ended with an error.
            SourceUnreachable: it reached the timeout and was killed with all its children.
            SourceError: it could not be started, or wrote too much.
        """
        with os.fdopen(os.memfd_create("input"), "w+b") as file:
            file.write(input)
            file.seek(0)
            process: Any = self._call_process(command, *args, as_process=True, istream=file)
        return _wait_for_output(process, timeout_seconds)

    def run_program(self, *command: str, timeout_seconds: float = LOCAL_TIMEOUT_SECONDS) -> bytes:
        """Run a program other than Git in the same environment, in the same way as `run`.

        Raises:
            GitFailed, SourceUnreachable, SourceError: as from `run`.
        """
        return _wait_for_output(self.execute(list(command)), timeout_seconds)


def _wait_for_output(process: Popen[bytes], timeout_seconds: float) -> bytes:
    """Wait for a process to end; kill it if it takes too long."""
    try:
        output, errors = _read_output(process, time.monotonic() + timeout_seconds)
    except TimeoutExpired:
        raise SourceUnreachable(
            f"did not end within {timeout_seconds:g} s; git was stopped"
        ) from None
    finally:
        kill_and_close(process)
    if process.returncode != 0:
        raise GitFailed(process.returncode, error_lines(errors))
    return output


def _read_output(process: Popen[bytes], deadline: float) -> tuple[bytes, bytes]:
    """Read both streams to their end, and wait for the process.

    Raises:
        TimeoutExpired: the deadline passed, even if the process was still writing.
        SourceError: it wrote too much.
    """
    assert process.stdout is not None
    assert process.stderr is not None
    buffers = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in buffers:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            remaining_seconds = deadline - time.monotonic()
            ready = selector.select(remaining_seconds) if remaining_seconds > 0 else []
            if not ready:
                raise TimeoutExpired(process.args, 0)
            for key, _ in ready:
                chunk = os.read(key.fd, 65536)
                buffers[key.fd] += chunk
                if not chunk:
                    selector.unregister(key.fd)
            if sum(map(len, buffers.values())) > MAX_OUTPUT_BYTES:
                raise SourceError(f"git wrote more than {MAX_OUTPUT_BYTES // 1024 // 1024} MiB")
    process.wait(max(deadline - time.monotonic(), 0.1))
    output, errors = buffers.values()
    return bytes(output), bytes(errors)


def kill_and_close(process: Popen[bytes]) -> None:
    """Kill the process and its children if it still runs, and close its pipes."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with suppress(BrokenPipeError):  # it was killed before it read all of its input
                stream.close()


def without_credentials(text: str) -> str:
    """Return a text without the users and passwords in its URLs."""
    return _USERINFO.sub("", text)


def error_lines(errors: bytes) -> list[str]:
    """Return a command's error output, the cause first, each line once.

    Advice, warnings and lines that only follow from an error are dropped if an error is left;
    what the remote says comes last. Credentials are removed, and control characters replaced.
    """
    text = without_credentials(errors.decode("utf-8", "replace"))
    lines = ["".join(c if c.isprintable() else "?" for c in t.strip()) for t in text.splitlines()]
    said = list(dict.fromkeys(line for line in lines if line))
    causes = [line for line in said if not _ADVICE.match(line) and line not in _CONSEQUENCES]
    return sorted(causes or said, key=lambda line: line.startswith("remote:"))


def shortened(text: str) -> str:
    """Return the beginning of a text."""
    return text if len(text) <= _MAX_ERROR_CHARACTERS else text[: _MAX_ERROR_CHARACTERS - 1] + "…"

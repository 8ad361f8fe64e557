"""The files that make gitvs a service of this host: plans, writes and removes them.

Each file contains a checksum of what was written. It distinguishes a file that was edited by
hand, which is not overwritten, from one that an earlier gitvs wrote. Starting and stopping
units is left to `systemctl`, prompts to the commands.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from tempfile import NamedTemporaryFile

import gitvs
from gitvs.core.errors import GitvsError

DEFAULT_PROGRAM = Path("/usr/local/bin/gitvs")
"""The program that the shipped units run."""

SERVICES = ("gitvs.service", "gitvs-restore.service")
UNITS = ("gitvs.service", "gitvs.socket", "gitvs-restore.service")

DESTINATIONS = {
    "gitvs.service": "etc/systemd/system/gitvs.service",
    "gitvs.socket": "etc/systemd/system/gitvs.socket",
    "gitvs-restore.service": "etc/systemd/system/gitvs-restore.service",
    "sysusers.d/gitvs.conf": "etc/sysusers.d/gitvs.conf",
    "tmpfiles.d/gitvs.conf": "etc/tmpfiles.d/gitvs.conf",
    "modules-load.d/gitvs.conf": "etc/modules-load.d/gitvs.conf",
    "network/05-gitvs.network": "etc/systemd/network/05-gitvs.network",
    "NetworkManager/gitvs.conf": "etc/NetworkManager/conf.d/gitvs.conf",
    "completions/gitvs.bash": "etc/bash_completion.d/gitvs",
    "completions/gitvs.zsh": "usr/local/share/zsh/site-functions/_gitvs",
    "completions/gitvs.fish": "etc/fish/completions/gitvs.fish",
}
SETTINGS_PATH = "etc/gitvs/gitvs.toml"

_CHECKSUM_PREFIX = "# Written by `gitvs install`; its checksum without this line: "
_PLAIN_PATH = re.compile(r"/[\w./+-]+", re.ASCII)
_HIDDEN_FOLDERS = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")


class InstallationError(GitvsError):
    """This host cannot run gitvs as a service in this way."""


class FileAction(StrEnum):
    """What happens to a file, in the words that users read."""

    CREATE = "create"
    UPDATE = "update"
    UNCHANGED = "unchanged"
    OVERWRITE = "overwrite, though edited by hand"
    KEEP = "keep: edited by hand"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class InstallationStep:
    """One file and the action for it; `content` is its new content."""

    action: FileAction
    path: Path
    content: str = ""

    @property
    def is_change(self) -> bool:
        return self.action not in (FileAction.UNCHANGED, FileAction.KEEP)


def plan_installation(root: Path, program: Path, *, force: bool = False) -> list[InstallationStep]:
    """Return the steps below `root` after which the units there run `program`."""
    steps = []
    for name, destination in DESTINATIONS.items():
        text = _with_checksum(read_shipped_file(name).replace(str(DEFAULT_PROGRAM), str(program)))
        path = root / destination
        steps.append(
            InstallationStep(_action_for(_read_if_present(path), text, force=force), path, text)
        )
    return steps


def plan_removal(root: Path, *, force: bool = False) -> list[InstallationStep]:
    """Return the steps below `root` that remove what was installed, and nothing else."""
    steps = []
    for destination in DESTINATIONS.values():
        current = _read_if_present(root / destination)
        if current is not None:
            is_removable = force or _is_unedited(current)
            steps.append(
                InstallationStep(
                    FileAction.REMOVE if is_removable else FileAction.KEEP, root / destination
                )
            )
    return steps


def apply_step(step: InstallationStep) -> None:
    """Execute a step; a file is written completely or not at all.

    Raises:
        InstallationError: it could not be written or removed.
    """
    try:
        if step.action is FileAction.REMOVE:
            step.path.unlink()
        elif step.is_change:
            step.path.parent.mkdir(parents=True, exist_ok=True)
            _write(step.path, step.content, 0o644)
    except OSError as error:
        raise InstallationError(f"{step.path}: {error.strerror}") from error


def write_sample_settings(path: Path, group_id: int | None) -> bool:
    """Write the sample settings if there are none yet, and return whether this was done.

    Raises:
        InstallationError: it could not be written.
    """
    try:
        if os.path.lexists(path):
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, read_shipped_file("gitvs.toml"), 0o640, group_id)
    except OSError as error:
        raise InstallationError(f"{path}: {error.strerror}") from error
    return True


def read_shipped_file(name: str) -> str:
    """Return a file of the folder `systemd`, as it is shipped."""
    return files("gitvs").joinpath("systemd", name).read_text("utf-8")


def running_program(argument: str) -> Path:
    """Return the program that was started as `argument`, for units to run.

    Raises:
        InstallationError: the agent's user could not run it in the units' sandbox, and why.
    """
    program = Path(os.path.abspath(argument))
    if program.name != "gitvs" or not program.is_file():
        raise InstallationError(
            f"{argument} is not the program gitvs: start the installed one, or name it with"
            " --program"
        )
    check_program(program, required_files=(Path(sys.executable), Path(gitvs.__file__)))
    return program


def check_program(program: Path, required_files: Sequence[Path] = ()) -> None:
    """Check that the agent's user can run `program` in the units, and read `required_files`.

    Raises:
        InstallationError: this is not possible; the message says why.
    """
    if not _PLAIN_PATH.fullmatch(str(program)):
        raise InstallationError(f"{program}: units need an absolute path of plain characters")
    if not program.is_file() or not os.access(program, os.X_OK):
        raise InstallationError(f"{program} is not a program on this host")
    for path in (program, *required_files):
        reason = _why_unreadable(path)
        if reason is not None:
            raise InstallationError(
                f"the user gitvs could not run {program}: {reason}. Install gitvs where"
                " everybody can read it, for instance in a virtual environment in /opt"
            )


def _why_unreadable(path: Path) -> str | None:
    """Return why an ordinary user cannot read a file in the units' sandbox; None if one can."""
    resolved = path.resolve()
    for folder in _HIDDEN_FOLDERS:
        if resolved.is_relative_to(folder) or path.is_relative_to(folder):
            return f"{resolved} is below {folder}, which the units hide from it"
    for part in _paths_on_the_way(path, resolved):
        mode = part.stat().st_mode
        needed = stat.S_IXOTH if part.is_dir() else stat.S_IROTH
        if not mode & needed:
            return f"{part} is not accessible to other users (mode {stat.S_IMODE(mode):04o})"
    return None


def _paths_on_the_way(*paths: Path) -> Iterator[Path]:
    for path in paths:
        yield from reversed(path.parents)
        yield path


def _action_for(current: str | None, wanted: str, *, force: bool) -> FileAction:
    if current is None:
        return FileAction.CREATE
    if current == wanted:
        return FileAction.UNCHANGED
    if _is_unedited(current):
        return FileAction.UPDATE
    return FileAction.OVERWRITE if force else FileAction.KEEP


def _with_checksum(body: str) -> str:
    first_line, rest = _split_tag(body)
    return f"{first_line}{_CHECKSUM_PREFIX}{_checksum(body)}\n{rest}"


def _split_tag(text: str) -> tuple[str, str]:
    """Return the line that zsh wants to be the first, if there is one, and the rest."""
    if not text.startswith("#compdef "):
        return "", text
    first_line, line_end, rest = text.partition("\n")
    return first_line + line_end, rest


def _is_unedited(text: str) -> bool:
    """Return whether a file is unchanged since some version of gitvs wrote it."""
    tag, rest = _split_tag(text)
    checksum_line, _, body = rest.partition("\n")
    return checksum_line == _CHECKSUM_PREFIX + _checksum(tag + body)


def _checksum(body: str) -> str:
    return hashlib.sha256(body.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _read_if_present(path: Path) -> str | None:
    """Return a file's text, None if it is missing; a symbolic link counts as edited by hand."""
    try:
        if path.is_symlink():
            return f"a link to {path.readlink()}"
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InstallationError(f"{path} cannot be read: {error.strerror}") from error


def _write(path: Path, text: str, mode: int, group_id: int | None = None) -> None:
    with NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=".gitvs-", delete=False
    ) as file:
        try:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if group_id is not None:
                os.fchown(file.fileno(), -1, group_id)
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise

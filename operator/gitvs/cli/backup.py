"""`gitvs backup`: a sound copy of this director's database."""

from __future__ import annotations

from base64 import b64decode, b64encode
from pathlib import Path

import click

from gitvs.adapters.process.privileges import become_owner_of
from gitvs.adapters.store.backup import copy_database, write_file
from gitvs.adapters.store.database import DATABASE_FILE_NAME
from gitvs.cli.shared.in_child_process import in_child_process
from gitvs.cli.shared.options import state_options
from gitvs.cli.shared.output import show
from gitvs.core.errors import ExitCode, StoreError
from gitvs.core.model.resource_json import JsonObject


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@state_options
def backup(file: Path, force: bool, state_dir: Path) -> int:
    """Copy this director's database into FILE, complete and checked.

    It works while an agent runs. Restore a copy only if nothing was applied since it was made, or
    after a reboot, before the agent starts: gitvs refuses a database that is older than its last
    change here. To restore it, stop the agent, move gitvs.db, gitvs.db-wal and gitvs.db-shm away,
    and copy FILE to gitvs.db, with the owner of the folder.

    \b
    Examples:
      gitvs backup /var/backups/gitvs.db
      gitvs backup --force /var/backups/gitvs.db
    """
    if _is_part_of_database(file, state_dir):
        raise StoreError(f"{file} is the database itself, or a part of it; name another FILE")
    copy = in_child_process(lambda: _read(state_dir))  # as root, FILE is written as root
    content = b64decode(copy["content"])
    write_file(file, content, is_replacing=force)
    show(f"{file}: {len(content):,} bytes, every record checked\n")
    return ExitCode.DONE


def _is_part_of_database(file: Path, state_dir: Path) -> bool:
    if file.resolve().parent == state_dir and file.name.startswith(DATABASE_FILE_NAME):
        return True
    try:
        return file.samefile(state_dir / DATABASE_FILE_NAME)
    except OSError:
        return False


def _read(state_dir: Path) -> JsonObject:
    become_owner_of(state_dir)
    return {"content": b64encode(copy_database(state_dir)).decode()}

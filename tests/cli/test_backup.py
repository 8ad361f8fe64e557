"""`gitvs backup`: copies of the database that are whole, and what stays as it is."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.core.model.history import Outcome
from gitvs.core.model.ledger import Incarnation, Ledger
from gitvs.ports import Applied
from tests.support import scenario
from tests.support.command_line import Gitvs, in_process
from tests.support.statuses import NOW, A

HERE = Incarnation("boot", 1)


@pytest.fixture(name="cli")
def fixture_cli(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Gitvs:
    monkeypatch.setenv("GITVS_STATE_DIR", str(tmp_path / "state"))
    return in_process(capsys)


def run_one(store: SqliteStore) -> None:
    transaction = store.begin(HERE, [], Applied(scenario.before(), A, NOW))
    store.commit(transaction, Ledger())
    store.finish(transaction, Outcome.APPLIED, Ledger())


def test_a_copy_has_all_that_was_recorded_also_in_the_journal(cli: Gitvs, tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "state") as store:
        run_one(store)
        ran = cli("backup", tmp_path / "copy.db")
        assert (ran.code, ran.err) == (0, "")
        assert "every record checked" in ran.out
        expected = (store.id, store.number, store.applied(), store.history())
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    (tmp_path / "again").mkdir()
    shutil.copy(tmp_path / "copy.db", tmp_path / "again" / "gitvs.db")
    with SqliteStore(tmp_path / "again") as store:
        assert (store.id, store.number, store.applied(), store.history()) == expected
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again", "copy.db", "state"]


def test_a_file_that_exists_stays_unless_it_is_to_be_replaced(cli: Gitvs, tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "state") as store:
        run_one(store)
    (tmp_path / "copy.db").write_text("precious")
    ran = cli("backup", tmp_path / "copy.db")
    assert ran.code == 1
    assert "exists already, and was left as it is" in ran.err
    assert (tmp_path / "copy.db").read_text() == "precious"
    assert cli("backup", "--force", tmp_path / "copy.db").code == 0
    assert (tmp_path / "copy.db").read_bytes().startswith(b"SQLite format 3")


def test_without_a_store_there_is_nothing_to_copy(cli: Gitvs, tmp_path: Path) -> None:
    ran = cli("backup", tmp_path / "copy.db")
    assert ran.code == 1
    assert "there is no database" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_store_is_not_copied(cli: Gitvs, tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "state") as store:
        run_one(store)
        store._database.execute("UPDATE record SET sealed = X'00' WHERE name = 'applied'")
    ran = cli("backup", tmp_path / "copy.db")
    assert ran.code == 1
    assert "record applied" in ran.err
    assert not (tmp_path / "copy.db").exists()


def test_a_folder_that_is_missing_or_in_the_way_is_named(cli: Gitvs, tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "state") as store:
        run_one(store)
    assert "No such file" in cli("backup", tmp_path / "none" / "copy.db").err
    for options in ([], ["--force"]):
        ran = cli("backup", *options, tmp_path / "state")
        assert (ran.code, "state" in ran.err) == (1, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_root_copies_what_another_user_owns_into_a_folder_of_its_own(
    cli: Gitvs, tmp_path: Path
) -> None:
    with SqliteStore(tmp_path / "state") as store:
        run_one(store)
    for path in (tmp_path / "state", *(tmp_path / "state").iterdir()):
        os.chown(path, 65534, 65534)
    for folder in (tmp_path, *tmp_path.parents):
        if (
            folder.stat().st_uid == 0
            and folder != Path("/")
            and folder.stat().st_mode & 0o777 == 0o700
        ):
            folder.chmod(0o755)
    (tmp_path / "private").mkdir(mode=0o700)
    ran = cli("backup", tmp_path / "private" / "copy.db")
    assert (ran.code, ran.err) == (0, "")
    assert (tmp_path / "private" / "copy.db").stat().st_uid == 0
    assert {p.stat().st_uid for p in (tmp_path / "state").iterdir()} == {65534}


@pytest.mark.parametrize(
    "name", ["state/gitvs.db", "state/gitvs.db-wal", "state/../state/gitvs.db"]
)
def test_the_database_is_never_replaced_by_its_copy(cli: Gitvs, tmp_path: Path, name: str) -> None:
    with SqliteStore(tmp_path / "state") as store:
        run_one(store)
        before = {p.name: p.stat().st_ino for p in (tmp_path / "state").iterdir()}
        ran = cli("backup", "--force", tmp_path / name)
        assert (ran.code, ran.out) == (1, "")
        assert "is the database itself, or a part of it" in ran.err
        assert {p.name: p.stat().st_ino for p in (tmp_path / "state").iterdir()} == before


def test_another_name_of_the_database_is_refused_as_well(cli: Gitvs, tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "state") as store:
        run_one(store)
        os.link(tmp_path / "state" / "gitvs.db", tmp_path / "other.db")
        assert cli("backup", "--force", tmp_path / "other.db").code == 1

"""The number of a store in a file outside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gitvs.adapters.process.witness_file import WitnessFile


def test_a_number_is_read_back_in_the_boot_in_which_it_was_written(tmp_path: Path) -> None:
    file = WitnessFile(tmp_path / "run" / "lock", "store.7", "boot-1")
    assert file.read() is None
    if os.geteuid() != 0:
        (tmp_path / "run" / "lock").mkdir(parents=True)
    for number in (3, 12):
        file.write(number)
        assert file.read() == number
    assert WitnessFile(tmp_path / "run" / "lock", "store.7", "boot-2").read() is None
    assert WitnessFile(tmp_path / "run" / "lock", "store.8", "boot-1").read() is None
    assert len(list((tmp_path / "run" / "lock").iterdir())) == 1


def test_a_store_that_replaces_others_raises_their_numbers_in_its_namespace(tmp_path: Path) -> None:
    mine, other, elsewhere, earlier = (
        WitnessFile(tmp_path, name, boot_id)
        for name, boot_id in (
            ("new.7", "boot-2"),
            ("old.7", "boot-2"),
            ("old.17", "boot-2"),
            ("older.7", "boot-1"),
        )
    )
    for file in (mine, other, elsewhere, earlier):
        file.write(3)
    mine.supersede_others()
    assert [file.read() for file in (mine, other, elsewhere, earlier)] == [3, 4, 3, 3]


@pytest.mark.parametrize("content", ["", "boot-1", "boot-1 x", "boot-1 1 2", "\0\0"])
def test_a_file_with_other_content_says_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "store.7.number").write_text(content)
    assert WitnessFile(tmp_path, "store.7", "boot-1").read() is None


def test_where_nothing_can_be_written_there_is_no_number(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("a file in the place of the folder")
    file = WitnessFile(tmp_path / "lock", "store.7", "boot-1")
    file.write(3)
    assert file.read() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_goes_without_a_folder_that_is_missing(tmp_path: Path) -> None:
    os.seteuid(65534)
    try:
        WitnessFile(tmp_path / "lock", "store.7", "boot-1").write(3)
    finally:
        os.seteuid(0)
    assert list(tmp_path.iterdir()) == []

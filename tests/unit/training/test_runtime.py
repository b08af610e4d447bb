"""What the trainer does to its process."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from worker.training.runtime import temporary_files_in


def test_temporary_files_go_with_the_block_also_when_it_fails(tmp_path: Path) -> None:
    before = tempfile.gettempdir()
    folder = tmp_path / "work" / "tmp"

    def leave_a_file_and_fail() -> None:
        with temporary_files_in(folder), tempfile.NamedTemporaryFile(delete=False) as file:
            assert Path(file.name).parent == folder
            raise KeyError

    with pytest.raises(KeyError):
        leave_a_file_and_fail()
    assert not folder.exists()
    assert tempfile.gettempdir() == before


def test_what_a_killed_process_left_goes_first(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "left").touch()
    with temporary_files_in(tmp_path / "tmp"):
        assert not list((tmp_path / "tmp").iterdir())

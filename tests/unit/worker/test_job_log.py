"""The log of an attempt, also where the disk is full."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from worker.job_log import JobLog


def test_lines_are_kept_on_disk_and_fetched_once(tmp_path: Path) -> None:
    log = JobLog(tmp_path / "log.txt")
    log.write("epoch 1 begins")
    assert [line.split(" ", 1)[1] for line in log.take_fresh()] == ["epoch 1 begins"]
    assert log.take_fresh() == []
    assert log.take_changed()
    assert not log.take_changed()
    log.close()
    assert (tmp_path / "log.txt").read_text().endswith(" epoch 1 begins\n")


def test_a_full_log_says_so_and_grows_no_more(tmp_path: Path) -> None:
    log = JobLog(tmp_path / "log.txt", max_bytes=50)
    for _ in range(100):
        log.write("a line of thirty characters ...")
    log.close()
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert lines[-1].endswith("The log ends here: it has reached 50 bytes.")
    assert len(lines) == 3


def test_what_comes_after_the_end_is_dropped(tmp_path: Path) -> None:
    log = JobLog(tmp_path / "log.txt")
    log.close()
    log.write("late")
    assert log.take_fresh() == []


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_ends_the_file_and_no_reader(caplog: pytest.LogCaptureFixture) -> None:
    log = JobLog(Path("/dev/full"))
    for _ in range(3):
        log.write("epoch 1 begins")
    assert len(log.take_fresh()) == 1
    assert "No space left on device" in caplog.text
    log.close()

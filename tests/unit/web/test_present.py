"""How figures and names read on the pages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from web import present


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("shallow_cnn", "Shallow CNN"),
        ("lenet5", "LeNet-5"),
        ("sgd", "SGD"),
        ("accuracy_drop", "Accuracy drop"),
        (None, ""),
    ],
)
def test_kinds_read_as_people_write_them(kind: str | None, name: str) -> None:
    assert present.kind_name(kind) == name


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (48.2, "48 s"),
        (59.7, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (3_725, "1 h 2 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float | None, text: str) -> None:
    assert present.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3, "just now"),
        (42, "42 s ago"),
        (185, "3 min ago"),
        (7_300, "2 h ago"),
        (200_000, "2 d ago"),
    ],
)
def test_ages_have_one_unit(seconds: float, text: str) -> None:
    assert present.ago(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (1.0, "1"),
        (0.001, "0.001"),
        (0.0000859, "0.0000859"),
        (1e-7, "0.0000001"),
        (3e-9, "3e-09"),
        (0.0, "0"),
        (2_000_000, "2,000,000"),
    ],
)
def test_figures_are_decimals_as_long_as_they_can_be_read(value: float | None, text: str) -> None:
    assert present.figure(value) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "–"),
        (0, "0 B"),
        (415, "415 B"),
        (1024, "1 KiB"),
        (60_000, "58.6 KiB"),
        (180_000, "176 KiB"),
        (9_700_243, "9.3 MiB"),
        (3 * 1024**5, "3072 TiB"),
    ],
)
def test_file_sizes_are_in_the_unit_that_reads_best(size: int | None, text: str) -> None:
    assert present.file_size(size) == text


def test_times_in_the_future_are_no_negative_ages() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert present.seconds_since("2026-01-01T00:00:05.000Z", now) == 0
    assert present.seconds_since("2025-12-31T23:59:00.000Z", now) == 60


def test_a_spark_line_spans_its_box_and_rises_to_the_best() -> None:
    small = present.spark([[1, 0.5, 0.6], [2, 0.9, 0.8], [3, 1.0, 0.9]])
    assert small is not None
    train = [tuple(map(float, point.split(","))) for point in small["train"].split()]
    assert [x for x, _ in train] == [3, present.SPARK_WIDTH / 2, present.SPARK_WIDTH - 3]
    assert train[0][1] == present.SPARK_HEIGHT - 3  # the lowest value stands at the bottom
    assert train[-1][1] == 3
    assert small["text"] == "Evaluation accuracy from 60.00\u202f% to 90.00\u202f%"


def test_a_spark_line_of_one_epoch_is_a_point_inside_its_box() -> None:
    small = present.spark([[1, 0.5, 0.5]])
    assert small is not None
    assert small["dot"] == (present.SPARK_WIDTH / 2, present.SPARK_HEIGHT / 2)
    assert present.spark([]) is None


@pytest.mark.parametrize(
    ("changes", "done"),
    [
        ({}, 2.25),
        ({"status": "failed"}, 2),
        ({"progress": None}, 2),
        ({"epochs_done": 3}, 3),  # the epoch is recorded, the progress is older
        ({"progress": {"phase": "evaluate", "epoch": 3, "step": 4, "steps": 4}}, 3),
    ],
)
def test_the_running_epoch_counts_in_part(changes: dict[str, Any], done: float) -> None:
    progress = {"phase": "train", "epoch": 3, "step": 1, "steps": 4}
    job = {"status": "running", "epochs_done": 2, "progress": progress} | changes
    assert present.share_done(job) == done

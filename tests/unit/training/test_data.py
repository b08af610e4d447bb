"""Data folders: what is accepted, and how a bad one is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.small_data import write_dataset
from worker.training.data import load, pixel_statistics
from worker.training.failures import JobFailure

GOOD: dict[str, Any] = {
    "x_train": np.zeros((4, 3, 5, 1), np.uint8),
    "y_train": np.arange(4),
    "x_test": np.ones((2, 3, 5, 1), np.uint8),
    "y_test": np.arange(2),
}


def test_a_good_folder_is_mapped(tmp_path: Path) -> None:
    dataset = load(write_dataset(tmp_path, version="abc", **GOOD))
    assert dataset.version == "abc"
    assert dataset.image_shape == (3, 5, 1)
    assert isinstance(dataset.x_train, np.memmap)


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("x_train", np.zeros((4, 3, 5, 1), np.float32), "x_train.npy must be uint8"),
        ("x_train", np.zeros((4, 3, 5), np.uint8), "4 axes"),
        ("y_train", np.zeros(4, np.int32), "y_train.npy must be int64"),
        ("y_train", np.arange(3), "4 images, 3 labels"),
        ("y_test", np.array([0, 10]), "0 to 9. Received: 0 to 10"),
        ("y_test", np.array([-1, 1]), "Received: -1 to 1"),
        ("x_test", np.ones((2, 4, 5, 1), np.uint8), "same shape"),
        ("x_test", np.array(["pickle", None], object), "cannot be read"),
    ],
)
def test_a_bad_array_is_named_with_the_rule_it_breaks(
    tmp_path: Path, name: str, array: Any, words: str
) -> None:
    folder = write_dataset(tmp_path, **{**GOOD, name: array})
    with pytest.raises(JobFailure, match=words) as caught:
        load(folder)
    assert caught.value.kind == "data"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path, **GOOD)
    (folder / "y_test.npy").unlink()
    with pytest.raises(JobFailure, match=r"y_test\.npy cannot be read"):
        load(folder)


@pytest.mark.parametrize("text", ["", "[]", '{"classes": []}', '{"classes": ["a"]}'])
def test_a_bad_description_is_named(tmp_path: Path, text: str) -> None:
    folder = write_dataset(tmp_path, **GOOD)
    (folder / "dataset.json").write_text(text)
    with pytest.raises(JobFailure, match=r"dataset\.json"):
        load(folder)


def test_pixel_statistics_are_those_of_numpy_over_the_given_rows() -> None:
    images = np.random.default_rng(3).integers(0, 256, (5000, 4, 3, 2), np.uint8)
    rows = np.arange(0, 5000, 2, dtype=np.int32)
    statistics = pixel_statistics(images, rows)
    chosen = images[::2].astype(np.float64)
    np.testing.assert_allclose(statistics.mean, chosen.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(statistics.variance, chosen.var(axis=(0, 1, 2)), rtol=1e-12)

"""Which images are held back for testing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.sent_files import digits, npz, read_files
from worker.importing.build import draw_test_rows


def test_of_many_small_classes_the_share_is_held_back_in_sum(tmp_path: Path) -> None:
    data = digits(200, classes=100)
    reading = read_files(tmp_path, {"a.npz": npz(**data)})
    assert (reading.done.train_images, reading.done.test_images) == (160, 40)
    assert np.bincount(reading.arrays["y_train"]).min() >= 1
    tested = np.unique(reading.arrays["y_test"])
    assert tested.tolist() != list(range(40))  # chance decides, not the classes' order


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.2, 0.29, 0.5, 0.7, 0.9, 0.999])
def test_every_class_has_its_share_but_for_less_than_one_image(fraction: float) -> None:
    draws = np.random.default_rng(1)
    for sizes in (draws.integers(1, 9, 40), draws.integers(1, 900, 12), np.full(7, 2)):
        labels = draws.permutation(np.repeat(np.arange(len(sizes)), sizes))
        held_back = draw_test_rows(labels, fraction, seed=0)
        counts = np.bincount(labels[held_back], minlength=len(sizes))
        assert (counts <= sizes - 1).all()
        assert (counts <= sizes * fraction + 1).all()
        assert (counts >= np.minimum(np.floor(sizes * fraction - 1e-9), sizes - 1)).all()
        wanted = round(len(labels) * fraction)
        room = np.minimum(np.ceil(sizes * fraction), sizes - 1).sum()
        assert held_back.sum() == min(wanted, room)


def test_the_share_is_of_each_class_where_it_comes_out_even() -> None:
    labels = np.repeat([0, 1, 2], [200, 90, 10])
    for fraction in (0.1, 0.2, 0.3, 0.7):
        counts = np.bincount(labels[draw_test_rows(labels, fraction, seed=3)])
        assert counts.tolist() == [round(n * fraction) for n in (200, 90, 10)]

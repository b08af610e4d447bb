"""Augmentation against an independent NumPy drawing of the same images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from shared.spec.augmentation import Affine, NoAugmentation, Shift
from worker.training.augmentation import augment

Images = npt.NDArray[np.float32]

_RANDOM = np.random.default_rng(3)
PHOTOS = _RANDOM.integers(0, 256, size=(6, 9, 12, 3)).astype(np.float32)


def augmented(settings: Any, *, seed: int = 1, epoch: int = 2, step: int = 3) -> Images:
    images = augment(settings, tf.constant(PHOTOS), seed=seed, epoch=epoch, step=step)
    return np.asarray(images)


def drawn(settings: Affine, *, seed: int, epoch: int, step: int) -> Images:
    """Draw pixel by pixel, from the definition: turn and zoom about the centre, then move."""
    place = [seed, (epoch << 32) + step]
    draws = tf.random.stateless_uniform([5, len(PHOTOS)], place, -1.0, 1.0).numpy()
    count, height, width, _ = PHOTOS.shape
    result = np.zeros_like(PHOTOS)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    for image in range(count):
        turn, zoom, x, y, side = draws[:, image].astype(np.float64)
        angle, size = math.radians(settings.degrees) * turn, 1 + settings.zoom * zoom
        mirror = -1 if settings.flip and side < 0 else 1
        cos, sin = math.cos(angle) / size, math.sin(angle) / size
        inverse = np.array([[cos * mirror, sin * mirror], [-sin, cos]])
        moved = np.array([x, y]) * settings.pixels
        for row in range(height):
            for column in range(width):
                source = inverse @ (np.array([column, row]) - centre - moved) + centre
                result[image, row, column] = between(PHOTOS[image], source[0], source[1])
    return result


def between(image: Images, x: float, y: float) -> npt.NDArray[np.float64]:
    """Return the bilinear mean of the four pixels about a point; black outside."""
    left, top = math.floor(x), math.floor(y)
    total = np.zeros(image.shape[-1])
    for row, share_y in ((top, top + 1 - y), (top + 1, y - top)):
        for column, share_x in ((left, left + 1 - x), (left + 1, x - left)):
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                total += share_x * share_y * image[row, column]
    return total


def test_none_leaves_the_images_alone() -> None:
    np.testing.assert_array_equal(augmented(NoAugmentation()), PHOTOS)


def test_shift_moves_each_image_by_whole_pixels_of_its_own() -> None:
    result = augmented(Shift(pixels=2))
    padded = np.pad(PHOTOS, ((0, 0), (2, 2), (2, 2), (0, 0)))
    moves = []
    for image in range(len(PHOTOS)):
        found = [
            (x, y)
            for x in range(-2, 3)
            for y in range(-2, 3)
            if np.array_equal(result[image], padded[image, 2 - y : 2 - y + 9, 2 - x : 2 - x + 12])
        ]
        assert len(found) == 1, f"Image {image} is not one of the 25 shifts."
        moves += found
    assert len(set(moves)) > 1


@pytest.mark.parametrize(
    "settings",
    [
        Affine(),
        Affine(degrees=180, zoom=0.5, pixels=4, flip=True),
        Affine(degrees=0, zoom=0, pixels=0, flip=True),
    ],
    ids=str,
)
def test_affine_is_its_definition_drawn_pixel_by_pixel(settings: Affine) -> None:
    place = {"seed": 7, "epoch": 4, "step": 11}
    np.testing.assert_allclose(augmented(settings, **place), drawn(settings, **place), atol=0.02)


def test_without_any_change_affine_gives_the_images_back() -> None:
    result = augmented(Affine(degrees=0, zoom=0, pixels=0))
    np.testing.assert_allclose(result, PHOTOS, atol=1e-3)


@pytest.mark.parametrize("other", [{"seed": 2}, {"epoch": 3}, {"step": 4}], ids=str)
def test_seed_epoch_and_step_each_draw_anew_and_the_same_again(other: dict[str, int]) -> None:
    settings = Affine()
    np.testing.assert_array_equal(augmented(settings), augmented(settings))
    assert not np.array_equal(augmented(settings), augmented(settings, **other))

"""What is worked out from a version's arrays once, so that looking at it stays fast.

`order_train.npy`, `order_test.npy` (int32 [N]): the rows class by class, in each class as they
stand in the data, so that an image of a class is found without reading all labels.
`means.npy` (uint8 [classes, H, W, C]): the mean training image of each class.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.datasets.layout import PARTS, map_arrays, write_array

DERIVED = ("order_train", "order_test", "means")

_IMAGES_AT_ONCE_BYTES = 4 << 20


def derive(folder: Path, classes: int) -> None:
    """Write the derived arrays into a folder that holds the four."""
    arrays = map_arrays(folder)
    for part in PARTS:
        order = np.argsort(arrays[f"y_{part}"], kind="stable").astype(np.int32)
        write_array(folder / f"order_{part}.npy", order)
    means = mean_images(arrays["x_train"], arrays["y_train"], classes)
    write_array(folder / "means.npy", means)


def mean_images(
    images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], classes: int
) -> npt.NDArray[np.uint8]:
    """Return the mean image of each class, rounded; black for a class without images.

    Args:
        images: uint8 [N, H, W, C].
        labels: int64 [N].
        classes: number of classes.
    """
    # Room for a sum and what rounds it, and no more: many classes of large images are gigabytes.
    kind = np.min_scalar_type(256 * len(images))
    sums = np.zeros((classes, *images.shape[1:]), dtype=kind)
    for start, part in in_parts(images):
        own = labels[start : start + len(part)]
        order = np.argsort(own, kind="stable")
        present, firsts = np.unique(own[order], return_index=True)
        sums[present] += np.add.reduceat(part[order], firsts, axis=0, dtype=kind)
    counts = np.maximum(np.bincount(labels, minlength=classes), 1).astype(kind)
    means = np.empty(sums.shape, dtype=np.uint8)
    for label, count in enumerate(counts):
        means[label] = (sums[label] + count // 2) // count
    return means


def in_parts(images: npt.NDArray[np.uint8]) -> Any:
    """Yield `(start, images)` for stretches of a mapped array that are no burden to memory."""
    size = max(1, _IMAGES_AT_ONCE_BYTES // max(1, int(np.prod(images.shape[1:]))))
    for start in range(0, len(images), size):
        yield start, np.asarray(images[start : start + size])

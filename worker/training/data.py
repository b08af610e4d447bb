"""The images and labels of a data folder, checked before anything trusts them.

Owns reading what `shared.datasets.layout` lays out. Arrays stay mapped to their files; what
goes to the device is decided elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.datasets.layout import DESCRIPTION
from worker.training.failures import bad_data

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Dataset:
    """A data set on disk.

    Attributes:
        version: content hash.
        classes: class names, by label.
        x_train, x_test: uint8 [N, H, W, C], 0 to 255.
        y_train, y_test: int64 [N], 0 to the number of classes - 1.
    """

    version: str
    classes: list[str]
    x_train: Images
    y_train: Labels
    x_test: Images
    y_test: Labels

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        _, height, width, channels = self.x_train.shape
        return height, width, channels


@dataclass(frozen=True)
class PixelStatistics:
    """Mean and variance of the training pixels, one value a channel."""

    mean: list[float]
    variance: list[float]


def load(folder: Path) -> Dataset:
    """Map a data folder.

    Raises:
        JobFailure: of kind `data`; names the file and the rule it breaks.
    """
    description = _read_description(folder / DESCRIPTION)
    classes = [str(name) for name in description["classes"]]
    x_train, y_train = _read_pair(folder, "train", len(classes))
    x_test, y_test = _read_pair(folder, "test", len(classes))
    if x_train.shape[1:] != x_test.shape[1:]:
        raise bad_data(
            f"Training and test images must have the same shape. "
            f"Received: {x_train.shape[1:]} and {x_test.shape[1:]}."
        )
    return Dataset(str(description["version"]), classes, x_train, y_train, x_test, y_test)


def pixel_statistics(images: Images, rows: npt.NDArray[np.int32]) -> PixelStatistics:
    """Return the exact mean and variance of each channel over some rows.

    Args:
        images: uint8 [N, H, W, C].
        rows: the rows that count.
    """
    counts = np.zeros((images.shape[-1], 256), dtype=np.int64)
    for part in np.array_split(rows, -(-len(rows) // _ROWS_AT_ONCE)):
        for channel, values in enumerate(np.moveaxis(images[part], -1, 0)):
            counts[channel] += np.bincount(values.reshape(-1), minlength=256)
    levels = np.arange(256, dtype=np.float64)
    mean = counts @ levels / counts.sum(axis=1)
    variance = counts @ levels**2 / counts.sum(axis=1) - mean**2
    return PixelStatistics(mean.tolist(), variance.tolist())


def _read_description(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(path.read_text())
        if not (description["classes"] and description["version"]):
            raise bad_data(f"{path.name} must name classes and version. Received: {description}.")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise bad_data(f"{path} cannot be read: {error}") from error
    else:
        return dict(description)


def _read_pair(folder: Path, part: str, classes: int) -> tuple[Images, Labels]:
    images = _map(folder / f"x_{part}.npy", np.dtype(np.uint8), dimensions=4)
    labels = _map(folder / f"y_{part}.npy", np.dtype(np.int64), dimensions=1)
    if len(images) != len(labels) or len(images) == 0:
        raise bad_data(
            f"The {part} set needs one label an image, and at least one. "
            f"Received: {len(images)} images, {len(labels)} labels."
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise bad_data(
            f"Labels of the {part} set must lie in 0 to {classes - 1}. "
            f"Received: {labels.min()} to {labels.max()}."
        )
    return images, labels


def _map(path: Path, dtype: np.dtype[Any], *, dimensions: int) -> npt.NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise bad_data(f"{path} cannot be read: {error}") from error
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != dimensions:
        received = f"{getattr(array, 'dtype', type(array))} {getattr(array, 'shape', '')}"
        raise bad_data(f"{path.name} must be {dtype} of {dimensions} axes. Received: {received}.")
    return array

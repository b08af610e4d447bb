"""A version of a data set as a folder: four arrays, what they hold, and their hash.

`x_train.npy`, `x_test.npy` (uint8 [N, H, W, C]), `y_train.npy`, `y_test.npy` (int64 [N]) and
`dataset.json`, beside what `shared.datasets.derived` works out. The folder is named after its
content, so whatever lies under a name is the same everywhere and for ever.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.errors import TrainyardError

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
DESCRIPTION = "dataset.json"
PARTS = ("train", "test")

_HASHED_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a version holds; also the content of `dataset.json`.

    Attributes:
        version: content hash, see `content_version`; 64 hexadecimal digits.
        train_images, test_images: number of images.
        height, width, channels: shape of an image, in pixels.
        classes: class names, by label.
    """

    version: str
    train_images: int
    test_images: int
    height: int
    width: int
    channels: int
    classes: tuple[str, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return self.height, self.width, self.channels

    @property
    def folder_name(self) -> str:
        """Name of the version's folder, wherever versions are kept."""
        return self.version[:16]

    def images(self, part: str) -> int:
        """Return the number of images of `train` or `test`."""
        return self.train_images if part == "train" else self.test_images

    def as_dict(self) -> dict[str, Any]:
        """Return the description as JSON."""
        return asdict(self) | {"classes": list(self.classes)}

    def kinds(self) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        """Return kind and shape of each array."""
        images, labels = np.dtype(np.uint8), np.dtype(np.int64)
        return {
            f"{axis}_{part}": (images, (self.images(part), *self.image_shape))
            if axis == "x"
            else (labels, (self.images(part),))
            for part in PARTS
            for axis in "xy"
        }


def content_version(
    arrays: Mapping[str, npt.NDArray[Any]], classes: Sequence[str] | None = None
) -> str:
    """Return the content hash of a data set.

    SHA-256 over, for each array of `ARRAYS` in that order, the line
    `<name> <dtype> <comma-separated shape>` and the array's bytes in C order; then, if classes
    are called otherwise than by their labels, the line `classes <JSON list>`.

    Args:
        arrays: the four arrays by name; images uint8 [N, H, W, C], labels int64 [N].
        classes: class names, by label; None: "0", "1", ...

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in ARRAYS:
        array = np.ascontiguousarray(arrays[name])
        shape = ",".join(str(length) for length in array.shape)
        digest.update(f"{name} {array.dtype.str} {shape}\n".encode())
        content = array.reshape(-1).view(np.uint8)
        for start in range(0, len(content), _HASHED_BYTES):  # mapped files: a part at a time
            digest.update(content[start : start + _HASHED_BYTES].data)
    if classes is not None and list(classes) != [str(label) for label in range(len(classes))]:
        digest.update(f"classes {json.dumps(list(classes))}\n".encode())
    return digest.hexdigest()


def map_arrays(folder: Path) -> dict[str, npt.NDArray[Any]]:
    """Map the four arrays of a folder into memory, by name."""
    return {
        name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS
    }


def is_complete(folder: Path, description: Description) -> bool:
    """Whether every array is there with the right kind and length; headers only are read."""
    try:
        written = json.loads((folder / DESCRIPTION).read_text())
        arrays = map_arrays(folder)
    except (OSError, EOFError, ValueError):
        return False
    found = {name: (array.dtype, array.shape) for name, array in arrays.items()}
    return written == description.as_dict() and found == description.kinds()


def verify(folder: Path, description: Description) -> None:
    """Check that a folder's arrays are what their version says, to the last byte.

    Raises:
        TrainyardError: they are not.
    """
    version = content_version(map_arrays(folder), description.classes)
    if version != description.version:
        raise TrainyardError(
            f"The data must hash to their version, {description.version}. Received: {version}."
        )


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array so that it is on the disk when this returns."""
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def write_description(folder: Path, description: Description) -> None:
    """Write `dataset.json`, so that it is on the disk when this returns."""
    with (folder / DESCRIPTION).open("w") as text:
        json.dump(description.as_dict(), text, indent=2)
        text.flush()
        os.fsync(text.fileno())


def sync_folder(folder: Path) -> None:
    """Make sure that what was renamed into a folder is on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""The folder that a trainer reads, and how a bundled data set is put there.

A version's folder appears by one rename, so whoever sees it sees it whole. Processes that want
the same folder at once wait for each other at a lock; the lock falls with its process.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.datasets.bundled import BUNDLED, BundledDataset
from shared.errors import NotFound, TrainyardError

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
DESCRIPTION = "dataset.json"

_PARTIAL_PREFIX = ".partial-"


def content_version(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return the content hash of a data set.

    SHA-256 over, for each array of `ARRAYS` in that order, the line
    `<name> <dtype> <comma-separated shape>` and the array's bytes in C order.

    Args:
        arrays: the four arrays by name; images uint8 [N, H, W, C], labels int64 [N].

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in ARRAYS:
        array = np.ascontiguousarray(arrays[name])
        shape = ",".join(str(length) for length in array.shape)
        digest.update(f"{name} {array.dtype.str} {shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def materialise(name: str, folder: Path) -> Path:
    """Put a bundled data set where trainers can map it into memory.

    Returns at once if it is already there. A folder that lost files, or has damaged ones, is
    written anew. Safe when several processes do it at the same time.

    Args:
        name: a key of `BUNDLED`.
        folder: cache of data sets; made if missing.

    Returns:
        The version's folder, complete.

    Raises:
        NotFound: no such data set is bundled.
        TrainyardError: the bundled files do not hold what their version says.
    """
    dataset = BUNDLED.get(name)
    if dataset is None:
        known = ", ".join(BUNDLED)
        raise NotFound(f"No bundled data set of this name. Received: {name!r}. Known: {known}.")
    target = folder / name / dataset.version[:16]
    if _is_complete(target, dataset):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.parent / ".lock"):
        if not _is_complete(target, dataset):
            _replace(target, dataset)
    return target


def _is_complete(target: Path, dataset: BundledDataset) -> bool:
    """Whether every file is there with the content's kind and length; headers only are read."""
    try:
        description = json.loads((target / DESCRIPTION).read_text())
        arrays = [np.load(target / f"{name}.npy", mmap_mode="r") for name in ARRAYS]
    except (OSError, EOFError, ValueError):
        return False
    found = [(array.dtype, array.shape) for array in arrays]
    return description == _description(dataset) and found == _expected(dataset)


def _expected(dataset: BundledDataset) -> list[tuple[np.dtype[Any], tuple[int, ...]]]:
    """Return kind and shape of each array, in the order of `ARRAYS`."""
    images, labels = np.dtype(np.uint8), np.dtype(np.int64)
    return [
        kind
        for count in (dataset.train_images, dataset.test_images)
        for kind in ((images, (count, *dataset.image_shape)), (labels, (count,)))
    ]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _replace(target: Path, dataset: BundledDataset) -> None:
    """Write the folder beside its place, then rename it; the caller holds the lock."""
    for leftover in target.parent.glob(f"{_PARTIAL_PREFIX}*"):
        shutil.rmtree(leftover)  # of a process that died here: we hold the lock
    partial = Path(tempfile.mkdtemp(prefix=_PARTIAL_PREFIX, dir=target.parent))
    try:
        _write(partial, dataset)
        if target.exists():  # somebody removed or damaged files in it
            shutil.rmtree(target)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _sync(target.parent)


def _write(folder: Path, dataset: BundledDataset) -> None:
    arrays = {name: dataset.read(name) for name in ARRAYS}
    version = content_version(arrays)
    if version != dataset.version:
        raise TrainyardError(
            f"The bundled data set {dataset.name!r} is damaged: its content must hash to "
            f"{dataset.version}. Received: {version}."
        )
    folder.chmod(0o755)  # mkdtemp's 0700 would lock out other users of a shared cache
    for name, array in arrays.items():
        with (folder / f"{name}.npy").open("wb") as file:
            np.lib.format.write_array(file, array, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
    with (folder / DESCRIPTION).open("w") as text:
        json.dump(_description(dataset), text, indent=2)
        text.flush()
        os.fsync(text.fileno())
    _sync(folder)


def _description(dataset: BundledDataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "version": dataset.version,
        "title": dataset.title,
        "train_images": dataset.train_images,
        "test_images": dataset.test_images,
        "height": dataset.height,
        "width": dataset.width,
        "channels": dataset.channels,
        "classes": list(dataset.classes),
    }


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

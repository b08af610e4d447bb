"""Pictures of a version's images, straight from its files; the web process knows no NumPy.

A bundled version is unpacked into this machine's cache the first time, by a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from shared.artifacts import ArtifactStore
from shared.datasets import BUNDLED_SCHEME
from shared.datasets.report import Report
from shared.datasets.rows import VersionFiles
from shared.errors import TrainyardError
from shared.models import DatasetVersion
from shared.png import as_url
from web.yard import Yard

_UNPACK_SECONDS = 60.0
_unpacking = threading.Lock()

# Pictures of versions that pages begin with: a version never changes, and a store may be far.
_MOST_KEPT = 256
_kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
_keeping = threading.Lock()

T = TypeVar("T")


def kept(key: tuple[Any, ...], make: Callable[[], T]) -> T:
    """Return what `make` gave for this key before, or else make and keep it.

    Args:
        key: what decides the value, a version's hash among it.
        make: makes the value.
    """
    with _keeping:
        if key in _kept:
            _kept.move_to_end(key)
            return cast(T, _kept[key])
    value = make()
    with _keeping:
        _kept[key] = value
        while len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
    return value


def report_of(version: DatasetVersion) -> Report:
    """Return what was found in a version.

    Raises:
        TrainyardError: nobody has looked at it.
    """
    if version.report is None:
        raise TrainyardError(f"Version {version.version} has not been surveyed.")
    return Report.model_validate(version.report)


def files_of(yard: Yard, version: DatasetVersion) -> VersionFiles:
    """Return a version's files, to read single images from."""
    classes = report_of(version).classes
    store, path = yard.artifacts, version.uri
    if version.uri.startswith(BUNDLED_SCHEME):
        folder = _unpack(yard, version)
        store, path = ArtifactStore(f"file://{folder.parent}"), folder.name
    return VersionFiles(
        store=store,
        path=path,
        images={"train": version.train_images, "test": version.test_images},
        image_bytes=version.image_bytes,
        class_counts={
            "train": [row.train for row in classes],
            "test": [row.test for row in classes],
        },
    )


def pictures(version: DatasetVersion, images: Sequence[bytes]) -> list[str]:
    """Return images as `data:` URLs."""
    shape = version.height, version.width, version.channels
    return [as_url(pixels, *shape) for pixels in images]


def _unpack(yard: Yard, version: DatasetVersion) -> Path:
    cache = yard.settings.dataset_cache_dir
    folder = cache / version.version[:16]
    name = version.uri.removeprefix(BUNDLED_SCHEME)
    with _unpacking:
        if not (folder / "means.npy").exists():
            command = [sys.executable, "-m", "shared.datasets.unpack", name, str(cache)]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_UNPACK_SECONDS, check=False
            )
            if done.returncode != 0:
                raise TrainyardError(f"{name} cannot be unpacked: {done.stderr.strip()[-500:]}")
    return folder

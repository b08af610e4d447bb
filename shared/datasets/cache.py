"""The versions of data sets that this machine keeps: fetched once, verified, and bounded.

A version's folder appears by one rename, so whoever sees it sees it whole. Processes that want
the same one at once wait for each other at a lock, which falls with its process. When a new
version makes the cache too large, those unused for longest go; what a trainer has mapped stays
readable for it though its folder is gone.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.artifacts import ArtifactStore
from shared.datasets import BUNDLED_SCHEME
from shared.datasets.bundled import BUNDLED
from shared.datasets.derived import DERIVED, derive
from shared.datasets.layout import (
    ARRAYS,
    Description,
    content_version,
    is_complete,
    sync_folder,
    verify,
    write_array,
    write_description,
)
from shared.errors import NotFound, TrainyardError

_PARTIAL_PREFIX = ".partial-"
# A trainer maps its files within this time of its folder's fetching.
_SAFE_SECONDS = 600.0

log = logging.getLogger(__name__)

Fill = Callable[[Path], None]


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

    def unpack(partial: Path) -> None:
        arrays = {array: dataset.read(array) for array in ARRAYS}
        version = content_version(arrays, dataset.content.classes)
        if version != dataset.content.version:
            raise TrainyardError(
                f"The bundled data set {name!r} is damaged: its content must hash to "
                f"{dataset.content.version}. Received: {version}."
            )
        for array, values in arrays.items():
            write_array(partial / f"{array}.npy", values)
        derive(partial, len(dataset.content.classes))

    return _provide(folder, dataset.content, unpack)


class DatasetCache:
    """The versions in one folder of this machine.

    Args:
        folder: where they lie; shared by all workers of a data folder.
        store: where versions that are not bundled come from.
        most_bytes: what the folder may take; the version in use may exceed it.
    """

    def __init__(self, folder: Path, store: ArtifactStore, *, most_bytes: int) -> None:
        self._folder = folder
        self._store = store
        self._most_bytes = most_bytes

    def fetch(self, uri: str, description: Description) -> Path:
        """Bring a version to this machine, unless it is there; return its folder.

        Args:
            uri: `bundled:<name>`, or the version's folder in the artifact store.
            description: what it holds.

        Raises:
            NotFound: the store has lost it.
            TrainyardError: what the store gives is not what the version says.
        """
        if uri.startswith(BUNDLED_SCHEME):
            return materialise(uri.removeprefix(BUNDLED_SCHEME), self._folder)
        folder = _provide(
            self._folder, description, lambda to: self._download(uri, description, to)
        )
        self._evict(keep=folder)
        return folder

    def _download(self, uri: str, description: Description, partial: Path) -> None:
        for array in (*ARRAYS, *DERIVED):
            self._store.get(f"{uri}/{array}.npy", partial / f"{array}.npy")
        try:
            verify(partial, description)
        except ValueError as error:  # no array, or one of objects
            raise TrainyardError(f"The data at {uri} cannot be read: {error}") from error

    def _evict(self, *, keep: Path) -> None:
        """Make room, the longest unused version first."""
        with _locked(self._folder / ".lock"):
            versions = [path for path in self._folder.iterdir() if _is_version(path)]
            sizes = {path: _bytes_of(path) for path in versions}
            taken = sum(sizes.values())
            for path in sorted(versions, key=_used_at):
                if taken <= self._most_bytes or time.time() - _used_at(path) < _SAFE_SECONDS:
                    return
                if path != keep:
                    log.info("Data set version %s makes room for others.", path.name)
                    _remove(path)
                    taken -= sizes[path]


def _provide(cache: Path, description: Description, fill: Fill) -> Path:
    """Return a version's folder, filled by `fill` if it is not there or not whole."""
    target = cache / description.folder_name
    if not _is_whole(target, description):
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / f".{target.name}.lock"):
            if not _is_whole(target, description):
                _replace(target, description, fill)
    os.utime(target)  # used now
    return target


def _is_whole(target: Path, description: Description) -> bool:
    derived = (target / f"{array}.npy" for array in DERIVED)
    return is_complete(target, description) and all(path.is_file() for path in derived)


def _replace(target: Path, description: Description, fill: Fill) -> None:
    """Write the folder beside its place, then rename it; the caller holds the lock."""
    prefix = f"{_PARTIAL_PREFIX}{target.name}-"
    for leftover in target.parent.glob(f"{prefix}*"):
        shutil.rmtree(leftover)  # of a process that died here: we hold the lock
    partial = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    try:
        partial.chmod(0o755)  # mkdtemp's 0700 would lock out other users of a shared cache
        fill(partial)
        write_description(partial, description)
        sync_folder(partial)
        if target.exists():  # somebody removed or damaged files in it
            _remove(target)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    sync_folder(target.parent)


def _remove(folder: Path) -> None:
    """Take a folder away in one step, then delete it."""
    gone = Path(tempfile.mkdtemp(prefix=f"{_PARTIAL_PREFIX}{folder.name}-", dir=folder.parent))
    folder.rename(gone / folder.name)
    shutil.rmtree(gone, ignore_errors=True)


def _is_version(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _used_at(path: Path) -> float:
    return path.stat().st_mtime


def _bytes_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

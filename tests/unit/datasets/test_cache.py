"""The versions that a machine keeps: fetched once, verified, shared, and bounded."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from shared.artifacts import ArtifactStore
from shared.datasets.cache import DatasetCache
from shared.datasets.derived import DERIVED, derive
from shared.datasets.layout import (
    ARRAYS,
    Description,
    content_version,
    map_arrays,
    write_array,
    write_description,
)
from shared.errors import NotFound, TrainyardError

SIDE = 8
HOUR = 3600.0


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(f"file://{tmp_path / 'store'}")


def publish(store: ArtifactStore, folder: Path, seed: int, train: int = 40) -> Description:
    """Put a version into the store."""
    noise = np.random.default_rng(seed)
    folder.mkdir()
    arrays: dict[str, npt.NDArray[Any]] = {
        "x_train": noise.integers(0, 256, (train, SIDE, SIDE, 1), dtype=np.uint8),
        "y_train": np.arange(train) % 2,
        "x_test": noise.integers(0, 256, (10, SIDE, SIDE, 1), dtype=np.uint8),
        "y_test": np.arange(10) % 2,
    }
    for name, array in arrays.items():
        write_array(folder / f"{name}.npy", array)
    derive(folder, 2)
    description = Description(
        version=content_version(arrays, ("cat", "dog")),
        train_images=train,
        test_images=10,
        height=SIDE,
        width=SIDE,
        channels=1,
        classes=("cat", "dog"),
    )
    write_description(folder, description)
    for path in folder.iterdir():
        store.put(path, f"{uri(description)}/{path.name}")
    return description


def uri(description: Description) -> str:
    return f"datasets/{description.version}"


def age(folder: Path, seconds: float) -> None:
    """Let a version have been used that long ago."""
    then = time.time() - seconds
    os.utime(folder, (then, then))


def test_a_version_is_fetched_once_with_all_its_files(store: ArtifactStore, tmp_path: Path) -> None:
    description = publish(store, tmp_path / "a", seed=1)
    cache = DatasetCache(tmp_path / "cache", store, most_bytes=1 << 30)
    folder = cache.fetch(uri(description), description)
    names = {path.name for path in folder.iterdir()}
    assert names == {"dataset.json", *(f"{array}.npy" for array in (*ARRAYS, *DERIVED))}
    assert content_version(map_arrays(folder), description.classes) == description.version
    store.delete(uri(description))  # nobody asks the store again
    assert cache.fetch(uri(description), description) == folder


def test_what_the_store_gives_is_verified(store: ArtifactStore, tmp_path: Path) -> None:
    description = publish(store, tmp_path / "a", seed=1)
    damaged = tmp_path / "damaged.npy"
    content = bytearray((tmp_path / "a" / "x_train.npy").read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    store.put(damaged, f"{uri(description)}/x_train.npy")
    cache = DatasetCache(tmp_path / "cache", store, most_bytes=1 << 30)
    with pytest.raises(TrainyardError, match=description.version):
        cache.fetch(uri(description), description)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [
        f".{description.folder_name}.lock"
    ]


def test_an_array_of_objects_from_the_store_is_not_unpickled(
    store: ArtifactStore, tmp_path: Path
) -> None:
    description = publish(store, tmp_path / "a", seed=1)
    objects = tmp_path / "objects.npy"
    np.save(objects, np.array([{}], dtype=object), allow_pickle=True)
    store.put(objects, f"{uri(description)}/y_train.npy")
    cache = DatasetCache(tmp_path / "cache", store, most_bytes=1 << 30)
    with pytest.raises(TrainyardError, match="cannot be read"):
        cache.fetch(uri(description), description)


def test_a_version_that_the_store_has_lost_is_named(store: ArtifactStore, tmp_path: Path) -> None:
    description = publish(store, tmp_path / "a", seed=1)
    store.delete(uri(description))
    cache = DatasetCache(tmp_path / "cache", store, most_bytes=1 << 30)
    with pytest.raises(NotFound, match=description.version):
        cache.fetch(uri(description), description)


def test_the_longest_unused_makes_room(store: ArtifactStore, tmp_path: Path) -> None:
    versions = [publish(store, tmp_path / f"v{seed}", seed=seed) for seed in range(4)]
    size = sum(path.stat().st_size for path in (tmp_path / "v0").iterdir())
    cache = DatasetCache(tmp_path / "cache", store, most_bytes=3 * size)
    folders = [cache.fetch(uri(version), version) for version in versions[:3]]
    for folder, hours in zip(folders, (2, 3, 1), strict=True):
        age(folder, hours * HOUR)
    newest = cache.fetch(uri(versions[3]), versions[3])
    assert [folder.exists() for folder in (*folders, newest)] == [True, False, True, True]


def test_what_was_used_just_now_stays_though_the_cache_is_full(
    store: ArtifactStore, tmp_path: Path
) -> None:
    versions = [publish(store, tmp_path / f"v{seed}", seed=seed) for seed in range(2)]
    cache = DatasetCache(tmp_path / "cache", store, most_bytes=1)
    folders = [cache.fetch(uri(version), version) for version in versions]
    assert all(folder.exists() for folder in folders)  # a trainer may be about to map the first


def test_use_keeps_a_version(store: ArtifactStore, tmp_path: Path) -> None:
    versions = [publish(store, tmp_path / f"v{seed}", seed=seed) for seed in range(3)]
    size = sum(path.stat().st_size for path in (tmp_path / "v0").iterdir())
    cache = DatasetCache(tmp_path / "cache", store, most_bytes=2 * size)
    folders = [cache.fetch(uri(version), version) for version in versions[:2]]
    for folder in folders:
        age(folder, HOUR)
    cache.fetch(uri(versions[0]), versions[0])  # used again
    cache.fetch(uri(versions[2]), versions[2])
    assert [folder.exists() for folder in folders] == [True, False]


def test_what_is_mapped_stays_readable_when_its_folder_goes(
    store: ArtifactStore, tmp_path: Path
) -> None:
    versions = [publish(store, tmp_path / f"v{seed}", seed=seed) for seed in range(2)]
    cache = DatasetCache(tmp_path / "cache", store, most_bytes=1)
    folder = cache.fetch(uri(versions[0]), versions[0])
    arrays = map_arrays(folder)
    age(folder, HOUR)
    cache.fetch(uri(versions[1]), versions[1])
    assert not folder.exists()
    assert content_version(arrays, versions[0].classes) == versions[0].version

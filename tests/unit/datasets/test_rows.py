"""Single images from a version's files, without NumPy, and as PNG."""

from __future__ import annotations

import base64
import io
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from shared.artifacts import ArtifactStore
from shared.datasets import rows as rows_module
from shared.datasets.derived import derive
from shared.datasets.layout import write_array
from shared.datasets.rows import VersionFiles
from shared.errors import NotFound, StoreUnavailable
from shared.png import as_url, encode, montage

NOISE = np.random.default_rng(5)
IMAGES = NOISE.integers(0, 256, (50, 9, 8, 3), dtype=np.uint8)
LABELS = NOISE.integers(0, 3, 50)


@pytest.fixture
def files(tmp_path: Path) -> VersionFiles:
    folder = tmp_path / "version"
    folder.mkdir()
    for part in ("train", "test"):
        write_array(folder / f"x_{part}.npy", IMAGES)
        write_array(folder / f"y_{part}.npy", LABELS)
    derive(folder, 3)
    counts = np.bincount(LABELS, minlength=3).tolist()
    return VersionFiles(
        store=ArtifactStore(f"file://{tmp_path}"),
        path="version",
        images={"train": 50, "test": 50},
        image_bytes=9 * 8 * 3,
        class_counts={"train": counts, "test": counts},
    )


def test_rows_are_read_by_their_place(files: VersionFiles) -> None:
    rows = [49, 0, 17]
    assert files.pixels("train", rows) == [IMAGES[row].tobytes() for row in rows]
    assert files.labels("test", rows) == LABELS[rows].tolist()
    assert files.pixels("train", []) == []


def test_all_reads_together_wait_one_glance_for_a_distant_store(
    files: VersionFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, waited = [100.0], []

    def slow(*_: object, timeout: float, **__: object) -> list[bytes]:
        waited.append(timeout)
        now[0] += 4
        return [b"\0" * 10]

    monkeypatch.setattr(rows_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(MemoryFileSystem, "cat_ranges", slow)
    distant = replace(files, store=ArtifactStore("memory://"), _gives_up_at=110.0)
    with pytest.raises(NotFound):  # there are headers alone
        distant.pixels("train", [0])
    with pytest.raises(StoreUnavailable, match="too slow"):
        distant.pixels("test", [0])
    assert waited == [10, 6, 2]


def test_a_draw_is_random_repeatable_and_without_repeats(files: VersionFiles) -> None:
    first, again, other = (files.draw("train", 20, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first)) == 20
    assert sorted(files.draw("train", 99, seed=3)) == list(range(50))
    hits = Counter(row for seed in range(400) for row in files.draw("train", 5, seed))
    assert min(hits.values()) > 15  # 40 each, on the average


def test_a_draw_of_one_class_has_only_that(files: VersionFiles) -> None:
    for label in range(3):
        rows = files.draw("train", 99, seed=0, label=label)
        assert sorted(rows) == np.flatnonzero(label == LABELS).tolist()


def test_mean_images_are_the_classes(files: VersionFiles) -> None:
    means = files.mean_images([0, 1])
    assert len(means) == 2
    exact = IMAGES[LABELS == 1].mean(axis=0)
    found = np.frombuffer(means[1], np.uint8).reshape(9, 8, 3)
    assert np.abs(found - exact).max() <= 0.5


def test_a_file_that_is_cut_off_or_gone_is_told(files: VersionFiles, tmp_path: Path) -> None:
    path = tmp_path / "version" / "x_train.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(NotFound, match="too short"):
        files.pixels("train", [49])
    path.unlink()
    with pytest.raises(NotFound, match="no file"):
        files.pixels("train", [0])


@pytest.mark.parametrize("channels", [1, 3])
def test_png_is_what_others_read(channels: int) -> None:
    pixels = NOISE.integers(0, 256, (7, 5, channels), dtype=np.uint8)
    with Image.open(io.BytesIO(encode(pixels.tobytes(), 7, 5, channels))) as image:
        image.load()
        assert (np.asarray(image).reshape(7, 5, channels) == pixels).all()


@pytest.mark.parametrize(
    ("channels", "most_side", "step"), [(1, 9, 1), (3, 9, 1), (1, 4, 3), (3, 4, 3)]
)
def test_a_montage_shows_images_side_by_side_and_smaller(
    channels: int, most_side: int, step: int
) -> None:
    images = NOISE.integers(0, 256, (3, 9, 8, channels), dtype=np.uint8)
    pixels = [image.tobytes() for image in images]
    png = montage(pixels, 9, 8, channels, most_side=most_side)
    expected = np.concatenate([image[::step, ::step] for image in images], axis=1)
    with Image.open(io.BytesIO(png)) as shown:
        found = np.asarray(shown).reshape(expected.shape)
    assert (found == expected).all()


def test_png_as_url() -> None:
    url = as_url(bytes(64), 8, 8, 1)
    head, _, data = url.partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data) == encode(bytes(64), 8, 8, 1)


def test_pixels_of_another_number_are_refused() -> None:
    with pytest.raises(ValueError, match=r"64 bytes of pixels. Received: 63\."):
        encode(bytes(63), 8, 8, 1)

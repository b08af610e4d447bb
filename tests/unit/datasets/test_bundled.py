"""The bundled data sets: content, attribution, and how they become folders."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from shared.datasets import bundled
from shared.datasets.bundled import BUNDLED
from shared.datasets.cache import materialise
from shared.datasets.layout import ARRAYS, DESCRIPTION, content_version
from shared.errors import NotFound, TrainyardError

MNIST = BUNDLED["mnist"]
CONTENT = MNIST.content


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a cache that holds MNIST."""
    folder = tmp_path_factory.mktemp("datasets")
    materialise("mnist", folder)
    return folder


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_mnist_is_what_its_version_says() -> None:
    assert content_version({name: MNIST.read(name) for name in ARRAYS}) == CONTENT.version


def test_mnist_is_the_whole_of_mnist() -> None:
    x_train, y_train = MNIST.read("x_train"), MNIST.read("y_train")
    x_test, y_test = MNIST.read("x_test"), MNIST.read("y_test")
    assert x_train.shape == (CONTENT.train_images, *CONTENT.image_shape) == (60_000, 28, 28, 1)
    assert x_test.shape == (CONTENT.test_images, *CONTENT.image_shape) == (10_000, 28, 28, 1)
    # The class counts and the mean pixel that the literature gives for MNIST.
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(y_train).tolist() == counts
    assert np.bincount(y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert x_train.mean() / 255 == pytest.approx(0.1307, abs=1e-4)
    assert x_train.std() / 255 == pytest.approx(0.3081, abs=1e-4)


def test_mnist_names_its_authors_and_licence() -> None:
    text = (Path(bundled.__file__).parent / "mnist" / "ATTRIBUTION.md").read_text()
    for words in ("LeCun", "Cortes", "Burges", "CC BY-SA 3.0"):
        assert words in text
        assert words in MNIST.attribution


def test_a_materialised_set_can_be_mapped_and_names_its_classes(cache: Path) -> None:
    folder = materialise("mnist", cache)
    images = np.load(folder / "x_train.npy", mmap_mode="r", allow_pickle=False)
    labels = np.load(folder / "y_train.npy", mmap_mode="r", allow_pickle=False)
    assert (images.dtype, images.shape) == (np.uint8, (60_000, 28, 28, 1))
    assert (labels.dtype, labels.shape) == (np.int64, (60_000,))
    description = json.loads((folder / DESCRIPTION).read_text())
    assert description["version"] == CONTENT.version
    assert description["classes"] == list("0123456789")
    assert folder == cache / CONTENT.folder_name


def test_a_complete_folder_is_not_written_again(cache: Path) -> None:
    before = (materialise("mnist", cache) / "x_train.npy").stat()
    after = (materialise("mnist", cache) / "x_train.npy").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_folder_that_lost_a_file_is_written_again(tmp_path: Path) -> None:
    (materialise("mnist", tmp_path) / "x_test.npy").unlink()
    assert (materialise("mnist", tmp_path) / "x_test.npy").is_file()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x_train.npy", None),
        ("y_test.npy", b""),
        ("x_test.npy", b"\x93NUMPY"),
        (DESCRIPTION, b"{"),
        (DESCRIPTION, b'{"version": "another"}'),
    ],
)
def test_a_folder_with_a_damaged_file_is_written_again(
    name: str, content: bytes | None, tmp_path: Path
) -> None:
    path = materialise("mnist", tmp_path) / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] if content is None else content)
    assert materialise("mnist", tmp_path) == path.parent
    assert path.read_bytes() == whole


def test_an_array_of_another_shape_is_replaced(tmp_path: Path) -> None:
    path = materialise("mnist", tmp_path) / "y_train.npy"
    np.save(path, np.zeros(60_000, np.int32))
    materialise("mnist", tmp_path)
    assert np.load(path).dtype == np.int64


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    leftover = tmp_path / f".partial-{CONTENT.folder_name}-dead"
    leftover.mkdir(parents=True)
    (leftover / "x_train.npy").write_bytes(b"half")
    materialise("mnist", tmp_path)
    assert not leftover.exists()


def test_processes_that_want_the_same_set_at_once_all_get_it(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        folders = pool.starmap(materialise, [("mnist", tmp_path)] * 3)
    assert len(set(folders)) == 1
    assert names_in(tmp_path) == [f".{CONTENT.folder_name}.lock", CONTENT.folder_name]


def test_an_unknown_set_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"'imagenet'.*mnist"):
        materialise("imagenet", tmp_path)


def test_damaged_content_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = bundled.BundledDataset.read

    def damaged(self: bundled.BundledDataset, array: str) -> npt.NDArray[Any]:
        values = original(self, array)
        values.reshape(-1)[0] ^= 1
        return values

    monkeypatch.setattr(bundled.BundledDataset, "read", damaged)
    with pytest.raises(TrainyardError, match=CONTENT.version):
        materialise("mnist", tmp_path)
    assert names_in(tmp_path) == [f".{CONTENT.folder_name}.lock"]

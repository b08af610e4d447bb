"""A small part of MNIST, and TensorFlow brought up as the trainer does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.small_data import small_mnist
from worker.training import runtime
from worker.training.data import Dataset, load

runtime.import_tensorflow()


@pytest.fixture(scope="session")
def dataset_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with 500 training and 200 test images of MNIST."""
    return small_mnist(tmp_path_factory.mktemp("small-mnist"), train=500, test=200)


@pytest.fixture(scope="session")
def dataset(dataset_dir: Path) -> Dataset:
    """Give those images."""
    return load(dataset_dir)

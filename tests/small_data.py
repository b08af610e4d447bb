"""Small data sets in the trainers' layout: real digits, few of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.datasets.bundled import BUNDLED
from shared.datasets.layout import DESCRIPTION


def write_dataset(
    folder: Path, *, classes: int = 10, version: str = "0" * 64, **arrays: npt.NDArray[Any]
) -> Path:
    """Write arrays in the layout that trainers read; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    description = {"version": version, "classes": [str(label) for label in range(classes)]}
    (folder / DESCRIPTION).write_text(json.dumps(description))
    return folder


def small_mnist(folder: Path, *, train: int, test: int) -> Path:
    """Write the first images of MNIST; return the folder."""
    mnist = BUNDLED["mnist"]
    return write_dataset(
        folder,
        x_train=mnist.read("x_train")[:train],
        y_train=mnist.read("y_train")[:train],
        x_test=mnist.read("x_test")[:test],
        y_test=mnist.read("y_test")[:test],
    )

"""Options: each is heeded in every format, or refused by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.sent_files import Arrays, archive, digits, idx, npz, picture, read_files, refusal

GREY, COLOUR = digits(30, side=32), digits(30, side=32, channels=3)


def cifar(data: Arrays) -> bytes:
    planes = data["x"].transpose(0, 3, 1, 2).reshape(len(data["x"]), -1)
    rows: bytes = np.c_[data["y"].astype(np.uint8), planes].tobytes()
    return rows


def as_npz(data: Arrays) -> dict[str, bytes]:
    return {"a.npz": npz(**data)}


def as_idx(data: Arrays) -> dict[str, bytes]:
    return {"images": idx(data["x"]), "labels": idx(data["y"])}


def as_cifar(data: Arrays) -> dict[str, bytes]:
    return {"data_batch_1.bin": cifar(data)}


def as_pictures(data: Arrays) -> dict[str, bytes]:
    rows = enumerate(zip(data["x"], data["y"], strict=True))
    return {"a.zip": archive([(f"{label}/{row:02}.png", picture(x)) for row, (x, label) in rows])}


Sent = Callable[[Arrays], dict[str, bytes]]


def sorted_images(images: npt.NDArray[np.uint8]) -> list[bytes]:
    return sorted(image.tobytes() for image in images)


@pytest.mark.parametrize("send", [as_npz, as_idx, as_cifar, as_pictures])
def test_colour_becomes_grey_as_pillow_does_it(send: Sent, tmp_path: Path) -> None:
    images, _ = read_files(tmp_path, send(COLOUR), colour="grey").both
    pillow = [np.asarray(Image.fromarray(image).convert("L"))[..., None] for image in COLOUR["x"]]
    assert sorted_images(images) == sorted_images(np.stack(pillow))


@pytest.mark.parametrize("send", [as_npz, as_idx, as_pictures])
def test_grey_becomes_colour(send: Sent, tmp_path: Path) -> None:
    images, _ = read_files(tmp_path, send(GREY), colour="rgb").both
    assert sorted_images(images) == sorted_images(np.repeat(GREY["x"], 3, axis=3))


@pytest.mark.parametrize("send", [as_npz, as_idx, as_cifar])
def test_a_size_that_is_not_the_images_own_is_refused(send: Sent, tmp_path: Path) -> None:
    assert read_files(tmp_path, send(COLOUR), height=32, width=32).done.height == 32
    words = refusal(tmp_path, send(COLOUR), height=16)
    assert "`height` and `width` must be those of the images" in words
    assert "Received: 32 x 32 x 3." in words
    wide = {"x": COLOUR["x"][:, :16], "y": COLOUR["y"]}
    if send is not as_cifar:
        turned = read_files(tmp_path, send(wide), height=16, width=32, transpose=True)
        assert (turned.done.height, turned.done.width) == (32, 16)


@pytest.mark.parametrize("send", [as_npz, as_idx, as_cifar])
def test_rows_and_columns_are_exchanged(send: Sent, tmp_path: Path) -> None:
    turned = {"x": COLOUR["x"].transpose(0, 2, 1, 3), "y": COLOUR["y"]}
    plain = read_files(tmp_path, send(COLOUR)).done.version
    assert read_files(tmp_path, send(turned), transpose=True).done.version == plain


def test_planes_of_colour_are_read_as_such_or_refused(tmp_path: Path) -> None:
    plain = read_files(tmp_path, as_npz(COLOUR)).done.version
    planes = {"x": COLOUR["x"].transpose(0, 3, 1, 2), "y": COLOUR["y"]}
    for send in (as_npz, as_idx):
        assert read_files(tmp_path, send(planes), channels_first=True).done.version == plain
    words = refusal(tmp_path, as_npz(COLOUR), channels_first=True)
    assert "With `channels_first`, images must be [N, C, H, W]" in words
    assert "Images must" in refusal(tmp_path, as_idx(COLOUR), channels_first=True)


@pytest.mark.parametrize(
    ("send", "options"),
    [
        (as_npz, {"label_column": "y"}),
        (as_npz, {"header": "present"}),
        (as_idx, {"label_column": "1"}),
        (as_idx, {"pixel_range": "unit"}),
        (as_cifar, {"header": "absent"}),
        (as_cifar, {"pixel_range": "unit"}),
        (as_pictures, {"pixel_range": "unit"}),
        (as_pictures, {"channels_first": True}),
        (as_pictures, {"transpose": True}),
        (as_pictures, {"label_column": "1"}),
    ],
)
def test_an_option_that_says_nothing_is_refused_by_name(
    send: Sent, options: dict[str, Any], tmp_path: Path
) -> None:
    (name,) = options
    words = refusal(tmp_path, send(COLOUR), **options)
    assert f"The option `{name}` says nothing about" in words


def test_bytes_are_what_files_of_bytes_hold_anyway(tmp_path: Path) -> None:
    for send in (as_idx, as_cifar, as_pictures):
        read_files(tmp_path, send(COLOUR), pixel_range="byte")

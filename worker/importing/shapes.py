"""Rows of pixel values to images, and images to the colours that were chosen."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from shared.spec.dataset_import import LARGEST_SIDE, SMALLEST_SIDE, ImportOptions

# Red, green and blue in 65,536ths.
_LUMA = (19595, 38470, 7471)


def shape_of(pixels: int, options: ImportOptions) -> tuple[int, int, int] | None:
    """Return height, width and channels of an image of so many pixel values; None: unclear."""
    channels = {"auto": (1, 3), "grey": (1,), "rgb": (3,)}[options.colour]
    for count in channels:
        area, rest = divmod(pixels, count)
        if rest:
            continue
        height, width = options.height, options.width
        if height is None and width is None:
            side = math.isqrt(area)
            height = width = side
        if height is None:
            height = area // (width or 1)
        if width is None:
            width = area // height
        sides_fit = all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in (height, width))
        if height * width == area and sides_fit:
            return height, width, count
    return None


def to_images(
    values: npt.NDArray[np.uint8], shape: tuple[int, int, int], options: ImportOptions
) -> npt.NDArray[np.uint8]:
    """Return rows of pixel values as images [N, H, W, C].

    Args:
        values: uint8 [N, pixels].
        shape: height, width and channels.
        options: whether channels come first, and rows and columns are exchanged.
    """
    height, width, channels = shape
    if options.channels_first and channels > 1:
        images = values.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
    else:
        images = values.reshape(-1, height, width, channels)
    return images.transpose(0, 2, 1, 3) if options.transpose else images


def in_colour(
    images: npt.NDArray[np.uint8], colour: Literal["auto", "grey", "rgb"]
) -> npt.NDArray[np.uint8]:
    """Return images [N, H, W, C] as grey or RGB; grey by the weights of ITU-R 601-2, as Pillow."""
    channels = images.shape[-1]
    if colour == "rgb" and channels == 1:
        return np.repeat(images, 3, axis=3)
    if colour == "grey" and channels == 3:
        grey = images.astype(np.uint32) @ np.array(_LUMA, dtype=np.uint32)
        return ((grey + (1 << 15)) >> 16).astype(np.uint8)[..., None]
    return images

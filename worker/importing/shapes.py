"""Rows of pixel values to images."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from shared.spec.dataset_import import LARGEST_SIDE, SMALLEST_SIDE, ImportOptions


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

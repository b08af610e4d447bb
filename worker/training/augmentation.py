"""Random changes to the training images, in the graph.

What happens to an image is a pure function of the seed, the epoch, the step and its place in the
batch, so a resumed job sees the same images. Randomness is TensorFlow's stateless Philox, which is
the same on every device and between versions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from shared.spec.augmentation import Affine, Augmentation, Shift


def augment(settings: Augmentation, images: Any, *, seed: int, epoch: Any, step: Any) -> Any:
    """Change each image at random.

    Args:
        settings: the augmentation's part of the spec.
        images: uint8 [n, H, W, C], 0 to 255.
        seed: the job's seed.
        epoch, step: int32 scalars; where training is.

    Returns:
        Images of the same shape: float32, black where they moved in from outside, or those
        given, if nothing happens to them.
    """
    change = _KINDS.get(settings.kind)
    if change is None:
        return images
    place = tf.cast(epoch, tf.int64) * _EPOCH + tf.cast(step, tf.int64)
    pixels = tf.cast(images, tf.float32)
    return change(settings, pixels, tf.stack([tf.constant(seed, tf.int64), place]))


def _shift(settings: Shift, images: Any, seed: Any) -> Any:
    count = tf.shape(images)[0]
    x, y = tf.unstack(
        tf.random.stateless_uniform(
            [2, count], seed, -settings.pixels, settings.pixels + 1, tf.int32
        )
    )
    return _transform(images, _unmoved(count), tf.cast(x, tf.float32), tf.cast(y, tf.float32))


def _affine(settings: Affine, images: Any, seed: Any) -> Any:
    count = tf.shape(images)[0]
    turn, zoom, x, y, side = tf.unstack(tf.random.stateless_uniform([5, count], seed, -1.0, 1.0))
    turn *= math.radians(settings.degrees)
    zoom = 1.0 + settings.zoom * zoom
    mirror = tf.where(side < 0, -1.0, 1.0) if settings.flip else tf.ones_like(side)
    inverse = (
        tf.cos(turn) / zoom * mirror,
        tf.sin(turn) / zoom * mirror,
        -tf.sin(turn) / zoom,
        tf.cos(turn) / zoom,
    )
    return _transform(images, inverse, x * settings.pixels, y * settings.pixels)


def _unmoved(count: Any) -> tuple[Any, Any, Any, Any]:
    ones, zeros = tf.ones([count]), tf.zeros([count])
    return ones, zeros, zeros, ones


def _transform(images: Any, inverse: tuple[Any, Any, Any, Any], x: Any, y: Any) -> Any:
    """Draw each image turned and zoomed about its centre, then moved by (x, y) pixels.

    A pixel p of the result is the pixel A (p - centre - move) + centre of the image, A being the
    matrix [[a, b], [c, d]] of `inverse`; between pixels, the bilinear mean.
    """
    a, b, c, d = inverse
    height, width = images.shape[1:3]
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    from_x, from_y = centre_x + x, centre_y + y
    zeros = tf.zeros_like(a)
    transforms = tf.stack(
        [
            a,
            b,
            centre_x - a * from_x - b * from_y,
            c,
            d,
            centre_y - c * from_x - d * from_y,
            zeros,
            zeros,
        ],
        axis=1,
    )
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


# Steps of an epoch stay below this.
_EPOCH = 1 << 32

_KINDS: dict[str, Callable[[Any, Any, Any], Any]] = {"shift": _shift, "affine": _affine}
"""By kind; `none` has no entry."""

"""Batch normalisation as one operation, forward and backward.

Keras 3 makes a dozen operations of it and computes them in float32 whatever the layer's format, so
that in a deep network most of a step goes by in reading and writing what a layer puts out. oneDNN
has it whole, in the layer's format, its statistics in float32 as Keras has them, and in scoring as
part of the convolution before it. Measured on 2 cores with AMX, in turns with Keras's own: steps of
`deep-cnn` take 0.71 of their time in float32 and 0.43 in bfloat16, those of `resnet20` 0.74 and
0.55; scoring in bfloat16 0.27 and 0.45. Only the order of sums and what is rounded between them is
another.

Used where it was measured: on the CPU, for images.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Self

import keras
import tensorflow as tf

from worker.training.stand_ins import is_stock, standing_in

_FORMATS = ("float32", "bfloat16")
_IMAGES = 4  # dimensions, channels last


class Normalizations:
    """The layers of a model that normalise batches and can do it in one operation.

    Args:
        layers: layers `keras.layers.BatchNormalization`.
    """

    def __init__(self, layers: list[Any] | None = None) -> None:
        self._calls = {layer: _Call(layer) for layer in layers or []}

    @classmethod
    def of(cls, model: Any) -> Self:
        """Find a model's."""
        return cls([layer for layer in model.layers if _fits(layer)])

    def fused(self) -> AbstractContextManager[None]:
        """Let a forward pass that is traced inside the block use the one operation."""
        return standing_in(self._calls)


class _Call:
    """What a layer computes: normalised values; and in training, where its statistics move to."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer

    def __call__(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Return the normalised inputs, [n, H, W, channels] as they are."""
        layer = self._layer
        if mask is not None or inputs.dtype != layer.compute_dtype:
            return type(layer).call(layer, inputs, training=training, mask=mask)
        if not (training and layer.trainable):
            mean, variance = layer.moving_mean.value, layer.moving_variance.value
            return self._normalized(inputs, mean, variance, is_training=False).y
        none = tf.constant([], tf.float32)
        fused = self._normalized(inputs, none, none, is_training=True)
        # It tells the variance of what the batch is a sample of; Keras keeps the batch's own.
        count = tf.cast(tf.size(inputs) // layer.gamma.shape[0], tf.float32)
        variance = fused.batch_variance * ((count - 1) / count)
        _move(layer.moving_mean, fused.batch_mean, layer.momentum)
        _move(layer.moving_variance, variance, layer.momentum)
        return fused.y

    def _normalized(self, inputs: Any, mean: Any, variance: Any, *, is_training: bool) -> Any:
        layer = self._layer
        return tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=layer.gamma.value,
            offset=layer.beta.value,
            mean=mean,
            variance=variance,
            epsilon=layer.epsilon,
            is_training=is_training,
        )


def _move(average: Any, value: Any, momentum: float) -> None:
    average.assign(average * momentum + value * (1.0 - momentum))


def _fits(layer: Any) -> bool:
    """Whether it is a layer as Keras has it, on images."""
    return (
        is_stock(layer, keras.layers.BatchNormalization)
        and layer.input_spec.ndim == _IMAGES
        and layer.axis in (-1, _IMAGES - 1)
        and layer.compute_dtype in _FORMATS
        and layer.variable_dtype == "float32"
        and layer.scale
        and layer.center
        and not layer.renorm
        and not layer.synchronized
    )

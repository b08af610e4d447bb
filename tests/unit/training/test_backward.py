"""The arranged backward pass gives the gradients of TensorFlow's own, whatever the model does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from worker.training.backward import arranged

Model = Callable[[Any], Any]


def _variables(*shapes: tuple[int, ...]) -> list[tf.Variable]:
    random = np.random.default_rng(0)
    return [tf.Variable(random.normal(size=shape), dtype=tf.float32) for shape in shapes]


def _dense() -> tuple[Model, list[tf.Variable]]:
    first, bias, second = weights = _variables((6, 6), (6,), (6, 6))
    return lambda x: tf.nn.relu(tf.nn.bias_add(x @ first, bias)) @ second, weights


def _tied() -> tuple[Model, list[tf.Variable]]:
    """Use square weights again, transposed: as decoders and language models do."""
    (kernel,) = weights = _variables((6, 6))
    return lambda x: tf.matmul(tf.nn.relu(x @ kernel), kernel, transpose_b=True), weights


def _transposed(*, a: bool, b: bool) -> tuple[Model, list[tf.Variable]]:
    first, second = weights = _variables((6, 6), (6, 6))
    return lambda x: tf.matmul(x @ first, second, transpose_a=a, transpose_b=b), weights


def _nested() -> tuple[Model, list[tf.Variable]]:
    """Read the first weights inside a function of their own."""
    first, second = weights = _variables((6, 6), (6, 6))
    hidden = tf.function(lambda x: tf.nn.relu(x @ first))
    return lambda x: hidden(x) @ second, weights


def _lstm() -> tuple[Model, list[tf.Variable]]:
    """Read the six values as two rows, one after the other in a loop."""
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Reshape((2, 3)), keras.layers.LSTM(4), _head()]
    )
    return model, [weight.value for weight in model.trainable_variables]


def _head() -> Any:
    return keras.layers.Dense(3)


def _channels_first() -> tuple[Model, list[tf.Variable]]:
    kernel, bias = weights = _variables((6, 24), (4,))

    def model(x: Any) -> Any:
        images = tf.reshape(x @ kernel, [-1, 4, 2, 3])
        return tf.nn.bias_add(images, bias, data_format="NCHW")

    return model, weights


@pytest.mark.parametrize(
    "make",
    [
        _dense,
        _tied,
        lambda: _transposed(a=True, b=False),
        lambda: _transposed(a=True, b=True),
        _nested,
        _lstm,
        _channels_first,
    ],
    ids=["dense", "tied", "transposed-a", "transposed-both", "nested", "lstm", "channels-first"],
)
def test_gradients_are_those_of_tensorflow(make: Callable[[], tuple[Model, Any]]) -> None:
    model, weights = make()
    x = tf.constant(np.random.default_rng(1).normal(size=(6, 6)), tf.float32)

    def ours() -> Any:
        with arranged():
            out = model(x)
        return tf.gradients(tf.reduce_sum(out * out), weights)

    with tf.GradientTape() as tape:
        out = model(x)
        loss = tf.reduce_sum(out * out)
    for own, theirs in zip(
        tf.function(ours, autograph=False)(), tape.gradient(loss, weights), strict=True
    ):
        np.testing.assert_allclose(own, theirs, rtol=1e-4, atol=1e-5)

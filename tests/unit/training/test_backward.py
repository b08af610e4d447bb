"""The arranged backward pass gives the gradients of TensorFlow's own, whatever the model does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from worker.training import precision
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


BEFORE_A_BIAS: dict[str, tuple[tuple[int, ...], tuple[int, ...], Callable[[Any, Any], Any]]] = {
    "dense": ((100, 4), (4, 8), tf.matmul),
    "dense-on-images": ((50, 26, 26, 4), (4, 8), lambda x, kernel: tf.tensordot(x, kernel, 1)),
    "convolution": (
        (50, 26, 26, 4),
        (3, 3, 4, 8),
        lambda x, kernel: tf.nn.conv2d(x, kernel, 1, "SAME"),
    ),
    "padded": (
        (50, 26, 26, 4),
        (3, 3, 4, 8),
        lambda x, kernel: tf.nn.conv2d(x, kernel, 1, [[0, 0], [1, 1], [1, 1], [0, 0]]),
    ),
    "depthwise": (
        (50, 26, 26, 4),
        (3, 3, 4, 2),
        lambda x, kernel: tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "SAME"),
    ),
}


@pytest.mark.parametrize("native", [True, False], ids=["native", "emulated"])
@pytest.mark.parametrize("layer", BEFORE_A_BIAS)
def test_bias_gradients_in_bfloat16_are_added_up_in_float32(
    layer: str, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if native and not precision.has_bfloat16():
        pytest.skip("This processor has no bfloat16: nothing is fused.")
    monkeypatch.setattr(precision, "has_bfloat16", lambda: native)
    values_shape, kernel_shape, compute = BEFORE_A_BIAS[layer]
    random = np.random.default_rng(0)
    values = tf.constant(random.normal(size=values_shape), tf.bfloat16)
    upstream = tf.constant(random.normal(0.5, 1.0, size=(*values_shape[:-1], 8)), tf.bfloat16)
    kernel, bias = _variables(kernel_shape, (8,))

    def ours() -> Any:
        with arranged():
            product = compute(values, tf.cast(kernel, tf.bfloat16))
            outcome = tf.nn.bias_add(product, tf.cast(bias, tf.bfloat16))
        return tf.gradients(outcome, [kernel, bias], grad_ys=upstream)

    found = tf.function(ours, autograph=False)()[1]
    exact = upstream.numpy().astype(float).reshape(-1, 8).sum(axis=0)
    np.testing.assert_allclose(found, exact, rtol=2**-8)


def test_a_bias_gradient_needs_no_other_shape_than_the_biass() -> None:
    kernel, bias = _variables((6, 8), (8,))
    values = np.random.default_rng(0).normal(size=(5, 6))

    def ours(values: Any) -> Any:
        with arranged():
            product = tf.numpy_function(lambda x: x @ kernel.numpy(), [values], tf.float32)
            outcome = tf.nn.bias_add(product, bias)
        return tf.gradients(outcome, [bias])

    (found,) = tf.function(ours, autograph=False)(tf.constant(values, tf.float32))
    np.testing.assert_allclose(found, np.full(8, 5.0))

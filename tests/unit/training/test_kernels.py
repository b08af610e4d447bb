"""Large kernels, held transposed while steps run: which they are, and how they change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from worker.training.backward import arranged
from worker.training.kernels import LargeKernels

LEAST = 32  # numbers of a kernel that shall count as large here
RATE = 0.1


def sequential(*inner: Any) -> Any:
    return keras.Sequential([keras.Input((16,)), *inner, layers.Dense(3, activation="softmax")])


def frozen() -> Any:
    layer = layers.Dense(4)
    layer.trainable = False
    return layer


@pytest.mark.parametrize(
    ("make", "large"),
    [
        (lambda: layers.Dense(4), True),
        (lambda: layers.Dense(4, activation="relu"), True),
        (lambda: layers.Dense(1), False),
        (lambda: layers.Dense(8), False),
        (lambda: layers.Dense(4, use_bias=False), False),
        (lambda: layers.EinsumDense("ab,bc->ac", 4, bias_axes="c"), False),
        (lambda: layers.TimeDistributed(layers.Dense(4)), False),
        (frozen, False),
        (lambda: layers.Dense(4, dtype="float64"), False),
    ],
    ids=[
        *("linear", "rectified", "small", "wide", "without-bias"),
        *("einsum", "in-a-wrapper", "frozen", "float64"),
    ],
)
def test_a_large_kernel_is_one_of_a_dense_layer_with_many_inputs(
    make: Callable[[], Any], large: bool
) -> None:
    layer = make()
    inner = [layer, layers.Flatten()]
    if isinstance(layer, layers.TimeDistributed):
        inner.insert(0, layers.Reshape((1, 16)))
    model = sequential(*inner)
    kernels = LargeKernels.of(model, least=LEAST)
    weights = [weight.value for weight in model.trainable_variables]
    others = {id(weight) for weight in kernels.others}
    apart = [weight for weight in weights if id(weight) not in others]
    assert [id(weight) for weight in apart] == ([id(layer.kernel.value)] if large else [])


def test_the_last_layer_is_its_callers() -> None:
    model = keras.Sequential([keras.Input((100,)), layers.Dense(3)])
    assert len(LargeKernels.of(model, least=LEAST).others) == 2


def one_layer(dtype: str) -> Any:
    return sequential(layers.Dense(4, activation="relu", dtype=dtype))


def two_layers(dtype: str) -> Any:
    """The second one's inputs depend on weights."""
    values = keras.Input((16,))
    first = layers.Dense(4, activation="tanh", dtype=dtype)(values)
    second = layers.Dense(4, dtype=dtype)(layers.Concatenate()([first] * 5))
    return keras.Model(values, layers.Dense(3, activation="softmax", dtype="float32")(second))


def used_twice(dtype: str) -> Any:
    """One layer, on the values and on their squares."""
    values = keras.Input((16,))
    dense = layers.Dense(4, activation="tanh", dtype=dtype)
    both = layers.Add()([dense(values), dense(values * values)])
    return keras.Model(values, layers.Dense(3, activation="softmax", dtype="float32")(both))


MODELS: list[Callable[[str], Any]] = [one_layer, two_layers, used_twice]


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_steps_change_them_by_rate_times_gradient(
    make: Callable[[str], Any], precision: str
) -> None:
    keras.utils.set_random_seed(0)
    model = make(precision)
    kernels = LargeKernels.of(model, least=LEAST)
    large = [layer.kernel for layer in model.layers if layer.count_params() > LEAST]
    assert len(kernels.others) == len(model.trainable_variables) - len(large)
    random = np.random.default_rng(0)
    values = tf.constant(random.normal(size=(6, 16)), tf.float32)
    weighting = tf.constant(random.normal(size=(6, 3)), tf.float32)
    before = [kernel.numpy() for kernel in large]

    with tf.GradientTape(persistent=True) as tape:
        loss = tf.reduce_sum(weighting * tf.cast(model(values, training=True), tf.float32))
    gradients = tape.gradient(loss, [kernel.value for kernel in large])

    def step(values: Any) -> None:
        held = kernels.taken()
        with arranged(), kernels.standing_in(held) as uses:
            outcome = tf.cast(model(values, training=True), tf.float32)
        wanted = [*uses.products, *uses.inputs]
        found = tf.gradients(tf.reduce_sum(weighting * outcome), wanted)
        kernels.put_back(kernels.changed(held, uses, found, tf.constant(RATE)))

    tf.function(step, autograph=False)(values)
    rounding = 1e-6 if precision == "float32" else 2e-2
    for kernel, old, gradient in zip(large, before, gradients, strict=True):
        change, wanted = kernel.numpy() - old, -RATE * gradient.numpy()
        assert np.linalg.norm(wanted) > 1e-3
        assert np.linalg.norm(change - wanted) < rounding * np.linalg.norm(wanted) + 1e-7


def test_the_model_is_as_it_was_when_a_forward_pass_fails() -> None:
    model = sequential(layers.Dense(4))
    values = tf.ones((2, 16))
    before = model(values).numpy()
    kernels = LargeKernels.of(model, least=LEAST)

    def fail() -> None:
        with kernels.standing_in([tf.zeros((4, 16))]):
            np.testing.assert_allclose(model(values), np.full((2, 3), 1 / 3), atol=1e-6)
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        fail()
    np.testing.assert_array_equal(model(values), before)


@pytest.mark.parametrize(("precision", "compiled"), [("float32", False), ("mixed_bfloat16", True)])
def test_it_says_whether_xla_has_part_in_it(precision: str, compiled: bool) -> None:
    model = sequential(layers.Dense(4, dtype=precision))
    assert LargeKernels.of(model, least=LEAST).compiled is compiled
    assert not LargeKernels(model).compiled

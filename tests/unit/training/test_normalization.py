"""Batch normalisation in one operation: what it computes is what Keras does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from worker.training.normalization import Normalizations

Pass = tuple[list[Any], list[Any]]
BATCH = 5


def model_of(*inner: Any) -> Any:
    """Return a model whose weights are no defaults, on images of 4 x 4 with 3 channels."""
    model = keras.Sequential([keras.Input((4, 4, 3)), *inner])
    random = np.random.default_rng(2)
    for weight in model.weights:
        weight.assign(random.uniform(0.5, 1.5, weight.shape))
    return model


def one_pass(
    model: Any, around: Callable[[], AbstractContextManager[None]], *, training: bool = True
) -> Pass:
    """Return outputs and gradients of a pass, and the moving statistics after it."""
    random = np.random.default_rng(1)
    values = tf.constant(random.normal(2.0, 3.0, size=(BATCH, 4, 4, 3)), tf.float32)
    weighting = tf.constant(random.normal(size=(BATCH, 4, 4, 3)), tf.float32)
    before = [weight.numpy() for weight in model.weights]

    def run() -> list[Any]:
        with around():
            outcome = tf.cast(model(values, training=training), tf.float32)
        weights = [weight.value for weight in model.trainable_variables]
        loss = tf.reduce_sum(weighting * outcome)
        return [outcome, *tf.gradients(loss, [values, *weights])]

    found = tf.function(run, autograph=False)()
    moved = [weight.numpy() for weight in model.non_trainable_variables]
    for weight, old in zip(model.weights, before, strict=True):
        weight.assign(old)
    return found, moved


def operations(model: Any, around: Callable[[], AbstractContextManager[None]]) -> set[str]:
    """Return the kinds of operations of a training pass."""

    def run(values: Any) -> Any:
        with around():
            return model(values, training=True)

    graph = tf.function(run, autograph=False).get_concrete_function(
        tf.TensorSpec([None, 4, 4, 3], tf.float32)
    )
    return {operation.type for operation in graph.graph.get_operations()}


def frozen(dtype: str | None = None) -> Any:
    layer = layers.BatchNormalization(dtype=dtype)
    layer.trainable = False
    return layer


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "scoring"])
def test_a_pass_is_that_of_keras(training: bool, precision: str) -> None:
    model = model_of(
        layers.BatchNormalization(dtype=precision),
        layers.ReLU(dtype=precision),
        layers.BatchNormalization(dtype=precision, momentum=0.6, epsilon=1e-2),
        frozen(dtype=precision),
    )
    outcomes, moved = one_pass(model, Normalizations.of(model).fused, training=training)
    theirs, moved_by_keras = one_pass(model, nullcontext, training=training)
    rounding = 1e-5 if precision == "float32" else 2e-2
    for own, their in zip([*outcomes, *moved], [*theirs, *moved_by_keras], strict=True):
        assert np.linalg.norm(their) > 1e-3
        assert np.linalg.norm(own - their) < rounding * np.linalg.norm(their)


class Own(layers.BatchNormalization):  # type: ignore[misc]
    """Somebody's own, which may do anything."""


@pytest.mark.parametrize(
    ("make", "one_operation"),
    [
        (layers.BatchNormalization, True),
        (lambda: layers.BatchNormalization(axis=3), True),
        (lambda: layers.BatchNormalization(axis=1), False),
        (lambda: layers.BatchNormalization(scale=False), False),
        (lambda: layers.BatchNormalization(center=False), False),
        (lambda: layers.BatchNormalization(renorm=True), False),
        (lambda: layers.BatchNormalization(dtype="float64"), False),
        (frozen, True),
        (Own, False),
        (lambda: layers.TimeDistributed(layers.BatchNormalization()), False),
    ],
    ids=[
        *("plain", "last-axis", "first-axis", "without-scale", "without-center"),
        *("renorm", "float64", "frozen", "own", "in-a-wrapper"),
    ],
)
def test_layers_as_keras_has_them_take_one_operation(
    make: Callable[[], Any], one_operation: bool
) -> None:
    model = keras.Sequential([keras.Input((4, 4, 3)), make()])
    found = operations(model, Normalizations.of(model).fused)
    assert ("FusedBatchNormV3" in found) is one_operation
    assert "FusedBatchNormV3" not in operations(model, nullcontext)


def test_a_single_value_a_channel_has_no_variance() -> None:
    model = keras.Sequential([keras.Input((1, 1, 3)), layers.BatchNormalization(momentum=0.5)])
    values = tf.constant([[[[1.0, 2.0, 3.0]]]])

    def run() -> Any:
        with Normalizations.of(model).fused():
            return model(values, training=True)

    outcome = tf.function(run, autograph=False)()
    np.testing.assert_array_equal(outcome, np.zeros((1, 1, 1, 3)))
    mean, variance = (weight.numpy() for weight in model.non_trainable_variables)
    np.testing.assert_array_equal(mean, [0.5, 1.0, 1.5])
    np.testing.assert_array_equal(variance, [0.5, 0.5, 0.5])


def test_what_a_mask_leaves_out_does_not_count() -> None:
    model = keras.Sequential(
        [keras.Input((1, 2, 1)), layers.Masking(), layers.BatchNormalization(momentum=0.0)]
    )
    values = tf.constant([[[[0.0], [3.0]]], [[[5.0], [0.0]]]])

    def run() -> Any:
        with Normalizations.of(model).fused():
            return model(values, training=True)

    tf.function(run, autograph=False)()
    mean, variance = (weight.numpy() for weight in model.non_trainable_variables)
    np.testing.assert_allclose([mean, variance], [[4.0], [1.0]])


def test_the_layers_are_themselves_again_after_a_pass_that_failed() -> None:
    model = model_of(layers.BatchNormalization())
    with pytest.raises(RuntimeError, match="no more"), Normalizations.of(model).fused():
        raise RuntimeError("no more")
    assert "FusedBatchNormV3" not in operations(model, nullcontext)

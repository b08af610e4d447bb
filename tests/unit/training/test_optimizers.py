"""The optimizers against their formulas in NumPy and against Keras's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from shared.spec.optimizers import Adam, Optimizer, Sgd
from worker.training.optimizers import make

Array = npt.NDArray[np.float64]

STEPS = 12
_RANDOM = np.random.default_rng(11)
START = _RANDOM.normal(size=(4, 3))
GRADIENTS = [_RANDOM.normal(size=(4, 3)) for _ in range(STEPS)]
RATES = [0.1 * 0.9**step for step in range(STEPS)]


def by_formula_sgd(settings: Sgd) -> Iterator[Array]:
    weight, velocity = START.copy(), np.zeros_like(START)
    for gradient, rate in zip(GRADIENTS, RATES, strict=True):
        velocity = settings.momentum * velocity - rate * gradient
        step = settings.momentum * velocity - rate * gradient if settings.nesterov else velocity
        weight = weight + step
        yield weight


def by_formula_adam(settings: Adam) -> Iterator[Array]:
    weight, mean, square = START.copy(), np.zeros_like(START), np.zeros_like(START)
    b1, b2 = settings.beta_1, settings.beta_2
    for step, (gradient, rate) in enumerate(zip(GRADIENTS, RATES, strict=True), start=1):
        mean = b1 * mean + (1 - b1) * gradient
        square = b2 * square + (1 - b2) * gradient**2
        corrected = rate * np.sqrt(1 - b2**step) / (1 - b1**step)
        weight = weight - corrected * mean / (np.sqrt(square) + settings.epsilon)
        yield weight


def by_keras(optimizer: keras.optimizers.Optimizer) -> Iterator[Array]:
    weight = keras.Variable(START.astype(np.float32))
    for gradient, rate in zip(GRADIENTS, RATES, strict=True):
        optimizer.learning_rate = rate
        optimizer.apply([tf.constant(gradient, tf.float32)], [weight])
        yield weight.numpy()


CASES: list[tuple[Optimizer, Callable[[Any], Iterator[Array]], Callable[[], Any]]] = [
    (Sgd(), by_formula_sgd, keras.optimizers.SGD),
    (Sgd(momentum=0.9), by_formula_sgd, lambda: keras.optimizers.SGD(momentum=0.9)),
    (
        Sgd(momentum=0.8, nesterov=True),
        by_formula_sgd,
        lambda: keras.optimizers.SGD(momentum=0.8, nesterov=True),
    ),
    (Adam(), by_formula_adam, keras.optimizers.Adam),
    (
        Adam(beta_1=0.7, beta_2=0.95, epsilon=1e-3),
        by_formula_adam,
        lambda: keras.optimizers.Adam(beta_1=0.7, beta_2=0.95, epsilon=1e-3),
    ),
]


@pytest.mark.parametrize(
    ("settings", "by_formula", "keras_optimizer"), CASES, ids=[str(case[0]) for case in CASES]
)
def test_every_step_is_that_of_the_formula_and_of_keras(
    settings: Optimizer, by_formula: Any, keras_optimizer: Any
) -> None:
    weight = tf.Variable(START, dtype=tf.float32)
    updater = make(settings, [weight])
    expected = zip(by_formula(settings), by_keras(keras_optimizer()), strict=True)
    for gradient, rate, (formula, theirs) in zip(GRADIENTS, RATES, expected, strict=True):
        updater.apply([tf.constant(gradient, tf.float32)], tf.constant(rate, tf.float32))
        np.testing.assert_allclose(weight.numpy(), formula, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(weight.numpy(), theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "variables"), [(Sgd(), 0), (Sgd(momentum=0.5), 2), (Adam(), 5)], ids=str
)
def test_the_state_is_what_a_checkpoint_must_hold(settings: Optimizer, variables: int) -> None:
    weights = [tf.Variable(tf.ones([2])), tf.Variable(tf.ones([3, 1]))]
    assert len(make(settings, weights).variables) == variables

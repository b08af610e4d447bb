"""The optimizers against their formulas in NumPy and against Keras's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from shared.spec.optimizers import Adam, AdamW, Optimizer, RmsProp, Sgd
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


def by_formula_rmsprop(settings: RmsProp) -> Iterator[Array]:
    weight, square, velocity = START.copy(), np.zeros_like(START), np.zeros_like(START)
    for gradient, rate in zip(GRADIENTS, RATES, strict=True):
        square = settings.rho * square + (1 - settings.rho) * gradient**2
        step = rate * gradient / np.sqrt(square + settings.epsilon)
        velocity = settings.momentum * velocity + step
        weight = weight - velocity
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
    (RmsProp(), by_formula_rmsprop, keras.optimizers.RMSprop),
    (
        RmsProp(momentum=0.8, rho=0.7, epsilon=1e-3),
        by_formula_rmsprop,
        lambda: keras.optimizers.RMSprop(momentum=0.8, rho=0.7, epsilon=1e-3),
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


KERAS: dict[str, Callable[..., Any]] = {
    "sgd": keras.optimizers.SGD,
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "rmsprop": keras.optimizers.RMSprop,
}


@pytest.mark.parametrize(
    "settings",
    [
        Sgd(weight_decay=0.3),
        Adam(weight_decay=0.3),
        AdamW(),
        AdamW(weight_decay=0.2, clip_norm=1.5),
        RmsProp(weight_decay=0.3, clip_norm=0.5),
        Sgd(clip_norm=0.1),
    ],
    ids=str,
)
def test_decay_and_clipping_are_those_of_keras_without_the_biases(settings: Optimizer) -> None:
    random = np.random.default_rng(5)
    start = [random.normal(size=shape).astype(np.float32) for shape in ((3, 2), (2,))]
    weights = [tf.Variable(array) for array in start]
    theirs = [keras.Variable(array, name=f"weight_{array.ndim}") for array in start]
    optimizer = KERAS[settings.kind](
        0.1, weight_decay=settings.weight_decay or None, global_clipnorm=settings.clip_norm
    )
    if settings.weight_decay:
        optimizer.exclude_from_weight_decay(var_list=[theirs[1]])
    updater = make(settings, weights)
    for _ in range(STEPS):
        gradients = [tf.constant(random.normal(size=a.shape), tf.float32) for a in start]
        updater.apply(gradients, tf.constant(0.1))
        optimizer.apply(gradients, theirs)
        for ours, other in zip(weights, theirs, strict=True):
            np.testing.assert_allclose(ours.numpy(), other.numpy(), rtol=1e-5, atol=1e-5)


def test_decay_by_its_formula() -> None:
    """Where the gradient is nothing, only decay is left: w (1 - rate x decay) each step."""
    kernel, bias = tf.Variable([[2.0, -4.0]]), tf.Variable([3.0, 3.0])
    updater = make(Sgd(weight_decay=0.5), [kernel, bias])
    for _ in range(3):
        updater.apply([tf.zeros([1, 2]), tf.zeros([2])], tf.constant(0.1))
    np.testing.assert_allclose(kernel.numpy(), [[2.0 * 0.95**3, -4.0 * 0.95**3]], rtol=1e-6)
    np.testing.assert_array_equal(bias.numpy(), [3.0, 3.0])


def test_a_gradient_shorter_than_the_clip_is_left_alone_and_a_longer_one_is_cut() -> None:
    weight = tf.Variable([[0.0, 0.0]])
    updater = make(Sgd(clip_norm=5.0), [weight])
    updater.apply([tf.constant([[1.5, 2.0]])], tf.constant(1.0))
    np.testing.assert_allclose(weight.numpy(), [[-1.5, -2.0]], rtol=1e-6)
    updater.apply([tf.constant([[30.0, 40.0]])], tf.constant(1.0))
    np.testing.assert_allclose(weight.numpy(), [[-4.5, -6.0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "variables"),
    [(Sgd(), 0), (Sgd(momentum=0.5), 2), (Adam(), 5), (AdamW(), 5), (RmsProp(), 4)],
    ids=str,
)
def test_the_state_is_what_a_checkpoint_must_hold(settings: Optimizer, variables: int) -> None:
    weights = [tf.Variable(tf.ones([2])), tf.Variable(tf.ones([3, 1]))]
    assert len(make(settings, weights).variables) == variables

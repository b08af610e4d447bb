"""The optimizers, on TensorFlow's fused update kernels.

One kernel reads the gradient and writes weight and state in place; the optimizers of Keras 3
spell the same formulas out in several operations, each a pass over memory. The tests check
against NumPy and against Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import tensorflow as tf

from shared.spec.optimizers import Adam, Sgd


class Updater(Protocol):
    """An optimizer bound to its weights.

    Attributes:
        variables: the optimizer's own state, which checkpoints hold.
    """

    variables: list[Any]

    def apply(self, gradients: Sequence[Any], learning_rate: Any) -> None:
        """Update every weight by its gradient; `learning_rate` is a float32 scalar tensor."""


class SgdUpdater:
    """Stochastic gradient descent, with momentum and Nesterov's if asked.

    Momentum m, gradient g, rate r: v = m v - r g; w = w + v, or with Nesterov w = w + m v - r g.
    (Sutskever et al., 2013, in the form that Keras uses.)
    """

    def __init__(self, settings: Sgd, weights: Sequence[Any]) -> None:
        self._settings = settings
        self._weights = weights
        self.variables = _zeros_like(weights, "momentum") if settings.momentum else []

    def apply(self, gradients: Sequence[Any], learning_rate: Any) -> None:
        """Update every weight by its gradient."""
        if not self.variables:
            for weight, gradient in zip(self._weights, gradients, strict=True):
                tf.raw_ops.ResourceApplyGradientDescent(
                    var=weight.handle, alpha=learning_rate, delta=gradient
                )
            return
        for weight, velocity, gradient in zip(
            self._weights, self.variables, gradients, strict=True
        ):
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=weight.handle,
                accum=velocity.handle,
                lr=learning_rate,
                grad=gradient,
                momentum=tf.constant(self._settings.momentum, tf.float32),
                use_nesterov=self._settings.nesterov,
            )


class AdamUpdater:
    """Adam (Kingma and Ba, 2014), in the efficient order of its section 2.

    Step t from 1, rate r: m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
    w = w - r sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon).
    """

    def __init__(self, settings: Adam, weights: Sequence[Any]) -> None:
        self._settings = settings
        self._weights = weights
        self._steps = tf.Variable(0, dtype=tf.int64, trainable=False, name="steps")
        self._means = _zeros_like(weights, "mean")
        self._squares = _zeros_like(weights, "square")
        self.variables = [self._steps, *self._means, *self._squares]

    def apply(self, gradients: Sequence[Any], learning_rate: Any) -> None:
        """Update every weight by its gradient."""
        beta_1 = tf.constant(self._settings.beta_1, tf.float32)
        beta_2 = tf.constant(self._settings.beta_2, tf.float32)
        step = tf.cast(self._steps.assign_add(1), tf.float32)
        beta_1_power, beta_2_power = tf.pow(beta_1, step), tf.pow(beta_2, step)
        for weight, mean, square, gradient in zip(
            self._weights, self._means, self._squares, gradients, strict=True
        ):
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle,
                m=mean.handle,
                v=square.handle,
                beta1_power=beta_1_power,
                beta2_power=beta_2_power,
                lr=learning_rate,
                beta1=beta_1,
                beta2=beta_2,
                epsilon=tf.constant(self._settings.epsilon, tf.float32),
                grad=gradient,
            )


def make(settings: Sgd | Adam, weights: Sequence[Any]) -> Updater:
    """Bind a spec's optimizer to weights.

    Args:
        settings: the optimizer's part of the spec.
        weights: `tf.Variable`s of float32, in the order of the gradients to come.
    """
    return _OPTIMIZERS[settings.kind](settings, weights)


def _zeros_like(weights: Sequence[Any], name: str) -> list[Any]:
    return [
        tf.Variable(tf.zeros(weight.shape, tf.float32), trainable=False, name=f"{name}_{index}")
        for index, weight in enumerate(weights)
    ]


_OPTIMIZERS: dict[str, Callable[[Any, Sequence[Any]], Updater]] = {
    "sgd": SgdUpdater,
    "adam": AdamUpdater,
}

"""The optimizers, on TensorFlow's fused update kernels.

One kernel reads the gradient and writes weight and state in place; the optimizers of Keras 3
spell the same formulas out in several operations, each a pass over memory. The tests check
against NumPy and against Keras.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from shared.spec.optimizers import Adam, AdamW, Optimizer, RmsProp, Sgd


class Updater(ABC):
    """What changes a model's weights.

    Attributes:
        variables: the optimizer's own state, which checkpoints hold.
    """

    variables: list[Any]

    def scale(self, loss: Any) -> Any:
        """Return the loss to take gradients of, for `apply` to undo."""
        return loss

    @abstractmethod
    def apply(self, gradients: Sequence[Any], learning_rate: Any) -> None:
        """Update every weight.

        Args:
            gradients: float32, one a weight.
            learning_rate: a float32 scalar tensor.
        """


class _Formula(Updater):
    """An optimizer of the spec: clipping, decay and its own formula, in Keras's order.

    Args:
        settings: the optimizer's part of the spec.
        weights: `tf.Variable`s of float32, in the order of the gradients to come.
    """

    def __init__(self, settings: Any, weights: Sequence[Any]) -> None:
        self._settings = settings
        self._weights = weights
        self.variables = []

    def apply(self, gradients: Sequence[Any], learning_rate: Any) -> None:
        """Clip, decay and update."""
        if self._settings.clip_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, self._settings.clip_norm)
        if not self._settings.weight_decay:
            self._update(gradients, learning_rate)
            return
        with tf.control_dependencies(list(gradients)):
            decayed = [self._decay(weight, learning_rate) for weight in self._decaying()]
        with tf.control_dependencies(decayed):
            self._update(gradients, learning_rate)

    @abstractmethod
    def _update(self, gradients: Sequence[Any], learning_rate: Any) -> None:
        """Update every weight by its gradient."""

    def _decaying(self) -> Iterable[Any]:
        """Return the weights that decay: all but biases and the scales of normalisation."""
        return (weight for weight in self._weights if weight.shape.rank > 1)

    def _decay(self, weight: Any, learning_rate: Any) -> Any:
        return tf.raw_ops.ResourceApplyGradientDescent(
            var=weight.handle,
            alpha=learning_rate * self._settings.weight_decay,
            delta=weight.read_value(),
        )

    def _zeros(self, name: str) -> list[Any]:
        """Return a variable of zeros for every weight."""
        return [
            tf.Variable(tf.zeros(weight.shape), trainable=False, name=f"{name}_{index}")
            for index, weight in enumerate(self._weights)
        ]


class SgdUpdater(_Formula):
    """Gradient descent, with momentum m, gradient g and rate r.

    Plain: w = w - r g. With momentum: v = m v - r g, then w = w + v, or with Nesterov
    w = w + m v - r g. (Sutskever et al., 2013, in the form that Keras uses.)
    """

    def __init__(self, settings: Sgd, weights: Sequence[Any]) -> None:
        super().__init__(settings, weights)
        if settings.momentum:
            self.variables = self._zeros("momentum")

    def _update(self, gradients: Sequence[Any], learning_rate: Any) -> None:
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
                momentum=_float32(self._settings.momentum),
                use_nesterov=self._settings.nesterov,
            )


class AdamUpdater(_Formula):
    """Adam (Kingma and Ba, 2014), in the efficient order of its section 2.

    Step t from 1, rate r: m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
    w = w - r sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon).
    """

    def __init__(self, settings: Adam | AdamW, weights: Sequence[Any]) -> None:
        super().__init__(settings, weights)
        self._steps = tf.Variable(0, dtype=tf.int64, trainable=False, name="steps")
        self._means = self._zeros("mean")
        self._squares = self._zeros("square")
        self.variables = [self._steps, *self._means, *self._squares]

    def _update(self, gradients: Sequence[Any], learning_rate: Any) -> None:
        beta_1, beta_2 = _float32(self._settings.beta_1), _float32(self._settings.beta_2)
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
                epsilon=_float32(self._settings.epsilon),
                grad=gradient,
            )


class RmsPropUpdater(_Formula):
    """RMSprop (Hinton, 2012).

    Rate r, momentum m: s = rho s + (1 - rho) g^2; v = m v + r g / sqrt(s + epsilon); w = w - v.
    """

    def __init__(self, settings: RmsProp, weights: Sequence[Any]) -> None:
        super().__init__(settings, weights)
        self._squares = self._zeros("square")
        self._velocities = self._zeros("momentum")
        self.variables = [*self._squares, *self._velocities]

    def _update(self, gradients: Sequence[Any], learning_rate: Any) -> None:
        for weight, square, velocity, gradient in zip(
            self._weights, self._squares, self._velocities, gradients, strict=True
        ):
            tf.raw_ops.ResourceApplyRMSProp(
                var=weight.handle,
                ms=square.handle,
                mom=velocity.handle,
                lr=learning_rate,
                rho=_float32(self._settings.rho),
                momentum=_float32(self._settings.momentum),
                epsilon=_float32(self._settings.epsilon),
                grad=gradient,
            )


def is_plain(settings: Optimizer) -> bool:
    """Whether a step changes a weight by the rate times its gradient, and by nothing else."""
    return (
        isinstance(settings, Sgd)
        and not settings.momentum
        and not settings.weight_decay
        and settings.clip_norm is None
    )


def make(settings: Optimizer, weights: Sequence[Any]) -> Updater:
    """Bind a spec's optimizer to weights.

    Args:
        settings: the optimizer's part of the spec.
        weights: `tf.Variable`s of float32, in the order of the gradients to come.
    """
    return _OPTIMIZERS[settings.kind](settings, weights)


def _float32(value: float) -> Any:
    return tf.constant(value, tf.float32)


_OPTIMIZERS: dict[str, type[_Formula]] = {
    "sgd": SgdUpdater,
    "adam": AdamUpdater,
    "adamw": AdamUpdater,
    "rmsprop": RmsPropUpdater,
}

"""The number format that a job computes in: what `auto` becomes here, and float16's loss scale."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.util import _pywrap_util_port

from worker.training.optimizers import Updater

_CPU_INFO = Path("/proc/cpuinfo")
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}
# Compute capability of NVIDIA's GPUs: tensor cores since Volta, bfloat16 since Ampere.
_FLOAT16_SINCE = (7, 0)
_BFLOAT16_SINCE = (8, 0)

_FIRST_SCALE = 2.0**15
_STEPS_TO_DOUBLE = 2000


def resolve(precision: str) -> str:
    """Return the precision that a spec's value means on this machine's device.

    `auto` is bfloat16 where the device computes in it, else float16 on a GPU with tensor cores,
    else float32.
    """
    if precision != "auto":
        return precision
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "mixed_bfloat16" if has_bfloat16() else "float32"
    details = tf.config.experimental.get_device_details(gpus[0])
    capability = tuple(details.get("compute_capability", (0, 0)))
    if capability >= _BFLOAT16_SINCE:
        return "mixed_bfloat16"
    return "mixed_float16" if capability >= _FLOAT16_SINCE else "float32"


def has_bfloat16() -> bool:
    """Whether products in bfloat16 are the processor's own: it has them, and oneDNN may use it."""
    return bool(_BFLOAT16_FLAGS & cpu_flags()) and bool(_pywrap_util_port.IsMklEnabled())


@functools.cache
def cpu_flags(path: Path = _CPU_INFO) -> frozenset[str]:
    """Return what the processor says it can do; nothing where Linux does not tell."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(
        flag for line in lines if line.startswith("flags") for flag in line.split()[2:]
    )


class ScaledUpdater(Updater):
    """An optimizer for gradients in float16, which lose what is small (Micikevicius et al., 2017).

    The loss is multiplied by a scale before the gradients are taken, and they are divided by it. A
    step whose gradients are not finite is left out and halves the scale; 2,000 good steps in a row
    double it.

    Args:
        inner: the optimizer itself.
    """

    def __init__(self, inner: Updater) -> None:
        self._inner = inner
        self._scale = tf.Variable(_FIRST_SCALE, trainable=False, name="loss_scale")
        self._good = tf.Variable(0, dtype=tf.int32, trainable=False, name="good_steps")
        self.variables = [*inner.variables, self._scale, self._good]

    def scale(self, loss: Any) -> Any:
        """Return the loss to take gradients of."""
        return loss * self._scale.read_value()

    def apply(self, gradients: Sequence[Any], learning_rate: Any) -> None:
        """Update every weight, unless a gradient is not finite."""
        unscaled = [gradient / self._scale.read_value() for gradient in gradients]
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(part)) for part in unscaled])

        def update() -> Any:
            self._inner.apply(unscaled, learning_rate)
            good = self._good.assign_add(1)
            full = good >= _STEPS_TO_DOUBLE
            with tf.control_dependencies(
                [
                    self._scale.assign(tf.where(full, 2.0, 1.0) * self._scale.read_value()),
                    self._good.assign(tf.where(full, 0, good)),
                ]
            ):
                return tf.constant(0)

        def leave_out() -> Any:
            with tf.control_dependencies(
                [self._scale.assign(self._scale.read_value() / 2), self._good.assign(0)]
            ):
                return tf.constant(0)

        tf.cond(finite, update, leave_out)

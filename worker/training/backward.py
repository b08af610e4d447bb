"""The order of the backward pass: what the layers below wait for comes first.

A dense layer's two gradients, of its input and of its kernel, are ready to be computed at the
same moment. TensorFlow starts both, they fight for the caches, and the layers below wait for the
slower. Here the kernel's gradient waits for the input's, and then fills the cores while the
layers below, which use them badly, go on. Only the order changes, never a number.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf

_INPUT_FIRST = "TrainyardInputFirst"


def inputs_first() -> AbstractContextManager[None]:
    """Give the dense layers that are traced inside this order; for `tf.gradients` only."""
    graph = tf.compat.v1.get_default_graph()
    override: AbstractContextManager[None] = graph.gradient_override_map({"MatMul": _INPUT_FIRST})
    return override


@tf.RegisterGradient(_INPUT_FIRST)  # type: ignore[untyped-decorator]
def _input_first(op: Any, upstream: Any) -> tuple[Any, Any]:
    """Return the gradients of `inputs @ kernel`: upstream @ kernel^T, inputs^T @ upstream."""
    inputs, kernel = op.inputs
    if not _depends_on_weights(inputs):
        return None, tf.matmul(inputs, upstream, transpose_a=True)
    of_inputs = tf.matmul(upstream, kernel, transpose_b=True)
    with tf.control_dependencies([of_inputs]):
        return of_inputs, tf.matmul(inputs, upstream, transpose_a=True)


def _depends_on_weights(tensor: Any) -> bool:
    seen = set()
    waiting = [tensor.op]
    while waiting:
        op = waiting.pop()
        if op.type == "ReadVariableOp":
            return True
        if op.name not in seen:
            seen.add(op.name)
            waiting.extend(source.op for source in op.inputs)
    return False

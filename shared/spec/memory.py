"""How much memory a job's training takes at least: worked out from its layers, before it is queued.

What must be held at once in a training step: the weights, a gradient and the optimizer's state of
each, and what every layer puts out for every image of the batch, kept for the backward pass. Not
counted: TensorFlow itself, the images, and what single operations borrow for a moment; on a CPU the
process grew by 1.3 to 1.4 times the estimate (docs/models.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from shared.spec.job import JobSpec
from shared.spec.optimizers import Sgd
from shared.spec.shapes import LayerShape

_FLOAT32_BYTES = 4
_HALF_BYTES = 2


@dataclass(frozen=True)
class Memory:
    """Parts of a training step's memory, in bytes."""

    weights_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    activations_bytes: int

    @property
    def total_bytes(self) -> int:
        """All parts together."""
        return (
            self.weights_bytes
            + self.gradients_bytes
            + self.optimizer_bytes
            + self.activations_bytes
        )

    def as_dict(self) -> dict[str, int]:
        """Return the parts and their sum, JSON-compatible."""
        return {**asdict(self), "total_bytes": self.total_bytes}


def estimate(spec: JobSpec, layers: Sequence[LayerShape]) -> Memory:
    """Estimate the memory of a training step, on each of the GPUs if there are several.

    Args:
        spec: for batch size, GPUs, optimizer and precision.
        layers: of the spec's model, as `shared.spec.architecture.layers` gives them.
    """
    weights = _FLOAT32_BYTES * sum(layer.parameters for layer in layers)
    mixed = spec.precision != "float32"  # "auto" may become so: the estimate is "at least"
    images = -(-spec.batch_size // max(1, spec.resources.gpus))
    values = images * sum(layer.values for layer in layers)
    return Memory(
        weights_bytes=weights,
        gradients_bytes=weights,
        optimizer_bytes=_values_a_weight(spec) * weights,
        activations_bytes=values * (_HALF_BYTES if mixed else _FLOAT32_BYTES),
    )


def _values_a_weight(spec: JobSpec) -> int:
    """Return how many values the optimizer keeps of each weight."""
    if isinstance(spec.optimizer, Sgd):
        return 1 if spec.optimizer.momentum else 0
    return 2

"""The estimate of a training step's memory, against figures worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from shared.spec import JobSpec
from shared.spec.architecture import layers
from shared.spec.job import Resources
from shared.spec.memory import estimate
from shared.spec.models import Mlp
from shared.spec.optimizers import Adam, Sgd

# Flatten 784, dense 16, classes 10.
PARAMETERS = 785 * 16 + 17 * 10
VALUES = 784 + 16 + 10


@pytest.mark.parametrize(
    ("optimizer", "values_a_weight"), [(Sgd(), 0), (Sgd(momentum=0.9), 1), (Adam(), 2)], ids=str
)
@pytest.mark.parametrize(
    ("precision", "size"), [("float32", 4), ("mixed_bfloat16", 2), ("auto", 2)]
)
def test_weights_gradients_state_and_outputs_are_counted(
    optimizer: Any, values_a_weight: int, precision: Any, size: int
) -> None:
    spec = JobSpec(
        model=Mlp(hidden_units=[16]), optimizer=optimizer, precision=precision, batch_size=50
    )
    memory = estimate(spec, layers(spec.model, (28, 28, 1), 10)).as_dict()
    parts = {
        "weights_bytes": 4 * PARAMETERS,
        "gradients_bytes": 4 * PARAMETERS,
        "optimizer_bytes": 4 * PARAMETERS * values_a_weight,
        "activations_bytes": size * VALUES * 50,
    }
    assert memory == {**parts, "total_bytes": sum(parts.values())}


def test_of_several_gpus_each_holds_its_share_of_the_batch() -> None:
    spec = JobSpec(model=Mlp(hidden_units=[16]), batch_size=50, resources=Resources(gpus=4))
    memory = estimate(spec, layers(spec.model, (28, 28, 1), 10))
    assert memory.activations_bytes == 4 * VALUES * 13
    assert memory.weights_bytes == 4 * PARAMETERS

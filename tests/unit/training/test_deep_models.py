"""The deep models train: a few steps on digits, in the trainer's own graph."""

from __future__ import annotations

import numpy as np
import pytest

from shared.spec import JobSpec
from shared.spec.models import Model, ResNet20, ResNet50, Vgg16
from worker.training.data import Dataset
from worker.training.graph import Totals
from worker.training.learner import Learner

pytestmark = pytest.mark.training

STEPS = 2


@pytest.fixture(scope="module")
def few(dataset: Dataset) -> Dataset:
    """Give 8 training and 8 test images."""
    return Dataset(
        dataset.version,
        dataset.classes,
        dataset.x_train[:8],
        dataset.y_train[:8],
        dataset.x_test[:8],
        dataset.y_test[:8],
    )


@pytest.mark.parametrize(
    ("model", "precision"),
    [(ResNet20(), "mixed_bfloat16"), (ResNet50(), "float32"), (Vgg16(), "float32")],
    ids=lambda value: getattr(value, "kind", value),
)
def test_steps_move_every_weight_and_the_moving_averages(
    model: Model, precision: str, few: Dataset
) -> None:
    spec = JobSpec.model_validate(
        {"model": model, "precision": precision, "batch_size": 4, "learning_rate": 0.01}
    )
    learner = Learner(spec, few)
    before = learner.weights()
    steps, totals = learner.training.run(learner.plan(1), Totals(), start=0, stop=STEPS)
    assert (steps, totals.images) == (STEPS, STEPS * 4)
    for variable, old in zip(learner.model.weights, before, strict=False):
        if variable.path.endswith(("kernel", "beta", "moving_mean", "moving_variance")):
            assert not np.array_equal(variable, old), variable.path

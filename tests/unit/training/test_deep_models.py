"""The deep models train: a few steps on digits, in the trainer's own graph, and resume."""

from __future__ import annotations

import numpy as np
import pytest

from shared.spec import JobSpec
from shared.spec.models import Model, ResNet20, ResNet50, Vgg16
from worker.training.checkpoints import Position, State
from worker.training.data import Dataset
from worker.training.graph import Plan, Totals
from worker.training.learner import Learner

# ResNet-50's graphs alone take half a minute, or several on a busy machine.
pytestmark = [pytest.mark.training, pytest.mark.timeout(600)]


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
def test_steps_move_all_weights_and_a_restored_model_goes_on_as_if_undisturbed(
    model: Model, precision: str, few: Dataset
) -> None:
    spec = JobSpec.model_validate(
        {"model": model, "precision": precision, "batch_size": 4, "learning_rate": 0.01}
    )
    learner = Learner(spec, few)
    before = learner.weights()
    plan = learner.plan(1)
    first = train(learner, plan, Totals(), step=0)
    state = State(Position(), precision, [], learner.weights(), learner.optimizer_state())
    second = train(learner, plan, first, step=1)
    assert second.images == 8
    for variable, old in zip(learner.model.variables, before, strict=True):
        if variable.path.endswith(("kernel", "beta", "moving_mean", "moving_variance")):
            assert not np.array_equal(variable, old), variable.path

    restored = Learner(spec.model_copy(update={"seed": 1}), few)
    restored.restore(state)
    assert train(restored, plan, first, step=1) == second
    assert restored.weights_hash() == learner.weights_hash()


def train(learner: Learner, plan: Plan, totals: Totals, *, step: int) -> Totals:
    return learner.training.run(plan, totals, start=step, stop=step + 1)[1]

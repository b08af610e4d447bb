"""Every choice that a job can make, killed again and again: the same epochs and weights.

To the last bit, on the CPU. Not every combination, but every model meets every optimizer, and every
precision, stopping rule, scale and augmentation; `make kills` shows the same in a whole yard, for
any job.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest

from shared.protocol import Finished, Progress, Started, Stop
from shared.spec import JobSpec
from shared.spec.augmentation import Affine, Augmentation, NoAugmentation, Shift
from shared.spec.job import Preprocessing, Resources
from shared.spec.layers import Activation, BatchNorm, Conv, Dense, Dropout, GlobalPool, Pool
from shared.spec.models import (
    DeepCnn,
    LayerList,
    LeNet5,
    Mlp,
    Model,
    Plugin,
    ResNet20,
    ResNet50,
    ShallowCnn,
    Vgg16,
)
from shared.spec.optimizers import Adam, AdamW, Optimizer, RmsProp, Sgd
from shared.spec.schedules import (
    Constant,
    Cosine,
    Exponential,
    OneCycle,
    Plateau,
    Schedule,
    Step,
    WarmupCosine,
)
from shared.spec.stopping import AccuracyDrop, EarlyStopping, NoStopping, Patience
from tests.interrupted import checkpoints_of, figures, train_with_kills
from tests.plugins import install_example
from tests.small_data import small_mnist
from tests.trainers import Stable

pytestmark = [pytest.mark.slow, pytest.mark.training, pytest.mark.timeout(600)]

KILLS = 3
LAYERS: list[Any] = [
    Conv(filters=4, activation="none"),
    BatchNorm(),
    Activation(),
    Pool(),
    Dropout(),
    GlobalPool(),
    Dense(units=8),
]
MODELS: list[Any] = [
    ShallowCnn(filters=4, dense_units=32),
    DeepCnn(blocks=[4, 8], convolutions_per_block=1, dense_units=16, dropout=0.3),
    Mlp(hidden_units=[64, 32], dropout=0.2),
    LeNet5(),
    LayerList(layers=LAYERS),
]
# Too slow for every optimizer, or somebody else's code: each has a single job.
SINGLE: list[Any] = [
    (ResNet20(), Adam(), Constant(), NoStopping(), "float32", "unit", NoAugmentation()),
    (
        Vgg16(dense_units=32),
        Sgd(),
        Exponential(rate=0.8),
        NoStopping(),
        "mixed_bfloat16",
        "unit",
        NoAugmentation(),
    ),
    (
        Plugin(name="mixed-kernels"),
        Adam(),
        Constant(),
        NoStopping(),
        "float32",
        "standardize",
        NoAugmentation(),
    ),
]
# Its graph alone takes a minute; tests/unit/training/test_deep_models.py restores it without kills.
RESTORED = {ResNet50}
OPTIMIZERS: list[Any] = [
    Sgd(),
    Sgd(momentum=0.9),
    Sgd(momentum=0.9, nesterov=True, weight_decay=0.01),
    Adam(clip_norm=1.0),
    AdamW(),
    RmsProp(momentum=0.5),
]
SCHEDULES: list[Any] = [
    Constant(),
    Exponential(rate=0.8),
    Step(every=2),
    Cosine(),
    WarmupCosine(),
    OneCycle(),
    Plateau(patience=1, min_delta=0.5),  # falls again and again
]
AUGMENTATIONS: list[Any] = [NoAugmentation(), Shift(), Affine(flip=True)]
STOPPINGS: list[Any] = [NoStopping(), AccuracyDrop(), Patience(monitor="train_loss")]
PRECISIONS = ["float32", "mixed_bfloat16"]
SCALES = ["unit", "standardize"]


def _choose(model: int, optimizer: int) -> tuple[Any, ...]:
    """Return one job's choices: every model with every optimizer, the others spread evenly."""
    return (
        MODELS[model],
        OPTIMIZERS[optimizer],
        SCHEDULES[(model * len(OPTIMIZERS) + optimizer) % len(SCHEDULES)],
        STOPPINGS[(model + optimizer // 2) % 3],
        PRECISIONS[(model + optimizer) % 2],
        SCALES[(model + optimizer // 3) % 2],
        AUGMENTATIONS[(model + optimizer) % 3],
    )


JOBS = [_choose(*pair) for pair in product(range(len(MODELS)), range(len(OPTIMIZERS)))]


def _spec(choices: tuple[Any, ...]) -> JobSpec:
    model, optimizer, schedule, stopping, precision, scale, augmentation = choices
    return JobSpec(
        model=model,
        optimizer=optimizer,
        schedule=schedule,
        early_stopping=stopping,
        precision=precision,
        preprocessing=Preprocessing(scale=scale, augmentation=augmentation),
        learning_rate=0.001,
        epochs=4,
        batch_size=2,
        evaluate_on="validation" if scale == "standardize" else "test",
        resources=Resources(checkpoint_seconds=1),
    )


def _name(choices: tuple[Any, ...]) -> str:
    return ", ".join(str(getattr(choice, "kind", choice)) for choice in choices)


@pytest.fixture(scope="module", autouse=True)
def example_plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the trainers find the example of a plugin."""
    folder = install_example(tmp_path_factory.mktemp("plugin"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield


@pytest.fixture(scope="module")
def few_images_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give 41 training images, for models that take their time."""
    return small_mnist(tmp_path_factory.mktemp("few-digits"), train=41, test=20)


@pytest.fixture(scope="module")
def dataset_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give 2,001 training images: the last batch of an epoch is a single one."""
    return small_mnist(tmp_path_factory.mktemp("digits"), train=2001, test=300)


def test_the_jobs_hold_every_kind_and_every_model_meets_every_choice() -> None:
    for union, choices in (
        (Model, MODELS + [choices[0] for choices in SINGLE]),
        (Optimizer, OPTIMIZERS),
        (Schedule, SCHEDULES),
        (EarlyStopping, STOPPINGS),
        (Augmentation, AUGMENTATIONS),
    ):
        kinds = {type(choice) for choice in choices}
        assert set(get_args(get_args(union)[0])) - RESTORED == kinds
    assert {job[2].kind for job in JOBS} == {schedule.kind for schedule in SCHEDULES}
    for place, others in (
        (1, OPTIMIZERS),
        (3, STOPPINGS),
        (4, PRECISIONS),
        (5, SCALES),
        (6, AUGMENTATIONS),
    ):
        met = [(job[0], job[place]) for job in JOBS]
        assert all(pair in met for pair in product(MODELS, others))


@pytest.mark.parametrize("choices", JOBS, ids=_name)
def test_stopped_and_killed_again_and_again_a_job_ends_as_if_undisturbed(
    choices: tuple[Any, ...], stable: Stable, dataset_dir: Path
) -> None:
    chance = random.Random(JOBS.index(choices))
    _check_resumes(_spec(choices), stable, dataset_dir, kills=KILLS, chance=chance)


@pytest.mark.parametrize("choices", SINGLE, ids=_name)
def test_stopped_and_killed_once_a_job_ends_as_if_undisturbed(
    choices: tuple[Any, ...], stable: Stable, few_images_dir: Path
) -> None:
    spec = _spec(choices).model_copy(update={"epochs": 2})
    chance = random.Random(SINGLE.index(choices))
    _check_resumes(spec, stable, few_images_dir, kills=1, chance=chance)


def _check_resumes(
    spec: JobSpec, stable: Stable, dataset_dir: Path, *, kills: int, chance: random.Random
) -> None:
    undisturbed = stable.take()
    undisturbed.run(spec, dataset_dir)
    undisturbed.finish()
    stopped = stable.take()
    stopped.run(spec, dataset_dir)
    stopped.wait_for(Progress)
    stopped.send(Stop())
    assert stopped.wait() == 3
    trainers = train_with_kills(
        stable, spec, dataset_dir, checkpoints_of(stopped), kills=kills, chance=chance
    )
    assert trainers[0].all(Started)[0].step > 0, "It was not stopped in the middle of an epoch."
    assert len(trainers) > 1, "The job was over before it could be killed."
    assert figures(stopped, *trainers) == figures(undisturbed)
    assert trainers[-1].all(Finished) == undisturbed.all(Finished)

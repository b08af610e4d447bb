"""The inner loops: the numbers of plain Keras, however the steps are divided into calls."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from shared.spec import JobSpec
from shared.spec.augmentation import Affine, Shift
from shared.spec.job import Preprocessing
from shared.spec.models import DeepCnn, LeNet5, Mlp, Model, ShallowCnn
from shared.spec.optimizers import Adam, Optimizer, Sgd
from shared.spec.schedules import OneCycle, learning_rate
from worker.training.data import Dataset
from worker.training.graph import EvaluationLoop, Score, Scorer, Totals
from worker.training.learner import Learner
from worker.training.normalization import Normalizations
from worker.training.replicas import Single
from worker.training.source import InFiles, OnDevice

SMALL: list[Model] = [
    ShallowCnn(filters=4, dense_units=16),
    DeepCnn(blocks=[4, 8], convolutions_per_block=1, dense_units=16, dropout=0.3),
    Mlp(hidden_units=[16, 8], dropout=0.2),
    LeNet5(),
]


def spec_of(model: Model, optimizer: Optimizer | None = None, **changes: Any) -> JobSpec:
    spec = JobSpec(
        model=model,
        optimizer=optimizer or Adam(),
        batch_size=64,
        learning_rate=0.01,
        preprocessing=Preprocessing(scale="unit"),
    )
    return spec.model_copy(update=changes)


def train(learner: Learner, calls: list[int]) -> Totals:
    """Train the first epoch in calls that end at these steps."""
    plan, start, totals = learner.plan(1), 0, Totals()
    for stop in calls:
        start, totals = learner.training.run(plan, totals, start=start, stop=stop)
        assert start == stop
    return totals


def evaluate(learner: Learner) -> Score:
    evaluation = learner.evaluation
    return evaluation.run(evaluation.nothing(), start=0, stop=evaluation.batches)


# Its dense kernel is large enough to be treated apart in plain gradient descent.
LARGE = ShallowCnn(filters=16, dense_units=100)


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [
        *product([SMALL[0], Mlp(hidden_units=[16]), LeNet5()], [Sgd(momentum=0.9), Adam()]),
        (LARGE, Sgd()),
        (LARGE, Sgd(momentum=0.9)),
    ],
    ids=lambda part: part.kind,
)
def test_an_epoch_is_that_of_plain_keras(
    model: Model, optimizer: Optimizer, dataset: Dataset
) -> None:
    spec = spec_of(model, optimizer)
    learner = Learner(spec, dataset)
    plain = keras.models.clone_model(learner.model)
    plain.set_weights(learner.model.get_weights())
    if isinstance(optimizer, Sgd):
        theirs = keras.optimizers.SGD(0.01, momentum=optimizer.momentum)
    else:
        theirs = keras.optimizers.Adam(0.01)
    plain.compile(theirs, "sparse_categorical_crossentropy", jit_compile=False)

    totals = train(learner, [8])

    order = learner.plan(1).order.part(0).rows.numpy()
    losses = []
    for first in range(0, 500, 64):
        rows = order[first : first + 64]
        images, labels = dataset.x_train[rows].astype(np.float32), dataset.y_train[rows]
        before = plain(images, training=True).numpy()
        losses.extend(-np.log(before[np.arange(len(rows)), labels]))
        plain.train_on_batch(images, labels)
    assert totals.images == 500
    assert totals.loss / totals.images == pytest.approx(np.mean(losses), rel=1e-4)
    for ours, other in zip(learner.model.get_weights(), plain.get_weights(), strict=True):
        assert np.linalg.norm(ours - other) < 2e-3 * np.linalg.norm(other)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    ("model", "optimizer"),
    [*((model, Adam()) for model in SMALL), (LARGE, Sgd())],
    ids=lambda part: part.kind,
)
def test_how_steps_are_divided_into_calls_changes_no_bit(
    model: Model, optimizer: Optimizer, precision: Any, dataset: Dataset
) -> None:
    def outcome(calls: list[int]) -> tuple[Totals, list[bytes]]:
        learner = Learner(spec_of(model, optimizer, precision=precision), dataset)
        totals = train(learner, calls)
        return totals, [array.tobytes() for array in learner.weights()]

    whole = outcome([8])
    assert outcome([1, 4, 7, 8]) == whole


def test_the_last_batch_is_what_is_left_and_traces_nothing_new(dataset: Dataset) -> None:
    learner = Learner(spec_of(Mlp(hidden_units=[8])), dataset)
    assert learner.steps_per_epoch == 8  # 7 of 64, one of 52
    assert train(learner, [7]).images == 448
    assert train(learner, [8]).images == 500
    graphs = learner.training._graphs.values()
    assert sum(graph.experimental_get_tracing_count() for graph in graphs) == 2
    train(learner, [1, 5, 8])
    assert sum(graph.experimental_get_tracing_count() for graph in graphs) == 2


def test_a_score_is_that_of_numpy_over_the_models_probabilities(dataset: Dataset) -> None:
    learner = Learner(spec_of(SMALL[1]), dataset)
    train(learner, [8])
    score = evaluate(learner)
    probabilities = learner.model(dataset.x_test.astype(np.float32), training=False).numpy()
    predictions = probabilities.argmax(axis=1)
    own = probabilities[np.arange(200), dataset.y_test]
    assert score.mean_loss == pytest.approx(-np.log(own).mean(), rel=1e-4)
    assert score.accuracy == pytest.approx((predictions == dataset.y_test).mean())
    expected = np.zeros((10, 10), int)
    np.add.at(expected, (dataset.y_test, predictions), 1)
    np.testing.assert_array_equal(score.matrix, expected)


def test_a_score_does_not_depend_on_how_batches_are_divided_into_calls(dataset: Dataset) -> None:
    learner = Learner(spec_of(Mlp(hidden_units=[8])), dataset)
    test_set, rows = OnDevice(dataset.x_test, dataset.y_test), np.arange(200, dtype=np.int32)
    scorer = Scorer(
        learner.model, Normalizations(), Single(), classes=len(dataset.classes), batch_size=30
    )
    evaluation = EvaluationLoop(scorer, test_set, rows)
    assert evaluation.batches == 7
    whole = evaluation.run(evaluation.nothing(), start=0, stop=7)
    parts = evaluation.nothing()
    for batch in range(7):
        parts = evaluation.run(parts, start=batch, stop=batch + 1)
    assert whole.loss == parts.loss
    np.testing.assert_array_equal(whole.matrix, parts.matrix)
    assert whole.matrix.sum() == 200


@pytest.mark.parametrize("calls", [[8], [1, 8], [2, 3, 8]], ids=str)
def test_training_ends_at_the_very_step_whose_loss_is_not_finite(
    calls: list[int], dataset: Dataset
) -> None:
    learner = Learner(spec_of(Mlp(hidden_units=[8]), Sgd()), dataset)
    plan = learner.plan(1)
    poisoned = 5  # the first step that sees the weights that the fourth one broke
    rates = np.full(8, 0.01, np.float32)
    rates[poisoned - 2] = math.inf
    plan = plan._replace(rates=tf.constant(rates))
    start, totals = 0, Totals()
    for stop in calls:
        start, totals = learner.training.run(plan, totals, start=start, stop=stop)
    assert start == poisoned
    assert not math.isfinite(totals.loss)


def test_sums_are_exact_where_float32_would_not_be(dataset: Dataset) -> None:
    learner = Learner(spec_of(Mlp(hidden_units=[8])), dataset)
    plan = learner.plan(1)._replace(rates=tf.zeros([8]))
    many = Totals(loss=2.0**30, correct=2**40, images=2**41)
    _, totals = learner.training.run(plan, many, start=0, stop=1)
    _, alone = learner.training.run(plan, Totals(), start=0, stop=1)
    assert totals.loss - 2.0**30 == pytest.approx(alone.loss, rel=1e-6)
    assert (totals.correct - 2**40, totals.images - 2**41) == (alone.correct, 64)


def test_every_step_takes_its_own_rate(dataset: Dataset) -> None:
    """With rates of nothing but one, only that step changes the weights."""
    learner = Learner(spec_of(Mlp(hidden_units=[8]), Sgd()), dataset)
    rates = np.zeros(8, np.float32)
    rates[5] = 0.1
    plan = learner.plan(1)._replace(rates=tf.constant(rates))
    changed = []
    for step in range(8):
        before = learner.weights()[0]
        learner.training.run(plan, Totals(), start=step, stop=step + 1)
        changed.append(not np.array_equal(before, learner.weights()[0]))
    assert changed == [False] * 5 + [True] + [False] * 2


def test_a_smooth_schedule_reaches_the_graph_step_by_step(dataset: Dataset) -> None:
    spec = spec_of(Mlp(hidden_units=[8]), epochs=3, schedule=OneCycle())
    rates = Learner(spec, dataset).plan(2).rates.numpy()
    expected = [learning_rate(spec, 2, step=step, steps=8) for step in range(8)]
    np.testing.assert_array_equal(rates, np.array(expected, np.float32))
    assert len(set(rates)) == 8


@pytest.mark.parametrize("augmentation", [Shift(pixels=2), Affine(flip=True)], ids=lambda a: a.kind)
def test_augmentation_does_not_depend_on_how_steps_are_divided_into_calls(
    augmentation: Any, dataset: Dataset
) -> None:
    preprocessing = Preprocessing(scale="unit", augmentation=augmentation)

    def outcome(calls: list[int]) -> tuple[Totals, list[bytes]]:
        spec = spec_of(Mlp(hidden_units=[8]), preprocessing=preprocessing)
        learner = Learner(spec, dataset)
        totals = train(learner, calls)
        return totals, [array.tobytes() for array in learner.weights()]

    whole = outcome([8])
    assert outcome([1, 4, 7, 8]) == whole
    plain = Learner(spec_of(Mlp(hidden_units=[8])), dataset)
    assert train(plain, [8]).loss != whole[0].loss


@pytest.mark.parametrize("evaluate_on", ["test", "validation"])
@pytest.mark.parametrize("calls", [[8], [1, 4, 7, 8]], ids=str)
def test_images_read_from_their_files_give_the_numbers_of_those_on_the_device(
    calls: list[int], evaluate_on: str, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InFiles.__init__, "__defaults__", (3 * 64 * dataset.x_train[0].nbytes,))
    spec = spec_of(LeNet5(), evaluate_on=evaluate_on, validation_fraction=0.06)

    def outcome(room: int) -> tuple[Any, ...]:
        learner = Learner(spec, dataset, room=room)
        steps = learner.steps_per_epoch
        totals = train(learner, [min(stop, steps) for stop in calls])
        score, test = evaluate(learner), learner.score_test()
        arrays = [array.tobytes() for array in learner.weights()]
        return totals, score.loss, score.matrix.tobytes(), test.loss, arrays

    assert outcome(room=0) == outcome(room=1 << 30)

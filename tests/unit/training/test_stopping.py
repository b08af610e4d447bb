"""Early stopping and the best epoch, against the tutorial's rule and Keras's callback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pytest

from shared.protocol import Epoch
from shared.spec import JobSpec
from shared.spec.stopping import AccuracyDrop, EarlyStopping, NoStopping, Patience
from worker.training.stopping import best_epoch, epoch_to_keep, keeps_best, reason_to_stop


def history_of(values: Sequence[float], name: str = "eval_accuracy") -> list[Epoch]:
    fixed = Epoch(
        epoch=1,
        train_accuracy=0.5,
        train_loss=1.0,
        eval_accuracy=0.5,
        eval_loss=1.0,
        learning_rate=0.1,
        seconds=1.0,
        images_per_second=1.0,
    )
    return [
        fixed.model_copy(update={"epoch": number, name: value})
        for number, value in enumerate(values, start=1)
    ]


def stopped_at(rule: EarlyStopping, history: list[Epoch]) -> int | None:
    spec = JobSpec(early_stopping=rule)
    for count in range(1, len(history) + 1):
        if reason_to_stop(spec, history[:count]) is not None:
            return count
    return None


def test_without_a_rule_nothing_stops() -> None:
    assert stopped_at(NoStopping(), history_of([0.9, 0.1, 0.0], "train_accuracy")) is None


@pytest.mark.parametrize(
    ("accuracies", "last"),
    [
        ([0.9], None),
        ([0.5, 0.6, 0.7], None),
        ([0.5, 0.6, 0.6, 0.7], None),
        ([0.5, 0.6, 0.5999, 0.7], 3),
        ([0.5, 0.4], 2),
    ],
)
def test_accuracy_drop_stops_at_the_first_fall(accuracies: list[float], last: int | None) -> None:
    assert stopped_at(AccuracyDrop(), history_of(accuracies, "train_accuracy")) == last


def test_accuracy_drop_says_what_fell() -> None:
    history = history_of([0.91, 0.9], "train_accuracy")
    reason = reason_to_stop(JobSpec(early_stopping=AccuracyDrop()), history)
    assert reason == "Training accuracy fell from 0.9100 in epoch 1 to 0.9000 in epoch 2."


def keras_verdict(rule: Patience, values: Sequence[float]) -> tuple[int | None, int]:
    """Let Keras's own callback watch the values; return where it stops and what it keeps."""
    callback = keras.callbacks.EarlyStopping(
        monitor="value",
        mode="max" if rule.monitor.endswith("accuracy") else "min",
        min_delta=rule.min_delta,
        patience=rule.patience,
        start_from_epoch=rule.start_from_epoch - 1,
        restore_best_weights=True,
    )
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    callback.set_model(model)
    model.stop_training = False
    callback.on_train_begin()
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"value": value})
        if model.stop_training:
            return epoch + 1, callback.best_epoch + 1
    return None, callback.best_epoch + 1


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "rule",
    [
        Patience(),
        Patience(patience=1),
        Patience(patience=2, min_delta=0.05),
        Patience(patience=2, start_from_epoch=4),
        Patience(monitor="eval_loss", patience=2, min_delta=0.02),
        Patience(monitor="train_loss", patience=1, start_from_epoch=3),
    ],
    ids=str,
)
def test_patience_stops_and_keeps_as_keras_does(rule: Patience, seed: int) -> None:
    values = np.random.default_rng(seed).random(15).round(2).tolist()
    history = history_of(values, rule.monitor)
    expected_stop, expected_best = keras_verdict(rule, values)
    assert stopped_at(rule, history) == expected_stop
    kept = epoch_to_keep(JobSpec(early_stopping=rule), history[: expected_stop or len(values)])
    assert kept == expected_best


def test_patience_says_what_did_not_improve() -> None:
    spec = JobSpec(early_stopping=Patience(patience=2))
    reason = reason_to_stop(spec, history_of([0.5, 0.75, 0.7, 0.75]))
    assert reason == "eval_accuracy has not improved on 0.7500 of epoch 2 for 2 epochs."


def test_the_best_epoch_is_the_first_of_equals() -> None:
    assert best_epoch(history_of([0.5, 0.8, 0.8, 0.7])) == 2


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"early_stopping": NoStopping()}, 4),
        ({"early_stopping": AccuracyDrop()}, 4),
        ({"early_stopping": Patience(restore_best=False)}, 4),
        ({"early_stopping": Patience(restore_best=True)}, 2),
        ({"early_stopping": NoStopping(), "evaluate_on": "validation"}, 2),
        ({"early_stopping": Patience(restore_best=False), "evaluate_on": "validation"}, 2),
        ({"early_stopping": Patience(start_from_epoch=3, patience=9)}, 3),
        ({"early_stopping": Patience(start_from_epoch=9, patience=9)}, 4),
    ],
    ids=str,
)
def test_the_weights_that_a_job_ends_with(changes: dict[str, Any], kept: int) -> None:
    spec = JobSpec(**changes)
    history = history_of([0.5, 0.8, 0.75, 0.6])
    assert epoch_to_keep(spec, history) == kept
    assert keeps_best(spec) or kept == 4

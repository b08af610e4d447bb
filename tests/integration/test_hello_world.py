"""The preset `hello-world` against the tutorial: an independent loop, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from shared.protocol import Epoch, Finished, Started
from tests.trainers import Stable, spec_of
from tests.tutorial import EpochScore

pytestmark = [pytest.mark.training, pytest.mark.timeout(600)]

EPOCHS = 3


@dataclass(frozen=True)
class Runs:
    """Both runs, over the full MNIST."""

    started: Started
    ours: list[Epoch]
    finished: Finished
    tutorial: list[EpochScore]


@pytest.fixture(scope="module")
def runs(stable: Stable, mnist_dir: Path) -> Runs:
    trainer = stable.take()
    trainer.run(spec_of("hello-world", epochs=EPOCHS), mnist_dir)
    finished = trainer.finish()
    return Runs(trainer.all(Started)[0], trainer.all(Epoch), finished, _run_tutorial())


def _run_tutorial() -> list[EpochScore]:
    child = subprocess.run(
        [sys.executable, "-m", "tests.tutorial", "--as-trainer", "--epochs", str(EPOCHS)],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return [EpochScore(**json.loads(line)) for line in child.stdout.splitlines()]


def test_hello_world_trains_on_all_of_mnist(runs: Runs) -> None:
    assert runs.started.train_images == 60_000
    assert runs.started.eval_images == 10_000
    assert runs.started.steps_per_epoch == 600
    assert [epoch.epoch for epoch in runs.ours] == list(range(1, EPOCHS + 1))


def test_accuracies_are_the_tutorials_within_half_a_point(runs: Runs) -> None:
    for ours, tutorial in zip(runs.ours, runs.tutorial, strict=True):
        assert ours.train_accuracy == pytest.approx(tutorial.train_accuracy, abs=0.005)
        assert ours.eval_accuracy == pytest.approx(tutorial.test_accuracy, abs=0.005)


def test_losses_are_the_tutorials_within_two_percent(runs: Runs) -> None:
    for ours, tutorial in zip(runs.ours, runs.tutorial, strict=True):
        assert ours.train_loss == pytest.approx(tutorial.train_loss, rel=0.02)
        assert ours.eval_loss == pytest.approx(tutorial.test_loss, rel=0.02)


def test_learning_rates_are_exactly_the_tutorials(runs: Runs) -> None:
    rates = [epoch.learning_rate for epoch in runs.ours]
    assert rates == [0.001 * 0.9**epoch for epoch in range(EPOCHS)]
    assert rates == [epoch.learning_rate for epoch in runs.tutorial]


def test_the_final_score_is_the_last_epochs(runs: Runs) -> None:
    last = runs.ours[-1]
    assert runs.finished.weights_epoch == last.epoch
    assert runs.finished.test_accuracy == last.eval_accuracy
    assert runs.finished.test_loss == last.eval_loss


def test_the_tutorials_rule_stops_a_job_whose_training_accuracy_falls(
    stable: Stable, mnist_dir: Path
) -> None:
    # With dropout the accuracy rises with some noise, and falls once after a dozen epochs.
    spec = spec_of(
        "mlp",
        train_fraction=0.02,
        batch_size=50,
        model={"dropout": 0.5},
        early_stopping={"kind": "accuracy_drop"},
        epochs=60,
    )
    trainer = stable.take()
    trainer.run(spec, mnist_dir)
    finished = trainer.finish()

    accuracies = [epoch.train_accuracy for epoch in trainer.all(Epoch)]
    falls = [after < before for before, after in pairwise(accuracies)]
    assert falls.index(True) == len(falls) - 1, accuracies
    assert 2 < len(accuracies) < spec.epochs
    assert finished.reason == "early_stopped"
    assert finished.weights_epoch == len(accuracies)
    assert f"to {accuracies[-1]:.4f} in epoch {len(accuracies)}" in finished.detail

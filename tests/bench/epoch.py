"""How long an epoch of `hello-world` takes, against the tutorial's own loop and `model.fit`.

All run in one child process, ours and the tutorial's in turns of a hundred steps, so that whatever
else the machine does meets both alike: `python -m tests.bench.epoch --rounds 5 FOLDER` prints one
JSON object a round.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from shared.datasets import materialise
from shared.spec.presets import PRESETS
from shared.spec.schedules import learning_rate
from tests.bench.figures import Figure

_STEPS_A_TURN = 100

Round = dict[str, dict[str, float]]
Accuracies = tuple[float, float]
Turns = Iterator[Accuracies | None]


def figures(folder: Path, rounds: int) -> Iterator[Figure]:
    """Measure in a child process.

    Args:
        folder: for the data set.
        rounds: epochs of each loop.
    """
    dataset_dir = materialise("mnist", folder)
    child = subprocess.run(
        [sys.executable, "-m", "tests.bench.epoch", "--rounds", str(rounds), str(dataset_dir)],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
        stdout=subprocess.PIPE,
        check=True,
    )
    measured: list[Round] = [json.loads(line) for line in child.stdout.splitlines()]
    yield _figure(measured, "tutorial", "the tutorial's own loop", limit=0.75)
    yield _figure(measured, "fit", "plain model.fit", limit=None)


def _figure(rounds: list[Round], peer: str, name: str, *, limit: float | None) -> Figure:
    ratios = [row["ours"]["seconds"] / row[peer]["seconds"] for row in rounds]
    return Figure(
        f"epoch of hello-world / epoch of {name}, float32, median",
        median(ratios),
        "",
        limit,
        f"{len(rounds)} rounds in turns, ratios {min(ratios):.2f} to {max(ratios):.2f}; "
        f"{_of(rounds, 'ours')} against {_of(rounds, peer)}",
    )


def _of(rounds: list[Round], loop: str) -> str:
    last = rounds[-1][loop]
    seconds = median(row[loop]["seconds"] for row in rounds)
    return f"{seconds:.1f} s (train {last['train_accuracy']:.4f}, test {last['test_accuracy']:.4f})"


# --- the child --------------------------------------------------------------------------------


def ours(dataset_dir: Path) -> Callable[[int], Turns]:
    """Return the trainer's loops: an epoch, in turns; the last one gives both accuracies."""
    from worker.training.data import load
    from worker.training.graph import Totals
    from worker.training.learner import Learner

    spec = PRESETS["hello-world"].spec
    learner = Learner(spec, load(dataset_dir))

    def epoch(number: int) -> Turns:
        rows, totals = learner.order(number), Totals()
        rate, steps = learning_rate(spec, number), learner.steps_per_epoch
        for start in range(0, steps, _STEPS_A_TURN):
            stop = min(start + _STEPS_A_TURN, steps)
            _, totals = learner.training.run(rows, rate, totals, start=start, stop=stop)
            yield None
        evaluation = learner.evaluation
        score = evaluation.run(evaluation.nothing(), start=0, stop=evaluation.batches)
        yield totals.correct / totals.images, score.accuracy

    return epoch


def tutorials(tutorial: Any) -> Callable[[int], Turns]:
    """Return the tutorial's loops, likewise."""

    def epoch(number: int) -> Turns:
        for step, _ in enumerate(tutorial.train(number), start=1):
            if step % _STEPS_A_TURN == 0:
                yield None
        score = tutorial.score(number)
        yield score.train_accuracy, score.test_accuracy

    return epoch


def fit(tutorial: Any) -> Callable[[int], Turns]:
    """Return the tutorial's model trained by Keras, an epoch a turn."""
    import keras

    from tests.tutorial import BATCH_SIZE, build_model

    model = build_model()
    model.compile(
        keras.optimizers.SGD(0.001), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )

    def epoch(number: int) -> Turns:
        model.optimizer.learning_rate = 0.001 * 0.9 ** (number - 1)
        history = model.fit(
            tutorial.x_train,
            tutorial.y_train,
            batch_size=BATCH_SIZE,
            validation_data=(tutorial.x_test, tutorial.y_test),
            validation_batch_size=BATCH_SIZE,
            verbose=0,
        ).history
        yield history["accuracy"][0], history["val_accuracy"][0]

    return epoch


def take_turns(turns: dict[str, Turns]) -> Round:
    """Let each loop do a turn after the other until all are done; return times and accuracies."""
    seconds = dict.fromkeys(turns, 0.0)
    found: Round = {}
    while len(found) < len(turns):
        for name, turn in turns.items():
            if name in found:
                continue
            began = time.perf_counter()
            accuracies = next(turn)
            seconds[name] += time.perf_counter() - began
            if accuracies is not None:
                train, test = accuracies
                found[name] = {
                    "seconds": seconds[name],
                    "train_accuracy": train,
                    "test_accuracy": test,
                }
    return found


def main() -> int:
    """Run the rounds; print one a line."""
    from tests.tutorial import Tutorial
    from worker.training.runtime import import_tensorflow

    parser = argparse.ArgumentParser(prog="python -m tests.bench.epoch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("dataset_dir", type=Path)
    options = parser.parse_args()
    import_tensorflow()
    our_epoch = ours(options.dataset_dir)  # first: it resets what Keras counts
    tutorial = Tutorial()
    tutorials_epoch, fits_epoch = tutorials(tutorial), fit(tutorial)
    for number in range(1, options.rounds + 1):
        pair = {"ours": our_epoch(number), "tutorial": tutorials_epoch(number)}
        print(json.dumps(take_turns(pair) | take_turns({"fit": fits_epoch(number)})), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

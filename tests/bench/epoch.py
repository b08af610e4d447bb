"""How long an epoch of `hello-world` takes, against the tutorial's own loop and `model.fit`.

Each loop has a process of its own, as its user would run it: in one process, whatever a loop
leaves to TensorFlow's threads meets the next one. Ours and the tutorial's take turns of a hundred
steps, and `model.fit` an epoch in each round, so that whatever else the machine does meets all
alike. `python -m tests.bench.epoch LOOP FOLDER` is such a process: it does a turn for each line
on standard input and answers with one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, NamedTuple, Self

from shared.datasets.cache import materialise
from shared.spec.presets import PRESETS
from tests.bench.figures import Figure
from tests.bench.limit import Limit
from worker.training.pages import use_huge_pages

_STEPS_A_TURN = 100
_STEPS_AT_ONCE = 100

Accuracies = tuple[float, float]
Turns = Iterator[Accuracies | None]


class EpochTime(NamedTuple):
    """An epoch of a loop: seconds, and accuracy on the training and the test images."""

    seconds: float
    train_accuracy: float
    test_accuracy: float


def figures(folder: Path, rounds: int) -> Iterator[Figure]:
    """Measure every loop.

    Args:
        folder: for the data set.
        rounds: epochs of each loop.
    """
    dataset_dir = materialise("mnist", folder)
    limits = {name: Limit.measured(name) for name in _OURS}
    with ExitStack() as stack:
        loops = {
            name: stack.enter_context(Loop(name, dataset_dir))
            for name in (*_OURS, _TUTORIAL, *_FITS)
        }
        in_turns = [loops[name] for name in (*_OURS, _TUTORIAL)]
        for _ in range(rounds):
            take_turns(in_turns)
            for name in _FITS:
                take_turns([loops[name]])
    best_fit = min(_FITS, key=lambda name: median(epoch.seconds for epoch in loops[name].epochs))
    for ours, limit in _OURS.items():
        yield _figure(loops[ours], loops[_TUTORIAL], "the tutorial's own loop", limit)
    for ours in _OURS:
        name = f"the best model.fit ({best_fit})"
        yield _figure(loops[ours], loops[best_fit], name, _FIT_LIMIT)
    for ours in _OURS:
        yield _roofline(loops[ours], limits[ours])


def gpus() -> list[str]:
    """Return the names of the GPUs that TensorFlow finds, asked in a process of its own."""
    code = (
        "import json, tensorflow as tf; "
        "print(json.dumps([gpu.name for gpu in tf.config.list_physical_devices('GPU')]))"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    return list(json.loads(child.stdout))


def _figure(ours: Loop, peer: Loop, peer_name: str, limit: float) -> Figure:
    ratios = [
        mine.seconds / theirs.seconds for mine, theirs in zip(ours.epochs, peer.epochs, strict=True)
    ]
    return Figure(
        f"epoch of hello-world / epoch of {peer_name}, {ours.name}, median",
        median(ratios),
        "",
        limit,
        f"{len(ratios)} rounds in turns, ratios {min(ratios):.2f} to {max(ratios):.2f}, "
        f"of the fastest epochs {_fastest(ours) / _fastest(peer):.2f}; "
        f"{_describe(ours)} against {_describe(peer)}",
    )


def _roofline(ours: Loop, limit: Limit) -> Figure:
    return Figure(
        f"epoch of hello-world / the least that this machine allows, {ours.name}, fastest",
        _fastest(ours) / limit.seconds,
        "",
        None,
        f"{_fastest(ours):.1f} s; {limit}",
    )


def _fastest(loop: Loop) -> float:
    return min(epoch.seconds for epoch in loop.epochs)


def _describe(loop: Loop) -> str:
    last = loop.epochs[-1]
    seconds = median(epoch.seconds for epoch in loop.epochs)
    return f"{seconds:.1f} s (train {last.train_accuracy:.4f}, test {last.test_accuracy:.4f})"


class Loop:
    """A loop in a process of its own, that goes on only when told to.

    Args:
        name: one of `_LOOPS`.
        dataset_dir: the data set.

    Attributes:
        epochs: what was measured.
    """

    def __init__(self, name: str, dataset_dir: Path) -> None:
        self.name = name
        self.epochs: list[EpochTime] = []
        self._seconds = 0.0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.epoch", name, str(dataset_dir)],
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def turn(self) -> bool:
        """Let it do its next turn; return whether that ended an epoch."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        self._seconds += answer["seconds"]
        if answer["accuracies"] is None:
            return False
        self.epochs.append(EpochTime(self._seconds, *answer["accuracies"]))
        self._seconds = 0.0
        return True


def take_turns(loops: list[Loop]) -> None:
    """Let each loop do a turn after the other, until each has done an epoch."""
    waiting = list(loops)
    while waiting:
        waiting = [loop for loop in waiting if not loop.turn()]


# --- the children -----------------------------------------------------------------------------


def ours(precision: str, dataset_dir: Path) -> Callable[[int], Turns]:
    """Return the trainer's loops: an epoch, in turns; the last one gives both accuracies."""
    from worker.training.data import load
    from worker.training.graph import Totals
    from worker.training.learner import Learner
    from worker.training.precision import resolve

    spec = PRESETS["hello-world"].spec.model_copy(update={"precision": resolve(precision)})
    learner = Learner(spec, load(dataset_dir))

    def epoch(number: int) -> Turns:
        plan, totals, steps = learner.plan(number), Totals(), learner.steps_per_epoch
        for start in range(0, steps, _STEPS_A_TURN):
            stop = min(start + _STEPS_A_TURN, steps)
            _, totals = learner.training.run(plan, totals, start=start, stop=stop)
            if stop < steps:
                yield None
        evaluation = learner.evaluation
        score = evaluation.run(evaluation.nothing(), start=0, stop=evaluation.batches)
        yield totals.correct / totals.images, score.accuracy

    return epoch


def tutorials(_: Path) -> Callable[[int], Turns]:
    """Return the tutorial's loops, likewise."""
    from tests.tutorial import Tutorial

    tutorial = Tutorial()

    def epoch(number: int) -> Turns:
        for step, _ in enumerate(tutorial.train(number), start=1):
            if step % _STEPS_A_TURN == 0 and step < len(tutorial.y_train) // _BATCH_SIZE:
                yield None
        score = tutorial.score(number)
        yield score.train_accuracy, score.test_accuracy

    return epoch


def fit(steps: int, jit: bool, _: Path) -> Callable[[int], Turns]:
    """Return the tutorial's model trained by Keras, an epoch a turn."""
    import keras

    from tests.tutorial import Tutorial, build_model

    tutorial = Tutorial()
    model = build_model()
    model.compile(
        keras.optimizers.SGD(0.001),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=steps,
        jit_compile=jit,
    )

    def epoch(number: int) -> Turns:
        model.optimizer.learning_rate = 0.001 * 0.9 ** (number - 1)
        history = model.fit(
            tutorial.x_train,
            tutorial.y_train,
            batch_size=_BATCH_SIZE,
            validation_data=(tutorial.x_test, tutorial.y_test),
            validation_batch_size=_BATCH_SIZE,
            verbose=0,
        ).history
        yield history["accuracy"][0], history["val_accuracy"][0]

    return epoch


_BATCH_SIZE = PRESETS["hello-world"].spec.batch_size
_TUTORIAL = "tutorial"
_OURS = {"float32": 0.75, "auto": 0.5}
_FIT_LIMIT = 0.9
_FITS: dict[str, Callable[[Path], Callable[[int], Turns]]] = {
    "as it is": partial(fit, 1, False),
    "100 steps an execution": partial(fit, _STEPS_AT_ONCE, False),
    "100 steps an execution, jit": partial(fit, _STEPS_AT_ONCE, True),
}
_LOOPS: dict[str, Callable[[Path], Callable[[int], Turns]]] = {
    **{precision: partial(ours, precision) for precision in _OURS},
    _TUTORIAL: tutorials,
    **_FITS,
}


def main() -> int:
    """Be one of the loops: do a turn for each line read, and print what it took."""
    from worker.training.runtime import import_tensorflow

    parser = argparse.ArgumentParser(prog="python -m tests.bench.epoch")
    parser.add_argument("loop", choices=_LOOPS)
    parser.add_argument("dataset_dir", type=Path)
    options = parser.parse_args()
    if options.loop in _OURS:
        use_huge_pages()  # as a trainer does
    import_tensorflow()
    epoch: Any = _LOOPS[options.loop](options.dataset_dir)
    turns = (accuracies for number in count(1) for accuracies in epoch(number))
    for _ in sys.stdin:
        began = time.perf_counter()
        accuracies = next(turns)
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "accuracies": accuracies}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Pre-flight: what training a spec takes on this device, found out by a few steps of it.

Tries a small batch, the spec's own and, where there is ample room, a larger one; the smallest
first, and none that is not expected to fit. Each image more takes the same memory more, so two
batches foretell the largest that fits. On a single GPU, where running out of memory does no harm,
that one is tried out too. Every batch trains a fresh model; nothing is kept.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from shared.protocol import Event, Measure, Measured, Measuring, Probe
from shared.spec.architecture import layers
from shared.spec.memory import estimate
from worker.training import data, memory, precision, runtime, sampling
from worker.training.data import Dataset
from worker.training.graph import Totals
from worker.training.learner import Learner
from worker.training.pace import Pace

# How long steps are timed at a batch size, and scoring; and one call of them.
_TIMED_SECONDS = 1.5
_CALL_SECONDS = 0.3
_MOST_BATCH = 65_536
# The small batch is the spec's divided by this, the larger one the spec's times this.
_FACTOR = 4
# The layers alone say too little: a CPU's process grew by up to so many times what they hold.
_MARGIN = 2.0
# A larger batch is tried only if it needs no more than this share of the memory.
_AMPLE = 0.5
# What is too large on a GPU is tried again, so much smaller.
_SMALLER = 0.8
_ROUND_TO = 8
_FLOAT32_BYTES = 4


def measure(assignment: Measure, send: Callable[[Event], None]) -> Measured:
    """Find out what training takes.

    Args:
        assignment: the spec and its data.
        send: where it is told how far this is.

    Raises:
        JobFailure: the data folder is not what it should be, or the spec cannot be trained here.
        InvalidInput: the spec does not fit the data.
    """
    return _Preflight(assignment, data.load(assignment.dataset_dir), send).run()


@dataclass(frozen=True)
class _Trial:
    """What a batch size took; `scoring_seconds` of an epoch, None if it was not scored."""

    probe: Probe
    parameters: int
    prepare_seconds: float
    scoring_seconds: float | None
    memory_bytes: int
    diverged_at: int | None


class _Preflight:
    def __init__(
        self, assignment: Measure, dataset: Dataset, send: Callable[[Event], None]
    ) -> None:
        self._began = time.perf_counter()
        resolved = precision.resolve(assignment.spec.precision)
        self._spec = assignment.spec.model_copy(update={"precision": resolved})
        self._dataset = dataset
        self._send = send
        self._memory = memory.of_device()
        rows, held_out = sampling.split(self._spec, dataset.y_train)
        self._train_images = len(rows)
        on_test = self._spec.evaluate_on == "test"
        self._eval_images = len(dataset.y_test) if on_test else len(held_out)
        self._forecast = _Forecast(self._spec, dataset)

    def run(self) -> Measured:
        own, most = self._spec.batch_size, min(self._train_images, _MOST_BATCH)
        small, larger = max(1, own // _FACTOR), min(own * _FACTOR, most)
        if small < own:
            self._try(small, share=0.0)
        trial = self._try(own, share=0.3, scored=True)
        if trial and larger > own and self._forecast.bytes(larger) < _AMPLE * self._memory.limit:
            self._try(larger, share=0.6)
        return self._report(trial, self._largest(most))

    def _report(self, trial: _Trial | None, largest: int) -> Measured:
        steps = -(-self._train_images // self._spec.batch_size)
        epoch_seconds = None
        if trial is not None and trial.scoring_seconds is not None:
            epoch_seconds = steps * trial.probe.step_seconds + trial.scoring_seconds
        return Measured(
            device=runtime.device(self._spec.resources.gpus),
            precision=self._spec.precision,
            parameters=trial.parameters if trial else None,
            train_images=self._train_images,
            eval_images=self._eval_images,
            steps_per_epoch=steps,
            fits=trial is not None,
            prepare_seconds=trial.prepare_seconds if trial else None,
            step_seconds=trial.probe.step_seconds if trial else None,
            epoch_seconds=epoch_seconds,
            memory_bytes=trial.memory_bytes if trial else None,
            memory_limit_bytes=self._memory.limit,
            largest_batch=largest,
            largest_batch_by="data" if largest == self._train_images else "memory",
            diverged_at=trial.diverged_at if trial else None,
            probes=self._forecast.probes,
        )

    def _try(self, batch_size: int, *, share: float, scored: bool = False) -> _Trial | None:
        """Train a batch size for a moment; return None if it does not fit.

        Args:
            batch_size: images a step.
            share: part of the pre-flight that is done before.
            scored: whether to score too.
        """
        self._send(Measuring(doing=f"Training on batches of {batch_size:,}", share=share))
        if self._forecast.bytes(batch_size) > self._memory.limit:
            return None
        self._memory.reset()
        began = time.perf_counter()
        try:
            trial = self._trial(batch_size, began, scored=scored)
        except tf.errors.ResourceExhaustedError:
            return None
        finally:
            gc.collect()  # models and graphs are full of cycles
        self._forecast.take(trial.probe)
        return trial

    def _trial(self, batch_size: int, began: float, *, scored: bool) -> _Trial:
        learner = Learner(self._spec.model_copy(update={"batch_size": batch_size}), self._dataset)
        plan, steps = learner.plan(1), learner.steps_per_epoch
        diverged: list[int] = []

        def train(start: int, stop: int) -> int:
            done, totals = learner.training.run(plan, Totals(), start=start, stop=stop)
            if not math.isfinite(totals.loss):
                diverged.append(done)
            return done - start

        train(0, 1)
        prepare_seconds = time.perf_counter() - began
        if steps > 1:
            train(1, min(3, steps))  # brings up the graph of more than one step
        step_seconds = _time(lambda count: train(0, count), most=steps)
        probe = Probe(
            batch_size=batch_size,
            step_seconds=step_seconds,
            images_per_second=min(batch_size, self._train_images) / step_seconds,
            memory_bytes=self._memory.peak(),
        )
        return _Trial(
            probe=probe,
            parameters=learner.model.count_params(),
            prepare_seconds=prepare_seconds,
            scoring_seconds=self._score(learner) if scored else None,
            memory_bytes=self._memory.peak(),
            diverged_at=diverged[0] if diverged else None,
        )

    def _score(self, learner: Learner) -> float:
        """Return the seconds that it takes to score an epoch."""
        self._send(Measuring(doing="Scoring", share=0.5))
        evaluation = learner.evaluation

        def score(count: int) -> int:
            evaluation.run(evaluation.nothing(), start=0, stop=count)
            return count

        score(1)
        return evaluation.batches * _time(score, most=evaluation.batches)

    @property
    def _may_run_out(self) -> bool:
        """Whether memory may be tried to its end.

        Among several GPUs, the one that runs out breaks off what the process's others exchange,
        for good.
        """
        return runtime.has_gpu() and self._spec.resources.gpus < 2

    def _largest(self, most: int) -> int:
        """Return the largest batch that fits."""
        tried = max((probe.batch_size for probe in self._forecast.probes), default=0)
        foretold = self._forecast.batch_for(self._memory.limit, most=most)
        if not self._may_run_out:
            return max(tried, foretold)
        while foretold > tried and self._try(foretold, share=0.9) is None:
            foretold = int(foretold * _SMALLER)
        return max(tried, foretold)


class _Forecast:
    """Foretells the memory of a batch from those that were tried: a line through them.

    Args:
        spec, dataset: what would train.

    Attributes:
        probes: what was measured.
    """

    def __init__(self, spec: Any, dataset: Dataset) -> None:
        self.probes: list[Probe] = []
        rows = layers(spec.model, dataset.image_shape, len(dataset.classes))
        self._least = _FLOAT32_BYTES * math.prod(dataset.image_shape)
        self._fixed = 0
        if rows:
            known = estimate(spec, rows)
            self._least = known.activations_bytes // spec.batch_size
            self._fixed = known.total_bytes - known.activations_bytes

    def take(self, probe: Probe) -> None:
        """Learn from a measurement."""
        self.probes = sorted([*self.probes, probe], key=lambda probe: probe.batch_size)

    def bytes(self, batch_size: int) -> float:
        """Return the memory that a batch would take."""
        fixed, each = self._line()
        return fixed + each * batch_size

    def batch_for(self, limit: int, *, most: int) -> int:
        """Return the largest batch that would take no more than `limit` bytes; 0: none does."""
        fixed, each = self._line()
        batch = max(0, int((limit - fixed) / each))
        return most if batch >= most else batch - batch % (_ROUND_TO if batch > _ROUND_TO else 1)

    def _line(self) -> tuple[float, float]:
        """Return the bytes that do not depend on the batch, and those of each image."""
        if not self.probes:
            return self._fixed * _MARGIN, self._least * _MARGIN
        first, last = self.probes[0], self.probes[-1]
        if first is last:
            each = self._least * _MARGIN
        else:
            grown = last.memory_bytes - first.memory_bytes
            each = max(self._least, grown / (last.batch_size - first.batch_size))
        return max(0.0, last.memory_bytes - each * last.batch_size), each


def _time(work: Callable[[int], int], *, most: int) -> float:
    """Return the seconds that a unit of work takes, when several are done in one call.

    Args:
        work: does up to so many units, and returns how many it did.
        most: units that can be asked for at once.
    """
    pace = Pace(_CALL_SECONDS)
    each: list[float] = []
    ends_at = time.perf_counter() + _TIMED_SECONDS
    while not each or time.perf_counter() < ends_at:
        started = time.perf_counter()
        done = work(min(pace.steps, most))
        seconds = time.perf_counter() - started
        each.append(seconds / done)
        pace.record(done, seconds)
    # The first calls are short, and their overhead counts too much.
    return statistics.median(each[len(each) // 2 :])

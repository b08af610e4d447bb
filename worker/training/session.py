"""The outer loop of a job: epochs, progress, checkpoints, stopping, and what comes at the end.

Between two calls of an inner loop the host has control: it reports, looks for `stop`, saves. The
numbers of a job do not depend on when that happens.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from shared.protocol import Epoch, Event, Finished, Progress, Run, Started, Stopped
from shared.spec.architecture import layers
from shared.spec.schedules import learning_rate
from worker.training import artifacts, data, models, precision, remarks, runtime, stopping
from worker.training.checkpoints import Arrays, Position, State, Unusable, Writer, read
from worker.training.failures import diverged
from worker.training.graph import EvaluationLoop, Score, Totals
from worker.training.learner import Learner
from worker.training.pace import Pace

_PROGRESS_SECONDS = 1.0


class StopRequested(Exception):
    """The supervisor wants the job saved and the process gone."""


class Session:
    """One job, from its assignment to its end.

    Args:
        run: the assignment.
        send: where events go.
        stop: set when the job shall save itself and end.

    Raises:
        JobFailure: the data folder is not what it should be.
        InvalidInput: the spec does not fit the data.
    """

    def __init__(self, run: Run, send: Callable[[Event], None], stop: threading.Event) -> None:
        self._run = run
        self._spec = run.spec
        self._send = send
        self._stop = stop
        self._dataset = data.load(run.dataset_dir)
        layers(self._spec.model, self._dataset.image_shape, len(self._dataset.classes))
        self._learner = self._make_learner(precision.resolve(self._spec.precision))
        self._writer = Writer(run.work_dir / "checkpoints", self._spec, self._dataset.version, send)
        self._position = Position()
        self._history: list[Epoch] = []
        self._best: Arrays | None = None
        self._test_score: Score | None = None  # of the present weights
        self._train_pace = Pace(_PROGRESS_SECONDS)
        self._eval_pace = Pace(_PROGRESS_SECONDS)
        self._saved_at = time.monotonic()
        self._saved: Position | None = None

    def run(self) -> bool:
        """Train to the end, or until told to stop.

        Returns:
            Whether it was told to stop before the end.

        Raises:
            JobFailure: the job cannot go on.
        """
        self._start()
        try:
            while (end := self._end()) is None:
                self._train()
                score = self._evaluate()
                self._close_epoch(score)
            self._finish(*end)
        except StopRequested:
            self._save()
            self._writer.wait()
            newest = self._writer.newest
            self._send(Stopped(epoch=newest.epoch, step=newest.step))
            return True
        return False

    def _start(self) -> None:
        rejected: dict[str, str] = {}
        resumed_from = None
        for path in self._run.checkpoints:
            try:
                self._resume(read(path, self._spec, self._dataset.version))
            except Unusable as error:
                rejected[path.name] = str(error)
            else:
                resumed_from = path.name
                self._saved = replace(self._position)
                self._writer.take_over(path, self._saved)
                break
        learner = self._learner
        self._send(
            Started(
                epoch=self._position.epoch,
                step=self._position.step,
                steps_per_epoch=learner.steps_per_epoch,
                train_images=learner.train_images,
                eval_images=learner.evaluation.images,
                parameters=learner.model.count_params(),
                layers=models.summarise(learner.model),
                device=runtime.device(self._spec.resources.gpus),
                precision=self._precision,
                versions=runtime.versions(),
                machine=runtime.machine(xla=learner.training.compiled),
                seed=self._spec.seed,
                dataset_version=self._dataset.version,
                resumed_from=resumed_from,
                rejected_checkpoints=rejected,
            )
        )
        for epoch in self._history:
            self._send(epoch.model_copy(update={"replayed": True}))

    def _make_learner(self, resolved: str) -> Learner:
        self._precision = resolved
        return Learner(self._spec.model_copy(update={"precision": resolved}), self._dataset)

    def _resume(self, state: State) -> None:
        if state.precision != self._precision:  # begun on another kind of device
            self._learner = self._make_learner(state.precision)
        self._learner.restore(state)
        self._position = replace(state.position)
        self._history = state.history
        self._best = state.best

    def _end(self) -> tuple[Literal["epochs_done", "early_stopped"], str] | None:
        """Return why training is over, as `Finished` has it: reason and detail."""
        if len(self._history) >= self._spec.epochs:
            count = self._spec.epochs
            return (
                "epochs_done",
                f"All {count} epochs are done." if count > 1 else "Its one epoch is done.",
            )
        detail = stopping.reason_to_stop(self._spec, self._history) if self._history else None
        return ("early_stopped", detail) if detail else None

    def _train(self) -> None:
        """Do the steps of the epoch that are left."""
        position = self._position
        steps = self._learner.steps_per_epoch
        if position.step == steps:
            return
        plan = self._learner.plan(position.epoch, self._history)
        while position.step < steps:
            self._look_up()
            stop = min(position.step + self._train_pace.steps, steps)
            started = time.perf_counter()
            step, totals = self._learner.training.run(
                plan,
                Totals(position.loss, position.correct, position.images),
                start=position.step,
                stop=stop,
            )
            seconds = time.perf_counter() - started
            if not math.isfinite(totals.loss):
                raise diverged(epoch=position.epoch, step=step, learning_rate=self._rate_of(step))
            images = totals.images - position.images
            self._train_pace.record(step - position.step, seconds)
            position.step, position.train_seconds = step, position.train_seconds + seconds
            position.loss, position.correct, position.images = totals
            self._send(self._progress("train", images / seconds))

    def _evaluate(self) -> Score:
        """Score the epoch."""

        def tell(seconds: float) -> None:
            self._position.eval_seconds += seconds
            self._send(self._progress("evaluate"))

        return self._score(self._learner.evaluation, tell)

    def _score(self, evaluation: EvaluationLoop, tell: Callable[[float], None]) -> Score:
        """Score a set; `tell` is given the seconds that each call of the inner loop took."""
        score = evaluation.nothing()
        batch = 0
        while batch < evaluation.batches:
            self._look_up()
            stop = min(batch + self._eval_pace.steps, evaluation.batches)
            started = time.perf_counter()
            score = evaluation.run(score, start=batch, stop=stop)
            seconds = time.perf_counter() - started
            self._eval_pace.record(stop - batch, seconds)
            batch = stop
            tell(seconds)
        return score

    def _close_epoch(self, score: Score) -> None:
        position, spec = self._position, self._spec
        rate = self._rate_of(position.step)
        if not math.isfinite(score.loss):
            raise diverged(epoch=position.epoch, step=position.step, learning_rate=rate)
        epoch = Epoch(
            epoch=position.epoch,
            train_accuracy=position.correct / position.images,
            train_loss=position.loss / position.images,
            eval_accuracy=score.accuracy,
            eval_loss=score.mean_loss,
            learning_rate=rate,
            seconds=position.train_seconds + position.eval_seconds,
            images_per_second=position.images / position.train_seconds,
        )
        self._history.append(epoch)
        self._position = Position(epoch=epoch.epoch + 1)
        if stopping.keeps_best(spec) and stopping.epoch_to_keep(spec, self._history) == epoch.epoch:
            self._best = self._learner.weights()
        self._test_score = score if spec.evaluate_on == "test" else None
        self._send(epoch)
        self._save()

    def _finish(self, reason: Literal["epochs_done", "early_stopped"], detail: str) -> None:
        """Score the weights that the job ends with, and write the artifacts.

        Whoever stops meanwhile saves nothing: the newest checkpoint holds all epochs.
        """
        self._look_up()
        learner, history = self._learner, self._history
        self._send(self._finish_progress())
        weights_epoch = stopping.epoch_to_keep(self._spec, history)
        if self._best is not None and weights_epoch != history[-1].epoch:
            learner.set_weights(self._best)
            self._test_score = None
        score = self._test_score
        if score is None:
            score = self._score(
                learner.test_evaluation(), lambda _: self._send(self._finish_progress())
            )
        folder = self._run.work_dir / "artifacts"
        folder.mkdir(exist_ok=True)
        publisher = artifacts.Publisher(folder, self._send)
        artifacts.publish_history(publisher, history)
        artifacts.publish_summary(publisher, models.summarise(learner.model))
        artifacts.publish_confusion_matrix(publisher, score.matrix, self._dataset.classes)
        self._look_up()
        artifacts.publish_model(publisher, learner.model, learner.float32_model())
        self._writer.wait()
        remark = remarks.nothing_learned(self._spec, score.matrix, self._dataset.classes)
        self._send(
            Finished(
                reason=reason,
                detail=f"{detail} {remark}" if remark else detail,
                best_epoch=stopping.best_epoch(history),
                weights_epoch=weights_epoch,
                weights_sha256=learner.weights_hash(),
                test_accuracy=score.accuracy,
                test_loss=score.mean_loss,
            )
        )

    def _rate_of(self, step: int) -> float:
        """Return the learning rate of a step of the epoch in progress, counted from 1."""
        return learning_rate(
            self._spec,
            self._position.epoch,
            step=step - 1,
            steps=self._learner.steps_per_epoch,
            history=self._history,
        )

    def _look_up(self) -> None:
        """Between two calls of an inner loop: stop or save, if it is time to."""
        if self._stop.is_set():
            raise StopRequested
        if time.monotonic() - self._saved_at >= self._spec.resources.checkpoint_seconds:
            self._save()

    def _save(self) -> None:
        """Hand the present state to the writer, unless it has it already."""
        self._saved_at = time.monotonic()
        if self._position == self._saved:
            return
        self._saved = replace(self._position)
        self._writer.submit(
            State(
                position=self._saved,
                precision=self._precision,
                history=list(self._history),
                model=self._learner.weights(),
                optimizer=self._learner.optimizer_state(),
                best=self._best,
            )
        )

    def _progress(
        self, phase: Literal["train", "evaluate"], images_per_second: float | None = None
    ) -> Progress:
        position = self._position
        return Progress(
            phase=phase,
            epoch=position.epoch,
            step=position.step,
            steps=self._learner.steps_per_epoch,
            train_accuracy=position.correct / position.images,
            train_loss=position.loss / position.images,
            learning_rate=self._rate_of(position.step),
            images_per_second=images_per_second,
        )

    def _finish_progress(self) -> Progress:
        last, steps = self._history[-1], self._learner.steps_per_epoch
        return Progress(
            phase="finish",
            epoch=last.epoch,
            step=steps,
            steps=steps,
            train_accuracy=last.train_accuracy,
            train_loss=last.train_loss,
            learning_rate=last.learning_rate,
        )

"""The inner loops, as TensorFlow graphs: many steps a call, over images that the call is given.

Owns what one step and one evaluation compute. When to call, and for how many steps, is the outer
loop's to decide: the numbers do not depend on it. As a whole without XLA (`jit_compile=False`), on
every device: on the CPU its code for these steps is slower than oneDNN's, and it compiles for
seconds.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from shared.spec.augmentation import Augmentation
from worker.training.augmentation import augment
from worker.training.backward import arranged
from worker.training.kernels import LargeKernels
from worker.training.normalization import Normalizations
from worker.training.optimizers import Updater
from worker.training.replicas import Replicas, Share
from worker.training.sampling import Rows
from worker.training.source import Order, Source


class Totals(NamedTuple):
    """Running sums over the images seen so far.

    Attributes:
        loss: sum of the cross-entropy, double precision: a float32 sum over 60,000 images would
            lose the fourth digit.
        correct: images whose likeliest class is their label.
        images: images seen.
    """

    loss: float = 0.0
    correct: int = 0
    images: int = 0


class Score(NamedTuple):
    """How a model does on the images scored so far.

    Attributes:
        loss: sum of the cross-entropy, double precision.
        matrix: confusion matrix int64 [classes, classes]; row: label, column: prediction.
    """

    loss: float
    matrix: npt.NDArray[np.int64]

    @property
    def mean_loss(self) -> float:
        """Cross-entropy an image."""
        return self.loss / int(self.matrix.sum())

    @property
    def accuracy(self) -> float:
        """Share of the images whose likeliest class is their label."""
        return float(self.matrix.trace() / self.matrix.sum())


class Plan(NamedTuple):
    """What an epoch of training does.

    Attributes:
        epoch: counted from 1.
        order: the images in training order.
        rates: learning rate of each step, float32 [steps], on the device.
    """

    epoch: int
    order: Order
    rates: Any


# A round of two steps lets the second step's first layers overlap with the last updates of the
# first step, which have the cores to themselves otherwise. It doubles the graph: a deep model,
# whose steps are long anyway, would take a minute to begin.
_STEPS_AT_ONCE = 2
_DEEP_LAYERS = 32

# Signatures of the graphs: with them, a graph is traced once whatever it is called with.
_LABELS = tf.TensorSpec([None], tf.int32)
_ROWS = tf.TensorSpec([None], tf.int32)
_RATES = tf.TensorSpec([None], tf.float32)
_COUNT = tf.TensorSpec([], tf.int32)
_LOSS = tf.TensorSpec([], tf.float64)
_TOTALS = (
    _LOSS,
    tf.TensorSpec([], tf.int64),
    tf.TensorSpec([], tf.int64),
)


class TrainingLoop:
    """Steps of gradient descent over batches of a given order of rows.

    Args:
        model: ends in a dense softmax layer; see `worker.training.models`.
        kernels: the model's large kernels, if they are to be treated apart.
        normalizations: the model's batch normalisations, if they are to be treated apart.
        updater: changes the model's other weights.
        replicas: the devices that have model and updater.
        batch_size: images a step; an epoch's last step takes what is left.
        augmentation: what happens to the images.
        seed: the job's seed.

    Attributes:
        compiled: whether XLA compiles part of the step.
    """

    def __init__(
        self,
        model: Any,
        kernels: LargeKernels,
        normalizations: Normalizations,
        updater: Updater,
        replicas: Replicas,
        *,
        batch_size: int,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self._model = model
        self._logits = Logits(model)
        self._kernels = kernels
        self.compiled = kernels.compiled
        self._normalizations = normalizations
        self._updater = updater
        self._replicas = replicas
        self._images = _images_of(model)
        self._batch_size = batch_size
        self._augmentation = augmentation
        self._seed = seed
        self._steps_at_once = 1 if len(model.layers) > _DEEP_LAYERS else _STEPS_AT_ONCE
        self._graphs = {steps: self._graph(steps) for steps in {self._steps_at_once, 1}}

    def run(self, plan: Plan, totals: Totals, *, start: int, stop: int) -> tuple[int, Totals]:
        """Train on the batches `start` to `stop` - 1 of an epoch.

        Args:
            plan: the epoch's.
            totals: sums over the epoch's batches before `start`.
            start, stop: steps of the epoch.

        Returns:
            Steps of the epoch done, and the sums over them. Fewer steps than asked for: the
            last one's loss was not finite.
        """
        while start < stop and math.isfinite(totals.loss):
            part = plan.order.part(start)
            end = min(stop, part.stop)
            odd = (end - start) % self._steps_at_once
            steps, until = (1, end) if end - start == odd else (self._steps_at_once, end - odd)
            done, loss, correct, images = self._graphs[steps](
                part.images,
                part.labels,
                part.rows,
                part.start,
                plan.rates,
                plan.epoch,
                start,
                until,
                *totals,
            )
            start, totals = int(done), Totals(float(loss), int(correct), int(images))
        return start, totals

    def _graph(self, steps_at_once: int) -> Any:
        """Return the function that trains in rounds of `steps_at_once` steps."""

        def train(
            images: Any,
            labels: Any,
            rows: Any,
            part_start: Any,
            rates: Any,
            epoch: Any,
            start: Any,
            stop: Any,
            *totals: Any,
        ) -> Any:
            def goes_on(step: Any, loss: Any, *_: Any) -> Any:
                return (step < stop) & tf.math.is_finite(loss)

            def body(step: Any, *state: Any) -> Any:
                totals, held = state[: len(_TOTALS)], state[len(_TOTALS) :]
                first_step = step
                for number in range(steps_at_once):
                    # Only steps before which all was well count: the last is the one that broke.
                    step += tf.cast(tf.math.is_finite(totals[0]), tf.int32)
                    here = first_step + number
                    first = (here - part_start) * self._batch_size
                    batch = _batch(images, labels, rows[first : first + self._batch_size])
                    augmented = augment(
                        self._augmentation, batch[0], seed=self._seed, epoch=epoch, step=here
                    )
                    sums, held = self._step(augmented, batch[1], rates[here], held)
                    totals = _add(totals, sums)
                return step, *totals, *held

            begun = (start, *totals, *self._kernels.taken())
            step, *state = tf.while_loop(goes_on, body, begun, parallel_iterations=1)
            self._kernels.put_back(state[len(_TOTALS) :])
            return step, *state[: len(_TOTALS)]

        return tf.function(
            train,
            input_signature=[
                *(self._images, _LABELS, _ROWS, _COUNT),
                *(_RATES, _COUNT, _COUNT, _COUNT),
                *_TOTALS,
            ],
            autograph=False,
            jit_compile=False,
        )

    def _step(self, images: Any, labels: Any, learning_rate: Any, held: Any) -> Any:
        """Change the weights; return the batch's totals, and what is held of the large kernels."""

        def work(share: Share) -> Any:
            nonlocal held
            # In this order: whatever the replicas exchange belongs into no arrangement.
            with (
                self._replicas.forward(self._model),
                arranged(),
                self._normalizations.fused(),
                self._kernels.standing_in(held) as uses,
            ):
                logits = self._logits(share.images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(share.labels, logits)
            others = self._kernels.others
            gradients = tf.gradients(
                self._updater.scale(share.mean(losses)), [*others, *uses.products, *uses.inputs]
            )
            own, of_uses = gradients[: len(others)], gradients[len(others) :]
            self._updater.apply(self._replicas.add_up(own), learning_rate)
            held = self._kernels.changed(held, uses, of_uses, learning_rate)
            hits = tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), share.labels)
            return share.sum(losses), share.count(hits), share.size()

        return self._replicas.run(work, images, labels), held


class Scorer:
    """The graph that scores a model on images, traced once, whatever set they are of.

    Args:
        model, normalizations, replicas: as for `TrainingLoop`.
        classes: number of classes.
        batch_size: images a batch.
    """

    def __init__(
        self,
        model: Any,
        normalizations: Normalizations,
        replicas: Replicas,
        *,
        classes: int,
        batch_size: int,
    ) -> None:
        self._logits = Logits(model)
        self._normalizations = normalizations
        self._replicas = replicas
        self.classes = classes
        self.batch_size = batch_size
        self.run = tf.function(
            self._trace_score,
            input_signature=[
                *(_images_of(model), _LABELS, _ROWS, _COUNT),
                *(_COUNT, _COUNT, _LOSS, tf.TensorSpec([classes, classes], tf.int64)),
            ],
            autograph=False,
            jit_compile=False,
        )

    def _trace_score(
        self,
        images: Any,
        labels: Any,
        rows: Any,
        part_start: Any,
        start: Any,
        stop: Any,
        loss: Any,
        matrix: Any,
    ) -> Any:
        def goes_on(batch: Any, *_: Any) -> Any:
            return batch < stop

        def body(batch: Any, *score: Any) -> Any:
            first = (batch - part_start) * self.batch_size
            chosen = _batch(images, labels, rows[first : first + self.batch_size])
            return batch + 1, *_add(score, self._replicas.run(self._score_share, *chosen))

        return tf.while_loop(goes_on, body, (start, loss, matrix), parallel_iterations=1)[1:]

    def _score_share(self, share: Share) -> Any:
        with self._normalizations.fused():
            logits = self._logits(share.images, training=False)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(share.labels, logits)
        predictions = tf.argmax(logits, axis=-1, output_type=tf.int32)
        counts = tf.math.confusion_matrix(
            share.labels, predictions, self.classes, weights=share.weights, dtype=tf.int64
        )
        return share.sum(losses), counts


class EvaluationLoop:
    """Scores a model on some rows of an image set, in large batches.

    Args:
        scorer: what scores a batch.
        source: the images.
        rows: the rows to score.

    Attributes:
        images: images to score.
        batches: batches they make, a smaller last one included.
    """

    def __init__(self, scorer: Scorer, source: Source, rows: Rows) -> None:
        self._scorer = scorer
        self._order = source.order(rows, scorer.batch_size)
        self.images = len(rows)
        self.batches = -(-len(rows) // scorer.batch_size)

    def nothing(self) -> Score:
        """Return the score of no image."""
        classes = self._scorer.classes
        return Score(0.0, np.zeros((classes, classes), np.int64))

    def run(self, score: Score, *, start: int, stop: int) -> Score:
        """Score the batches `start` to `stop` - 1; return `score` with them added."""
        while start < stop:
            part = self._order.part(start)
            end = min(stop, part.stop)
            loss, matrix = self._scorer.run(
                part.images, part.labels, part.rows, part.start, start, end, *score
            )
            start, score = end, Score(float(loss), matrix.numpy())
        return score


class Logits:
    """A model without its last softmax: cross-entropy is exact on logits, not on probabilities.

    Args:
        model: ends in a dense softmax layer.
    """

    def __init__(self, model: Any) -> None:
        self._head = model.layers[-1]
        self._body = keras.Model(model.input, self._head.input)

    def __call__(self, images: Any, *, training: bool) -> Any:
        """Return logits float32 [n, classes] of images [n, H, W, C], 0 to 255, of any type."""
        pixels = tf.cast(images, tf.float32)
        features = tf.cast(self._body(pixels, training=training), tf.float32)
        return tf.matmul(features, self._head.kernel.value) + self._head.bias.value


def _images_of(model: Any) -> Any:
    """Return the signature of the images that a model takes, as they are stored."""
    return tf.TensorSpec([None, *model.input_shape[1:]], tf.uint8)


def _batch(images: Any, labels: Any, rows: Any) -> tuple[Any, Any]:
    """Return images uint8 [n, H, W, C] and labels int32 [n] of some rows."""
    return tf.gather(images, rows), tf.gather(labels, rows)


def _add(sums: Any, more: Any) -> Any:
    return tuple(old + new for old, new in zip(sums, more, strict=True))

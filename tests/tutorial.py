"""The tutorial's own loop: plain Keras and `tf.data`, independent of our trainer.

    python -m tests.tutorial --epochs 5 [--as-trainer]

prints one JSON object an epoch. What the tutorial says: MNIST, pixels as they are (0 to 255),
Conv2D(28, 3x3, relu), Flatten, Dense(128, relu), Dense(10, softmax), cross-entropy, plain SGD at
0.001 x 0.9^epoch with epochs from 0, batches of 100, shuffled, the test set scored every epoch.

On raw pixels chance decides much of the first epoch: over five orders of the images, the same
initial weights ended it with 87.6 to 89.2 % training accuracy. So with `--as-trainer` the loop
starts from the weights and takes the images in the order that the trainer would, for a
comparison of the computation alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.datasets.bundled import BUNDLED
from shared.spec.presets import PRESETS

BATCH_SIZE = 100


@dataclass(frozen=True)
class EpochScore:
    """What the tutorial prints of an epoch; `epoch` counts from 1, accuracies are 0 to 1."""

    epoch: int
    train_accuracy: float
    train_loss: float
    test_accuracy: float
    test_loss: float
    learning_rate: float


class Tutorial:
    """The tutorial's model, data and two loops.

    Args:
        seed: decides initial weights and order.
        as_trainer: start from the trainer's weights, and use its order of images.
    """

    def __init__(self, *, seed: int = 0, as_trainer: bool = False) -> None:
        import keras
        import tensorflow as tf

        mnist = BUNDLED["mnist"]
        self.x_train = mnist.read("x_train").astype(np.float32)
        self.y_train = mnist.read("y_train")
        self.x_test = mnist.read("x_test").astype(np.float32)
        self.y_test = mnist.read("y_test")
        keras.utils.set_random_seed(seed)
        self.model = build_model()
        self._as_trainer = as_trainer
        if as_trainer:
            self.model.set_weights(_trainers_weights())
        self._optimizer = keras.optimizers.SGD(0.001)
        self._loss = keras.losses.SparseCategoricalCrossentropy()
        self._mean_loss = keras.metrics.Mean()
        self._accuracy = keras.metrics.SparseCategoricalAccuracy()
        train_set = tf.data.Dataset.from_tensor_slices((self.x_train, self.y_train))
        test_set = tf.data.Dataset.from_tensor_slices((self.x_test, self.y_test))
        self._train_set = train_set.shuffle(len(self.y_train)).batch(BATCH_SIZE)
        self._test_set = test_set.batch(BATCH_SIZE)
        self._train_step = tf.function(self._train_batch)
        self._test_step = tf.function(self._test_batch)

    def epoch(self, epoch: int) -> EpochScore:
        """Train and test one epoch, counted from 1."""
        for _ in self.train(epoch):
            pass
        return self.score(epoch)

    def train(self, epoch: int) -> Iterator[None]:
        """Train an epoch, one batch each time that the next one is asked for."""
        self._optimizer.learning_rate = _learning_rate(epoch)
        for images, labels in self._ordered(epoch) if self._as_trainer else self._train_set:
            self._train_step(images, labels)
            yield

    def score(self, epoch: int) -> EpochScore:
        """Test the epoch that was trained."""
        train_loss, train_accuracy = self._take_metrics()
        for images, labels in self._test_set:
            self._test_step(images, labels)
        test_loss, test_accuracy = self._take_metrics()
        return EpochScore(
            epoch, train_accuracy, train_loss, test_accuracy, test_loss, _learning_rate(epoch)
        )

    def _train_batch(self, images: Any, labels: Any) -> None:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            predictions = self.model(images, training=True)
            loss = self._loss(labels, predictions)
        weights = self.model.trainable_variables
        self._optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        self._mean_loss(loss)
        self._accuracy(labels, predictions)

    def _test_batch(self, images: Any, labels: Any) -> None:
        predictions = self.model(images, training=False)
        self._mean_loss(self._loss(labels, predictions))
        self._accuracy(labels, predictions)

    def _take_metrics(self) -> tuple[float, float]:
        values = float(self._mean_loss.result()), float(self._accuracy.result())
        self._mean_loss.reset_state()
        self._accuracy.reset_state()
        return values

    def _ordered(self, epoch: int) -> Any:
        import tensorflow as tf

        rows = _trainers_order(len(self.y_train), epoch)
        ordered = tf.data.Dataset.from_tensor_slices((self.x_train[rows], self.y_train[rows]))
        return ordered.batch(BATCH_SIZE)


def build_model() -> Any:
    """Build the tutorial's network."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(28, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def _learning_rate(epoch: int) -> float:
    return 0.001 * 0.9 ** (epoch - 1)


def _trainers_weights() -> list[npt.NDArray[np.float32]]:
    from worker.training import models

    weights = models.build(PRESETS["hello-world"].spec, (28, 28, 1), 10).get_weights()
    return [np.asarray(weight) for weight in weights]


def _trainers_order(images: int, epoch: int) -> npt.NDArray[np.int32]:
    from worker.training import sampling

    seed = PRESETS["hello-world"].spec.seed
    return sampling.shuffled(np.arange(images, dtype=np.int32), seed=seed, epoch=epoch)


def main() -> int:
    """Run the tutorial; print an epoch a line."""
    parser = argparse.ArgumentParser(prog="python -m tests.tutorial", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--as-trainer", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    tutorial = Tutorial(seed=options.seed, as_trainer=options.as_trainer)
    for epoch in range(1, options.epochs + 1):
        print(json.dumps(asdict(tutorial.epoch(epoch))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

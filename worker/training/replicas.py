"""The devices that train one model together, each with a copy of it and a share of every batch.

Owns how a batch is divided, and what the replicas tell each other. After a step all copies are
equal, so any one of them is the model, for checkpoints as for the export.

One device is a case of its own, not a group of one: its graph has no operation more.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import tensorflow as tf


class Share(NamedTuple):
    """What one replica gets of a batch.

    Attributes:
        images: uint8 or float32 [n, H, W, C], 0 to 255.
        labels: int32 [n].
        weights: float32 [n], 0 for a row that only fills up; None: every row counts.
        batch_size: images of the whole batch, an int32 scalar; None: the share is all of it.
    """

    images: Any
    labels: Any
    weights: Any = None
    batch_size: Any = None

    def mean(self, losses: Any) -> Any:
        """Return this share's part of the batch's mean, float32, from losses float32 [n]."""
        if self.weights is None:
            return tf.reduce_mean(losses)
        return tf.reduce_sum(losses * self.weights) / tf.cast(self.batch_size, tf.float32)

    def sum(self, losses: Any) -> Any:
        """Return the sum of losses float32 [n] in double precision."""
        counting = losses if self.weights is None else losses * self.weights
        return tf.reduce_sum(tf.cast(counting, tf.float64))

    def count(self, hits: Any) -> Any:
        """Return how many of hits, bool [n], are true, as int64."""
        counting = hits if self.weights is None else hits & (self.weights > 0)
        return tf.math.count_nonzero(counting)

    def size(self) -> Any:
        """Return how many images there are, as int64."""
        if self.weights is None:
            return tf.size(self.labels, out_type=tf.int64)
        return tf.math.count_nonzero(self.weights)


class Replicas(ABC):
    """The devices of a job."""

    @abstractmethod
    def scope(self) -> AbstractContextManager[Any]:
        """Create the variables inside on every device."""

    @abstractmethod
    def run(self, work: Callable[[Share], Any], images: Any, labels: Any) -> Any:
        """Divide a batch, let every replica work on its share, and add up what they return.

        Args:
            work: returns a tuple of tensors, to be summed one by one. It is called in each
                replica; variables are the replica's own copies there.
            images: uint8 or float32 [n, H, W, C], 0 to 255.
            labels: int32 [n].
        """

    @abstractmethod
    def add_up(self, gradients: Sequence[Any]) -> Sequence[Any]:
        """Return the sums of the replicas' gradients; inside `run` only."""

    @abstractmethod
    def forward(self, model: Any) -> AbstractContextManager[None]:
        """Make a training forward pass inside the block one of many; inside `run` only.

        Args:
            model: a Keras model that was built in `scope`.
        """


class Single(Replicas):
    """The default device, alone."""

    def scope(self) -> AbstractContextManager[Any]:
        """Do nothing."""
        return nullcontext()

    def run(self, work: Callable[[Share], Any], images: Any, labels: Any) -> Any:
        """Work on the whole batch."""
        return work(Share(images, labels))

    def add_up(self, gradients: Sequence[Any]) -> Sequence[Any]:
        """Return the gradients as they are."""
        return gradients

    def forward(self, model: Any) -> AbstractContextManager[None]:
        """Do nothing."""
        return nullcontext()


class Mirrored(Replicas):
    """Several devices of this machine, by `tf.distribute.MirroredStrategy`.

    Args:
        devices: their names, such as `GPU:0`; the batches are gathered on the first.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        self._strategy = _strategy(tuple(devices))
        self._source = devices[0]
        self._count = len(devices)

    def scope(self) -> AbstractContextManager[Any]:
        """Create the variables inside on every device."""
        scope: AbstractContextManager[Any] = self._strategy.scope()
        return scope

    def run(self, work: Callable[[Share], Any], images: Any, labels: Any) -> Any:
        """Let every replica work on its share."""
        parts = self._strategy.run(lambda: work(self._share(images, labels)))
        with tf.device(self._source):
            return tuple(tf.add_n(self._strategy.experimental_local_results(p)) for p in parts)

    def add_up(self, gradients: Sequence[Any]) -> Sequence[Any]:
        """Return the sums over the replicas, the same in each."""
        return self._reduce(tf.distribute.ReduceOp.SUM, gradients)

    @contextmanager
    def forward(self, model: Any) -> Iterator[None]:
        """Draw other random numbers in each replica, and average what the pass changes.

        Without the first, dropout would leave out the same units of the first image of every
        share. The second concerns the moving statistics of batch normalisation. Their changes are
        averaged rather than the values: a third of three times a value may be another one, and
        what a pass leaves alone shall not drift.
        """
        seeds, statistics = _seeds(model), _statistics(model)
        shift = tf.constant([_SEEDS_APART, 0], tf.int64) * tf.cast(_replica(), tf.int64)
        for seed in seeds:
            seed.assign(seed.read_value() + shift)
        before = [statistic.read_value() for statistic in statistics]
        yield
        for seed in seeds:
            seed.assign(seed.read_value() - shift)
        if not statistics:
            return
        changes = self._reduce(
            tf.distribute.ReduceOp.MEAN,
            [after.read_value() - old for after, old in zip(statistics, before, strict=True)],
        )
        for statistic, old, change in zip(statistics, before, changes, strict=True):
            statistic.assign(old + change)

    def _share(self, images: Any, labels: Any) -> Share:
        """Return this replica's share of a batch: as many rows as each other replica's.

        The last row is repeated where there are too few, so that no share is empty.
        """
        with tf.device(self._source):  # so that the share moves, not the batch
            batch_size = tf.size(labels)
            rows = -(-batch_size // self._count)
            first = rows * _replica()
            wanted = tf.range(first, first + rows)
            there = tf.minimum(wanted, batch_size - 1)
            return Share(
                tf.gather(images, there),
                tf.gather(labels, there),
                tf.cast(wanted < batch_size, tf.float32),
                batch_size,
            )

    def _reduce(self, how: Any, values: Sequence[Any]) -> Sequence[Any]:
        reduced: Sequence[Any] = tf.distribute.get_replica_context().all_reduce(how, list(values))
        return reduced


def replicas(devices: Sequence[str]) -> Replicas:
    """Return the replicas on some devices.

    Args:
        devices: their names, such as `GPU:0`; a single one must be TensorFlow's default.
    """
    return Mirrored(devices) if len(devices) > 1 else Single()


@functools.cache
def _strategy(devices: tuple[str, ...]) -> Any:
    """Return the one strategy on some devices.

    Two of them number their exchanges alike, and TensorFlow, which knows an exchange by devices
    and number, takes the second model's for the first one's. For the same reason, a process must
    not train on other devices later.
    """
    return tf.distribute.MirroredStrategy(list(devices))


# A seed generator's state is (seed, draws so far); seeds of a model's layers lie below this.
_SEEDS_APART = 1 << 32


def _replica() -> Any:
    """Return the number of the replica that runs, from 0, as an int32 scalar."""
    return tf.convert_to_tensor(tf.distribute.get_replica_context().replica_id_in_sync_group)


def _seeds(model: Any) -> list[Any]:
    """Return the states of the model's seed generators."""
    weights = {id(weight) for weight in model.weights}
    return [variable.value for variable in model.variables if id(variable) not in weights]


def _statistics(model: Any) -> list[Any]:
    """Return what a training pass may change beside the seeds."""
    weights = (weight.value for weight in model.non_trainable_weights)
    return [weight for weight in weights if weight.dtype.is_floating]

"""Where the loops get their images: all on the device, or read part by part.

Both give the same images in the same order, so the numbers of a job do not depend on which it is.
A data set that fits lies on the device as uint8, a quarter of what float32 would take, and a batch
is a gather by index. A larger one stays in its files, mapped; `tf.data` reads ahead while the
device computes, one part of many steps after the other.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from worker.machine_memory import free_bytes
from worker.training.data import Images, Labels
from worker.training.runtime import has_gpu
from worker.training.sampling import Rows

# What a part read from files holds: large enough that its overhead is nothing, small enough that
# three of them (one in use, two ahead) are no burden.
PART_BYTES = 32 << 20
_PARTS_AHEAD = 2
_READERS = 2

# A data set that takes more of the memory that is free, or of a GPU, is read part by part.
_SHARE_OF_FREE_MEMORY = 0.5
_ON_A_GPU_BYTES = 4 << 30


class Part(NamedTuple):
    """Images for some steps in a row.

    Attributes:
        images: uint8 [M, H, W, C], 0 to 255.
        labels: int32 [M].
        rows: where in them the images of those steps are, in order, int32.
        start, stop: the steps: from `start` to `stop` - 1.
    """

    images: Any
    labels: Any
    rows: Any
    start: int
    stop: int


class Order(Protocol):
    """The images of an epoch or of an evaluation, in their order, divided into batches."""

    def part(self, step: int) -> Part:
        """Return a part that holds the images of a step."""


class Source(Protocol):
    """A set of images and labels."""

    def order(self, rows: Rows, batch_size: int) -> Order:
        """Return some rows in their order, in batches; the last one takes what is left."""


class OnDevice:
    """Images and labels that lie on the device.

    Args:
        images: uint8 [N, H, W, C].
        labels: int64 [N].
    """

    def __init__(self, images: Images, labels: Labels) -> None:
        self.images = tf.constant(images)
        self.labels = tf.constant(labels.astype(np.int32))

    def order(self, rows: Rows, batch_size: int) -> Order:
        """Put the order on the device too."""
        return _Whole(
            Part(self.images, self.labels, tf.constant(rows), 0, _steps(rows, batch_size))
        )


class _Whole:
    def __init__(self, part: Part) -> None:
        self._part = part

    def part(self, step: int) -> Part:
        return self._part


class InFiles:
    """Images and labels that stay in their files.

    Args:
        images: uint8 [N, H, W, C], mapped.
        labels: int64 [N], mapped.
        part_bytes: bytes of images that are read at once.
    """

    def __init__(self, images: Images, labels: Labels, part_bytes: int = PART_BYTES) -> None:
        self._images = images
        self._labels = labels
        self._part_bytes = part_bytes

    def order(self, rows: Rows, batch_size: int) -> Order:
        """Read nothing yet."""
        batch_bytes = batch_size * int(np.prod(self._images.shape[1:]))
        return _Parts(
            self._images,
            self._labels,
            rows,
            batch_size,
            steps_a_part=max(1, self._part_bytes // batch_bytes),
        )


class _Parts:
    """Parts that are read ahead, from whatever step is asked for first."""

    def __init__(
        self, images: Images, labels: Labels, rows: Rows, batch_size: int, *, steps_a_part: int
    ) -> None:
        self._images = images
        self._labels = labels
        self._rows = rows
        self._batch_size = batch_size
        self._steps = _steps(rows, batch_size)
        self._steps_a_part = steps_a_part
        self._ahead: Any = iter(())
        self._part: Part | None = None

    def part(self, step: int) -> Part:
        part = self._part
        if part is not None and part.start <= step < part.stop:
            return part
        if part is None or step != part.stop:
            self._ahead = iter(self._read_from(step))
        images, labels = next(self._ahead)
        stop = min(step + self._steps_a_part, self._steps)
        self._part = Part(images, labels, tf.range(tf.size(labels)), step, stop)
        return self._part

    def _read_from(self, step: int) -> Any:
        shape = self._images.shape[1:]

        def read(first: Any) -> Any:
            images, labels = tf.numpy_function(self._read, [first], [tf.uint8, tf.int32])
            return tf.ensure_shape(images, [None, *shape]), tf.ensure_shape(labels, [None])

        firsts = tf.data.Dataset.range(step, self._steps, self._steps_a_part)
        return firsts.map(read, num_parallel_calls=_READERS, deterministic=True).prefetch(
            _PARTS_AHEAD
        )

    def _read(self, first: int) -> tuple[Images, npt.NDArray[np.int32]]:
        start, count = first * self._batch_size, self._steps_a_part * self._batch_size
        rows = self._rows[start : start + count]
        return self._images[rows], self._labels[rows].astype(np.int32)


def open_source(images: Images, labels: Labels, *, room: int) -> Source:
    """Put a set of images on the device if there is room for it.

    Args:
        images: uint8 [N, H, W, C], mapped.
        labels: int64 [N], mapped.
        room: bytes that it may take.
    """
    return (OnDevice if images.nbytes <= room else InFiles)(images, labels)


def room_for_data() -> int:
    """Return how many bytes a data set may take on the device that trains."""
    if has_gpu():
        return _ON_A_GPU_BYTES
    return int(free_bytes() * _SHARE_OF_FREE_MEMORY)


def _steps(rows: Rows, batch_size: int) -> int:
    return -(-len(rows) // batch_size)

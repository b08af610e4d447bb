"""Which images are trained on, and in which order: pure functions of the seed.

Randomness is the raw output of NumPy's Philox counter generator, which NumPy keeps the same
between its versions (its `permutation` it does not), so that a job resumed elsewhere goes on in
the same order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shared.spec.job import JobSpec
from shared.spec.splits import split_sizes
from worker.training.data import Labels

Rows = npt.NDArray[np.int32]

# Streams of the generator: an epoch's order has the epoch's number, these lie beyond any epoch.
_HOLD_OUT_STREAM = 1 << 32
_FRACTION_STREAM = _HOLD_OUT_STREAM + 1


def shuffled(rows: Rows, *, seed: int, epoch: int) -> Rows:
    """Return `rows` in the order of an epoch; every order is equally likely."""
    return rows[np.argsort(_random_keys(len(rows), seed, epoch), kind="stable")]


def split(spec: JobSpec, labels: Labels) -> tuple[Rows, Rows]:
    """Choose the rows to train on and those to hold back for validation.

    The hold-out comes first: jobs that differ in `train_fraction` only are scored on the same.

    Args:
        spec: the job's spec.
        labels: of the whole training set, int64 [N].

    Returns:
        Rows of the training set, each ascending; the second is empty when evaluating on test.
    """
    sizes = split_sizes(spec, len(labels))
    rows = np.arange(len(labels), dtype=np.int32)
    held_out, rest = draw_balanced(
        rows, labels, sizes.validation, seed=spec.seed, stream=_HOLD_OUT_STREAM
    )
    train, _ = draw_balanced(rest, labels, sizes.train, seed=spec.seed, stream=_FRACTION_STREAM)
    return train, held_out


def draw_balanced(
    rows: Rows, labels: Labels, count: int, *, seed: int, stream: int
) -> tuple[Rows, Rows]:
    """Draw rows at random, each class in its share.

    Args:
        rows: the rows to draw from.
        labels: label of every row of the data set, int64 [N].
        count: rows to draw.
        seed: the job's seed.
        stream: which of the seed's draws this is.

    Returns:
        The drawn rows and the others, each in ascending order.
    """
    if count == len(rows):
        return rows, rows[:0]
    classes = labels[rows]
    by_class = np.lexsort((_random_keys(len(rows), seed, stream), classes))
    sizes = np.bincount(classes)
    starts = np.cumsum(sizes) - sizes
    drawn = np.zeros(len(rows), dtype=bool)
    for start, quota in zip(starts, _quotas(sizes, count), strict=True):
        drawn[by_class[start : start + quota]] = True
    return rows[drawn], rows[~drawn]


def _quotas(sizes: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Share `count` out in proportion to `sizes`; rounding favours the largest rests."""
    quotas, rests = np.divmod(count * sizes, sizes.sum())
    largest = np.argsort(-rests, kind="stable")[: count - quotas.sum()]
    quotas[largest] += 1
    return np.asarray(quotas, dtype=np.int64)


def _random_keys(count: int, seed: int, stream: int) -> npt.NDArray[np.uint64]:
    generator = np.random.Philox(key=np.array([seed, stream], dtype=np.uint64))
    return np.asarray(generator.random_raw(count), dtype=np.uint64)

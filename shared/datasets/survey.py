"""Looks at a version: classes, pixels, empty images, images that occur twice.

Reads every image once, a stretch at a time, so that a million rows need no more memory than a
thousand; what it keeps for each image are 16 bytes of hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.datasets.derived import in_parts
from shared.datasets.report import (
    Balance,
    ClassCount,
    Finding,
    Part,
    PartFacts,
    Repeats,
    Report,
    Twins,
)

_BINS = 32
_HASH_BYTES = 16
# An image whose channels all deviate by less than this many of 255 levels shows nothing.
_EMPTY_DEVIATION = 4.0
_EXAMPLES = 24
_BALANCED_RATIO = 1.5
_UNEVEN_RATIO = 3.0
_FEW_IMAGES = 20
_SMALL_TEST = 500
# Shares of a class in training and test that differ by more than this in sum are worth a word.
_DRIFT = 0.1

_Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Scan:
    """What one pass over a part collects."""

    facts: PartFacts
    hashes: npt.NDArray[Any]  # uint64 [N, 2]


def survey(
    arrays: Mapping[str, npt.NDArray[Any]],
    classes: Sequence[str],
    progress: Callable[[float], None] = lambda _: None,
) -> Report:
    """Survey a version.

    Args:
        arrays: `x_train`, `y_train`, `x_test`, `y_test` as in `shared.datasets.layout`.
        classes: class names, by label.
        progress: told the share that is done, 0 to 1.
    """
    total = len(arrays["x_train"]) + len(arrays["x_test"])
    train = _scan(arrays["x_train"], lambda done: progress(done / total))
    before = len(arrays["x_train"])
    test = _scan(arrays["x_test"], lambda done: progress((before + done) / total))
    counts = {part: _counts(arrays[f"y_{part}"], len(classes)) for part in ("train", "test")}
    balance = _balance(counts["train"], counts["test"], classes)
    repeats = _repeats(train.hashes, test.hashes, arrays["y_train"], arrays["y_test"])
    rows = [
        ClassCount(name=name, train=int(own), test=int(other))
        for name, own, other in zip(classes, counts["train"], counts["test"], strict=True)
    ]
    findings = list(_findings(rows, train.facts, test.facts, repeats, balance))
    order = ("warning", "note", "ok")
    findings.sort(key=lambda finding: order.index(finding.level))
    return Report(
        classes=rows,
        train=train.facts,
        test=test.facts,
        repeats=repeats,
        balance=balance,
        findings=findings,
    )


def _counts(labels: _Labels, classes: int) -> npt.NDArray[np.int64]:
    return np.bincount(labels, minlength=classes)


def _scan(images: npt.NDArray[np.uint8], progress: Callable[[int], None]) -> _Scan:
    levels = np.zeros(256, dtype=np.int64)
    hashes = np.empty((len(images), _HASH_BYTES), dtype=np.uint8)
    empty: list[npt.NDArray[np.int64]] = []
    for start, part in in_parts(images):
        flat = np.ascontiguousarray(part.reshape(len(part), -1))
        levels += np.bincount(flat.reshape(-1), minlength=256)
        empty.append(start + np.flatnonzero(_deviation(part) < _EMPTY_DEVIATION))
        for index, row in enumerate(flat):
            digest = hashlib.blake2b(row.data, digest_size=_HASH_BYTES).digest()
            hashes[start + index] = np.frombuffer(digest, dtype=np.uint8)
        progress(start + len(part))
    rows = np.concatenate(empty)
    present = np.flatnonzero(levels)
    mean, deviation = _moments(levels)
    facts = PartFacts(
        images=len(images),
        mean=round(mean, 3),
        deviation=round(deviation, 3),
        darkest=int(present[0]),
        brightest=int(present[-1]),
        zero_share=round(float(levels[0] / levels.sum()), 6),
        histogram=levels.reshape(_BINS, -1).sum(axis=1).tolist(),
        near_empty=len(rows),
        near_empty_rows=rows[:_EXAMPLES].tolist(),
    )
    return _Scan(facts, hashes.view(np.uint64))


def _deviation(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return the standard deviation of each image's pixels, of the channel where it is largest."""
    largest = np.zeros(len(images))
    for channel in range(images.shape[-1]):
        values = images[..., channel].reshape(len(images), -1).astype(np.float32)
        mean = values.mean(axis=1, dtype=np.float64)
        squares = np.einsum("np,np->n", values, values, dtype=np.float64) / values.shape[1]
        largest = np.maximum(largest, squares - mean**2)
    return np.sqrt(largest)


def _moments(levels: npt.NDArray[np.int64]) -> tuple[float, float]:
    values = np.arange(256, dtype=np.float64)
    mean = float(levels @ values / levels.sum())
    variance = float(levels @ (values - mean) ** 2 / levels.sum())
    return mean, variance**0.5


def _balance(
    train: npt.NDArray[np.int64], test: npt.NDArray[np.int64], classes: Sequence[str]
) -> Balance:
    largest, smallest = int(train.argmax()), int(train.argmin())
    ratio = float(train[largest] / max(train[smallest], 1))
    verdict = "balanced" if ratio <= _BALANCED_RATIO else "imbalanced"
    if _BALANCED_RATIO < ratio <= _UNEVEN_RATIO:
        verdict = "uneven"
    return Balance.model_validate(
        {
            "verdict": verdict,
            "ratio": round(ratio, 3),
            "largest": classes[largest],
            "smallest": classes[smallest],
            "baseline": round(float(test[largest] / test.sum()), 6),
        }
    )


def _repeats(
    train: npt.NDArray[Any], test: npt.NDArray[Any], y_train: _Labels, y_test: _Labels
) -> Repeats:
    """Find equal images: sort the hashes, and look at every run of equal ones."""
    hashes = np.concatenate([train, test])
    labels = np.concatenate([y_train, y_test])
    order = np.lexsort((np.arange(len(hashes)), hashes[:, 1], hashes[:, 0]))
    ordered = hashes[order]
    starts = np.flatnonzero(np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)])
    sizes = np.diff(np.r_[starts, len(order)])
    in_train = np.add.reduceat((order < len(train)).astype(np.int64), starts)
    in_test = sizes - in_train
    lowest = np.minimum.reduceat(labels[order], starts)
    contradicting = lowest != np.maximum.reduceat(labels[order], starts)
    leaked = np.where(in_train > 0, in_test, 0)
    # What matters most comes first among the examples.
    weight = np.where(sizes > 1, 1 + 2 * (leaked > 0) + 4 * contradicting, 0)
    shown = np.argsort(-weight, kind="stable")[:_EXAMPLES]
    runs = [order[starts[run] : starts[run] + sizes[run]] for run in shown if weight[run]]
    return Repeats(
        train=int(np.maximum(in_train - 1, 0).sum()),
        test=int(np.maximum(in_test - 1, 0).sum()),
        leaked=int(leaked.sum()),
        contradicting=int(sizes[contradicting].sum()),
        examples=[_twins(run, labels, len(train)) for run in runs],
    )


def _twins(run: npt.NDArray[np.int64], labels: _Labels, train_images: int) -> Twins:
    """Return the first image of a run and the one that shows best what is wrong with it."""
    first = int(run[0])
    others = [int(row) for row in run[1:]]
    other = next(
        (row for row in others if labels[row] != labels[first]),
        next((row for row in others if row >= train_images), others[0]),
    )

    def place(row: int) -> tuple[Part, int, int]:
        own = row if row < train_images else row - train_images
        return ("train" if row < train_images else "test"), own, int(labels[row])

    part, row, label = place(first)
    of_part, of_row, of_label = place(other)
    return Twins(part=part, row=row, label=label, of_part=of_part, of_row=of_row, of_label=of_label)


# --- in words -----------------------------------------------------------------------------------


def _findings(
    classes: list[ClassCount], train: PartFacts, test: PartFacts, repeats: Repeats, balance: Balance
) -> Iterator[Finding]:
    yield _balance_in_words(balance)
    yield from _class_findings(classes, test.images)
    yield from _repeat_findings(repeats, test.images)
    empty = train.near_empty + test.near_empty
    if empty:
        yield _note(f"{_images(empty)} {_are(empty)} nearly empty: all pixels are almost equal.")
    if train.brightest <= 1:
        yield _warn(
            f"No training pixel is brighter than {train.brightest} of 255: the images look black. "
            "Were pixels from 0 to 1 meant? Then import with that range."
        )


def _balance_in_words(balance: Balance) -> Finding:
    times = f"{balance.largest} has {balance.ratio:.3g} times the images of {balance.smallest}"
    if balance.equal:
        return Finding(level="ok", sentence="The classes are balanced: they are equally large.")
    if balance.verdict == "balanced":
        return Finding(level="ok", sentence=f"The classes are balanced: {times}.")
    if balance.verdict == "uneven":
        return _note(f"The classes are somewhat uneven: {times}.")
    return _warn(
        f"The classes are imbalanced: {times}. Always answering {balance.largest} would be right "
        f"for {balance.baseline:.1%} of the test images, so judge by the confusion matrix, not by "
        "accuracy alone."
    )


def _class_findings(classes: list[ClassCount], test_images: int) -> Iterator[Finding]:
    if few := [row.name for row in classes if row.train < _FEW_IMAGES]:
        yield _warn(f"Fewer than {_FEW_IMAGES} training images: {_listed(few)}.")
    if absent := [row.name for row in classes if row.test == 0]:
        yield _warn(f"No test image at all: {_listed(absent)}.")
    if test_images < _SMALL_TEST:
        margin = 0.5 / test_images**0.5
        yield _note(
            f"With {_images(test_images, 'test ')}, an accuracy is known to about "
            f"±{2 * margin:.1%}."
        )
    total = sum(row.train for row in classes)
    drift = sum(abs(row.train / total - row.test / test_images) for row in classes) / 2
    if drift > _DRIFT:
        yield _note(
            f"Training and test differ in their classes: {drift:.0%} of the images would have to "
            "be of another class for the same shares."
        )


def _repeat_findings(repeats: Repeats, test_images: int) -> Iterator[Finding]:
    if repeats.leaked:
        yield _warn(
            f"{_images(repeats.leaked, 'test ')} ({repeats.leaked / test_images:.2%}) "
            f"{_are(repeats.leaked)} among the training images too: the test accuracy flatters."
        )
    if repeats.contradicting:
        yield _warn(
            f"{_images(repeats.contradicting)} {_are(repeats.contradicting)} there more than "
            "once, with different labels: no model can get them all right."
        )
    for part, number in (("training", repeats.train), ("test", repeats.test)):
        if number:
            verb = "repeats" if number == 1 else "repeat"
            yield _note(f"{_images(number, f'{part} ')} {verb} an earlier one, pixel by pixel.")
    if not (repeats.leaked or repeats.contradicting or repeats.train or repeats.test):
        yield Finding(level="ok", sentence="No image occurs twice.")


def _images(number: int, kind: str = "") -> str:
    return f"{number:,} {kind}image{'' if number == 1 else 's'}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _listed(names: list[str], most: int = 5) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _note(sentence: str) -> Finding:
    return Finding(level="note", sentence=sentence)


def _warn(sentence: str) -> Finding:
    return Finding(level="warning", sentence=sentence)

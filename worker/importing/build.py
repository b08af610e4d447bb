"""Chunks of images to a version's folder: written as they come, then split, named and surveyed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from shared.datasets.derived import derive, in_parts
from shared.datasets.layout import (
    ARRAYS,
    Description,
    content_version,
    map_arrays,
    write_array,
    write_description,
)
from shared.datasets.report import Part
from shared.datasets.survey import survey
from shared.reading import ReadDone
from shared.spec.dataset_import import LARGEST_SIDE, SMALLEST_SIDE
from worker.importing.context import Context
from worker.importing.faults import bad
from worker.importing.labels import Codes
from worker.importing.shapes import in_colour

_HEADER = {"descr": "|u1", "fortran_order": False}
# Shares of the work, as it was measured for MNIST: reading is most of it.
_READ_SHARE = 0.75
_SPLIT_SHARE = 0.8
_HASHED_SHARE = 0.85

Images = npt.NDArray[np.uint8]
Report = Callable[[str, float], None]


@dataclass(frozen=True)
class Chunk:
    """Some images in a row.

    Attributes:
        file: where they come from.
        part: what they are for; None: the files do not say.
        images: uint8 [N, H, W, C], 0 to 255.
        codes: the labels' codes in the reader's `LabelBook`, int64 [N].
        share: part of all reading that is done with this chunk, 0 to 1.
    """

    file: str
    part: Part | None
    images: Images
    codes: Codes
    share: float


class Builder:
    """A version that is being written.

    Args:
        folder: existing and empty.
        context: the reading's: how to split, what the labels' codes mean, the bounds.
        report: told what is done and the share of the work that is.
    """

    def __init__(self, folder: Path, context: Context, report: Report) -> None:
        self._folder = folder
        self._options = context.options
        self._limits = context.limits
        self._book = context.book
        self._notes = context.notes
        self._report = report
        self._parts: dict[Part | None, _PartFile] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for part in self._parts.values():
            part.close()

    def add(self, chunk: Chunk) -> None:
        """Write a chunk.

        Raises:
            BadFile: its images differ in shape from earlier ones, or exceed a limit.
        """
        if not len(chunk.images):
            return
        self._check_size(chunk)
        chunk = replace(chunk, images=in_colour(chunk.images, self._options.colour))
        part = self._parts.get(chunk.part)
        if part is None:
            part = _PartFile(self._folder / f"read_{chunk.part}.npy", chunk)
            self._parts[chunk.part] = part
        self._check(chunk)
        part.add(chunk)
        images = sum(part.images for part in self._parts.values())
        self._report(f"Reading: {images:,} images", _READ_SHARE * chunk.share)

    def finish(self) -> ReadDone:
        """Complete the version.

        Raises:
            BadFile: the files have no training images, too few classes, or the like.
        """
        for part in self._parts.values():
            part.close()
        file = next((part.file for part in self._parts.values()), "The files")
        classes, order = self._book.classes(self._options.class_names, file=file)
        self._divide(file, order)
        arrays = map_arrays(self._folder)
        self._check_classes(file, arrays, classes)
        self._report("Working out the version", _SPLIT_SHARE)
        description = self._describe(arrays, classes)
        derive(self._folder, len(classes))
        write_description(self._folder, description)

        def surveyed(share: float) -> None:
            self._report("Looking at every image", _HASHED_SHARE + (1 - _HASHED_SHARE) * share)

        return ReadDone(
            **description.as_dict(),
            report=survey(arrays, classes, surveyed),
            notes=self._notes,
        )

    def _check_size(self, chunk: Chunk) -> None:
        """Refuse images that have another size than the options say: only pictures are scaled."""
        options, shape = self._options, chunk.images.shape[1:]
        height, width, _ = shape if not options.transpose else (shape[1], shape[0], shape[2])
        if options.height not in (None, height) or options.width not in (None, width):
            rule = (
                "`height` and `width` must be those of the images, unless they are pictures or "
                "rows of pixels."
            )
            raise bad(chunk.file, rule, _size(shape))

    def _check(self, chunk: Chunk) -> None:
        shape = chunk.images.shape[1:]
        for other in self._parts.values():
            if other.shape != shape:
                rule = f"All images must have the same shape, {_size(other.shape)} in {other.file}."
                raise bad(chunk.file, rule, _size(shape))
        height, width, channels = shape
        if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in (height, width)):
            rule = f"Images must have {SMALLEST_SIDE} to {LARGEST_SIDE} pixels a side."
            raise bad(chunk.file, rule, _size(shape))
        if channels not in (1, 3):
            raise bad(chunk.file, "Images must be grey or RGB.", f"{channels} channels")
        images = sum(part.images for part in self._parts.values()) + len(chunk.images)
        if images > self._limits.dataset_images:
            rule = f"A data set may have at most {self._limits.dataset_images:,} images."
            raise bad(chunk.file, rule, f"at least {images:,}")
        pixels = images * height * width * channels
        if pixels > self._limits.dataset_bytes:
            rule = (
                f"The pixels of a data set may take at most {self._limits.dataset_bytes:,} bytes."
            )
            raise bad(chunk.file, rule, f"at least {pixels:,}")

    def _divide(self, file: str, order: Codes) -> None:
        """Bring what was read into its two parts."""
        parts = self._parts
        if None in parts and len(parts) > 1:
            rule = (
                "It must be clear what is for training and what for testing: say so, or put "
                "`train` and `test` into the files' names."
            )
            raise bad(parts[None].file, rule)
        if set(parts) == {"test"}:
            rule = (
                "There must be images to train on. A name with `test` in it makes them test "
                "images, unless you say as you send the file that it is for training."
            )
            raise bad(file, rule, "test images alone")
        if not parts:
            raise bad(file, "There must be images.", "none")
        whole = parts.get("train") or parts.get(None)
        assert whole is not None
        if "test" in parts:
            for name in ("train", "test"):
                own = parts[name]
                own.path.rename(self._folder / f"x_{name}.npy")
                write_array(self._folder / f"y_{name}.npy", order[own.codes()])
            return
        self._report("Holding back the test images", _READ_SHARE)
        self._split(whole, order[whole.codes()])

    def _split(self, whole: _PartFile, labels: Codes) -> None:
        """Hold back some images of every class for testing."""
        held_back = draw_test_rows(labels, self._options.test_fraction, self._options.seed)
        if not held_back.any():
            rule = "The test share must leave at least one test image."
            raise bad(whole.file, rule, f"{self._options.test_fraction} of {len(labels)} images")
        images = np.load(whole.path, mmap_mode="r", allow_pickle=False)
        for part, chosen in (("train", ~held_back), ("test", held_back)):
            with _ImageFile(self._folder / f"x_{part}.npy", images.shape[1:]) as file:
                for start, stretch in in_parts(images):
                    file.append(stretch[chosen[start : start + len(stretch)]])
            write_array(self._folder / f"y_{part}.npy", labels[chosen])
        whole.path.unlink()
        tests = int(held_back.sum())
        self._notes.append(
            f"The files have no test part: {tests:,} of {len(labels):,} images are held back for "
            "testing, of every class its share."
        )

    def _check_classes(
        self, file: str, arrays: dict[str, npt.NDArray[Any]], classes: list[str]
    ) -> None:
        trained = np.bincount(arrays["y_train"], minlength=len(classes))
        if missing := [name for name, count in zip(classes, trained, strict=True) if not count]:
            rule = "Every class needs images to train on, not only to test with."
            raise bad(file, rule, ", ".join(missing))

    def _describe(self, arrays: dict[str, npt.NDArray[Any]], classes: list[str]) -> Description:
        assert set(arrays) == set(ARRAYS)
        train, height, width, channels = arrays["x_train"].shape
        return Description(
            version=content_version(arrays, classes),
            train_images=train,
            test_images=len(arrays["x_test"]),
            height=height,
            width=width,
            channels=channels,
            classes=tuple(classes),
        )


class _ImageFile:
    """An `.npy` of images that grows; its header has room for any number of them.

    Args:
        path: of the file.
        shape: of an image.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._file = path.open("wb")
        self._shape = shape
        self.images = 0
        self._write_header()

    def append(self, images: Images) -> None:
        """Write images behind those that are there."""
        self._file.write(np.ascontiguousarray(images).data)
        self.images += len(images)

    def close(self) -> None:
        """Say in the header how many there are; once."""
        if self._file.closed:
            return
        length = self._file.tell()
        self._file.seek(0)
        self._write_header()
        assert length - self._file.tell() == self.images * int(np.prod(self._shape))
        self._file.close()

    def _write_header(self) -> None:
        # NumPy pads the header so that the first axis can grow in place.
        shape = (self.images, *self._shape)
        np.lib.format.write_array_header_1_0(self._file, _HEADER | {"shape": shape})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _PartFile:
    """The images of one part, as they were read, and their labels' codes."""

    def __init__(self, path: Path, first: Chunk) -> None:
        self.path = path
        self.file = first.file
        self.shape = first.images.shape[1:]
        self._images = _ImageFile(path, self.shape)
        self._codes: list[npt.NDArray[np.int32]] = []

    @property
    def images(self) -> int:
        """How many there are."""
        return self._images.images

    def add(self, chunk: Chunk) -> None:
        """Write a chunk."""
        self._images.append(chunk.images)
        self._codes.append(chunk.codes.astype(np.int32))

    def close(self) -> None:
        """End the file."""
        self._images.close()

    def codes(self) -> Codes:
        """Return the codes of all labels."""
        return np.concatenate(self._codes).astype(np.int64)


def draw_test_rows(labels: Codes, fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    """Choose the images to hold back: of every class its share, and never its last image.

    Shares are rounded by largest remainders, so that in sum they are that of all images. Randomness
    is the raw output of NumPy's Philox generator, which is the same for ever.

    Args:
        labels: int64 [N].
        fraction: share to hold back.
        seed: another one, another choice.

    Returns:
        bool [N].
    """
    keys = np.random.Philox(key=np.array([seed, 0], dtype=np.uint64)).random_raw(len(labels))
    order = np.lexsort((keys, labels))
    classes = [*_runs(order, labels)]
    shares = np.array([len(rows) * fraction for rows in classes])
    counts = np.minimum(shares.astype(np.int64), [len(rows) - 1 for rows in classes])
    missing = round(len(labels) * fraction) - int(counts.sum())
    # Of classes whose remainders are equal, chance takes the first: their lowest keys.
    turn = np.lexsort((keys[[rows[0] for rows in classes]], (counts - shares).round(9)))
    able = [place for place in turn if counts[place] + 1 < len(classes[place])]
    counts[able[: max(missing, 0)]] += 1
    chosen = np.zeros(len(labels), dtype=bool)
    for rows, count in zip(classes, counts, strict=True):
        chosen[rows[:count]] = True
    return chosen


def _runs(order: npt.NDArray[np.int64], labels: Codes) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the rows of each class."""
    borders = np.flatnonzero(np.diff(labels[order])) + 1
    yield from np.split(order, borders)


def _size(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{height} x {width}" + (f" x {channels}" if channels != 1 else "")

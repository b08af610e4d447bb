"""NumPy's files: `.npz`, as Keras and MedMNIST publish, or some `.npy`.

Arrays are found by their names, in the usual spellings. They are read a stretch at a time from the
packed file; a header that promises more than there is, or an array of objects, is refused before
anything of it is read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from shared.datasets.report import Part
from shared.limits import Limits
from shared.spec.dataset_import import LARGEST_SIDE, ImportOptions
from worker.importing.build import Chunk
from worker.importing.context import Context
from worker.importing.faults import BadFile, bad, shown
from worker.importing.shapes import shape_of, to_images
from worker.importing.sources import Source, buffered, member, members, open_zip, part_of, words_of

_STRETCH_BYTES = 16 << 20
_LONGEST_HEADER = 10_000
_LONGEST_ROW_BYTES = LARGEST_SIDE * LARGEST_SIDE * 4 * 8
_LABEL_WORDS = frozenset({"y", "label", "labels", "lab", "labs", "target", "targets"})
_IMAGE_WORDS = frozenset({"x", "image", "images", "img", "imgs", "data", "pixels"})
_VALIDATION_WORDS = frozenset({"val", "valid", "validation"})
_KINDS = "biufUS"


@dataclass(frozen=True)
class _Array:
    """An array that can be read: its place, name, kind and shape."""

    source: Source
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return int(self.dtype.itemsize * np.prod(self.shape[1:], dtype=np.int64))

    def stretches(self, limits: Limits) -> Iterator[npt.NDArray[Any]]:
        """Yield the array in stretches of rows."""
        with self.source.open(limits) as stream, buffered(stream) as file:
            _read_header(file, self.source)
            if self.fortran:
                yield self._whole(file, limits)
                return
            rows = max(1, _STRETCH_BYTES // max(1, self.row_bytes))
            for start in range(0, self.shape[0], rows):
                count = min(rows, self.shape[0] - start)
                data = _exactly(file, count * self.row_bytes, self.source)
                yield np.frombuffer(data, self.dtype).reshape(count, *self.shape[1:])

    def _whole(self, file: BinaryIO, limits: Limits) -> npt.NDArray[Any]:
        """Read an array that lies column by column, which only works at once."""
        size = self.shape[0] * self.row_bytes
        if size > limits.memory_bytes // 4:
            rule = "A large array must lie row by row: save np.ascontiguousarray(array)."
            raise bad(self.source.name, rule, f"{size:,} bytes in Fortran's order")
        data = _exactly(file, size, self.source)
        return np.ascontiguousarray(np.frombuffer(data, self.dtype).reshape(self.shape, order="F"))


@dataclass(frozen=True)
class _Pair:
    """Images and their labels."""

    part: Part | None
    images: _Array
    labels: _Array


def read_arrays(sources: list[Source], context: Context) -> Iterator[Chunk]:
    """Read the images of some `.npz` or `.npy` files; arguments and errors as in `tables`."""
    with contextlib.ExitStack() as stack:
        arrays = [array for source in sources for array in _inspect(source, context, stack)]
        yield from _read(_pair(arrays, sources[0].name, context.notes), context)


def _read(pairs: list[_Pair], context: Context) -> Iterator[Chunk]:
    options, limits = context.options, context.limits
    book, notes = context.book, context.notes
    if any(not _VALIDATION_WORDS.isdisjoint(words_of(pair.images.name)) for pair in pairs):
        notes.append("The validation images join the training images; jobs hold back their own.")
    total = sum(pair.images.shape[0] for pair in pairs)
    done = 0
    units = _are_unit([pair.images for pair in pairs], options, limits)
    for pair, unit in zip(pairs, units, strict=True):
        labels = _labels(pair, limits)
        codes = book.encode(labels, file=pair.labels.source.name, first_row=0)
        start = 0
        for stretch in pair.images.stretches(limits):
            images = _to_images(stretch, pair.images, options, unit=unit, first_row=start)
            stop = start + len(images)
            share = (done + stop) / total
            yield Chunk(pair.images.source.name, pair.part, images, codes[start:stop], share)
            start = stop
        done += start


def _inspect(source: Source, context: Context, stack: contextlib.ExitStack) -> list[_Array]:
    """Return the arrays of a file, their headers read and checked."""
    limits, notes = context.limits, context.notes
    if source.head(limits, 4) != b"PK\x03\x04":
        found = [_describe(source, PurePosixPath(source.name).stem, limits, notes)]
    else:
        archive = stack.enter_context(open_zip(source))
        found = [
            _describe(member(source, archive, entry), _stem(entry.filename), limits, notes)
            for entry in members(source, limits)
            if entry.filename.endswith(".npy")
        ]
    return [array for array in found if array is not None]


def _stem(name: str) -> str:
    return name.removesuffix(".npy")


def _describe(source: Source, name: str, limits: Limits, notes: list[str]) -> _Array | None:
    """Return an array that can be read; None, and a note, if it is a single value."""
    with source.open(limits) as stream, buffered(stream) as file:
        shape, fortran, dtype = _read_header(file, source)
    if not shape:
        notes.append(f"{shown(source.name)} is left out: it is a single value.")
        return None
    if dtype.kind not in _KINDS:
        rule = "Arrays must hold numbers or texts; objects are pickles, which can run programs."
        raise bad(source.name, rule, f"dtype {dtype}")
    size = int(dtype.itemsize * np.prod(shape, dtype=object))
    if not all(length >= 0 for length in shape) or size > limits.dataset_bytes * 8:
        rule = f"An array may take at most {limits.dataset_bytes * 8:,} bytes."
        raise bad(source.name, rule, f"shape {shape} of {dtype}")
    array = _Array(source, name, dtype, shape, fortran)
    if not 1 <= shape[0] <= limits.dataset_images:
        rule = f"A data set may have 1 to {limits.dataset_images:,} images."
        raise bad(source.name, rule, f"shape {shape}")
    if array.row_bytes > _LONGEST_ROW_BYTES:
        rule = f"Images may have at most {LARGEST_SIDE} pixels a side."
        raise bad(source.name, rule, f"shape {shape} of {dtype}")
    return array


def _read_header(file: BinaryIO, source: Source) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(file)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        read = readers.get(version, np.lib.format.read_array_header_2_0)
        shape, fortran, dtype = read(file, max_header_size=_LONGEST_HEADER)
    except (ValueError, TypeError, EOFError) as error:
        words = " ".join(str(error).split("\n", maxsplit=1)[0].split())
        raise bad(source.name, "It must be an array in NumPy's format.", words) from error
    return shape, fortran, dtype


def _pair(arrays: Sequence[_Array], file: str, notes: list[str]) -> list[_Pair]:
    """Put images and labels together, by their names; note what belongs to none.

    Raises:
        BadFile: it is not clear which belong together, or their numbers differ.
    """
    labels = [array for array in arrays if _is_labels(array)]
    others = [array for array in arrays if len(array.shape) > 1 and not _is_labels(array)]
    images = _one_of_each(others, labels, notes)
    pairs: list[_Pair] = []
    alone = []
    for own in images:
        partner = [other for other in labels if _key(other) == _key(own)]
        if len(images) == 1 and not partner:
            partner = [other for other in labels if _is_called_labels(other)] or labels
        if not partner:
            alone.append(own)
        elif len(partner) != 1 or any(partner[0] is pair.labels for pair in pairs):
            raise _unclear(arrays, file)
        else:
            pairs.append(_Pair(_part(own), own, partner[0]))
    spare = [other for other in labels if all(other is not pair.labels for pair in pairs)]
    lengths = {other.shape[0] for other in spare if _is_called_labels(other)}
    if not pairs or any(len(other.shape) > 1 for other in spare):
        raise _unclear(arrays, file)
    if any(own.shape[0] in lengths for own in alone):
        raise _unclear(arrays, file)
    _check_numbers(pairs, file)
    notes += [f"{shown(own.name)} is left out: it has no labels." for own in alone]
    notes += [f"{shown(other.name)} is left out: it belongs to no images." for other in spare]
    return pairs


def _unclear(arrays: Sequence[_Array], file: str) -> BadFile:
    """Return the error of arrays that it is not clear how to put together."""
    rule = (
        "There must be images and labels, such as x_train, y_train, x_test and y_test, or "
        "train_images and train_labels, or x and y."
    )
    return bad(file, rule, ", ".join(f"{one.name} {one.shape}" for one in arrays) or "no array")


def _check_numbers(pairs: list[_Pair], file: str) -> None:
    for images, labels in ((pair.images, pair.labels) for pair in pairs):
        if images.shape[0] != labels.shape[0]:
            counts = f"{images.name}: {images.shape[0]:,}, {labels.name}: {labels.shape[0]:,}"
            raise bad(file, "There must be as many labels as images.", counts)


def _one_of_each(images: list[_Array], labels: list[_Array], notes: list[str]) -> list[_Array]:
    """Return the images; of arrays that could all be those of some labels, the one of most axes.

    scikit-learn's digits have `images` [N, H, W] and `data` [N, pixels], which are the same.
    """
    kept = []
    for own in images:
        alike = [other for other in images if _key(other) == _key(own)]
        lengths = {other.shape[0] for other in labels if _key(other) == _key(own)}
        able = [other for other in alike if other.shape[0] in lengths] or alike
        best = max(able, key=lambda other: len(other.shape))
        if own in able and len(own.shape) == len(best.shape):
            kept.append(own)
        else:
            notes.append(f"{shown(own.name)} is left out: the images are in {shown(best.name)}.")
    return kept


def _is_labels(array: _Array) -> bool:
    flat = len(array.shape) == 1 or (len(array.shape) == 2 and array.shape[1] == 1)
    return flat or _is_called_labels(array)


def _is_called_labels(array: _Array) -> bool:
    own = set(words_of(array.name))
    words = own.union(words_of(PurePosixPath(array.source.name.split(": ")[0]).stem))
    return bool(words & _LABEL_WORDS) and not own & _IMAGE_WORDS


def _key(array: _Array) -> str:
    """Return what is left of a name without the words for images and labels."""
    file = array.source.name.split(": ")[0]
    words = set(words_of(f"{PurePosixPath(file).stem} {array.name}"))
    return " ".join(sorted(words - _LABEL_WORDS - _IMAGE_WORDS - {"arr"}))


def _part(array: _Array) -> Part | None:
    return part_of(array.name) or array.source.part or part_of(array.source.name)


def _are_unit(arrays: list[_Array], options: ImportOptions, limits: Limits) -> list[bool]:
    """Return for each array whether its pixels go from 0 to 1; those of real numbers go alike.

    For real numbers that takes a look at all of them: one part alone may be nearly black.
    """
    if options.pixel_range != "auto":
        return [options.pixel_range == "unit"] * len(arrays)
    real = [array for array in arrays if array.dtype.kind == "f"]
    unit = all(stretch.max(initial=0) <= 1 for array in real for stretch in array.stretches(limits))
    return [array.dtype.kind == "b" or (array.dtype.kind == "f" and unit) for array in arrays]


def _labels(pair: _Pair, limits: Limits) -> npt.NDArray[Any]:
    array = pair.labels
    if len(array.shape) > 1 and array.shape[1:] != (1,):
        rule = "Labels must be one number or name an image, not a row of several (one-hot)."
        raise bad(array.source.name, rule, f"{array.name} of shape {array.shape}")
    if array.dtype.kind == "b":
        raise bad(array.source.name, "Labels must be numbers or names.", f"dtype {array.dtype}")
    parts = [stretch.reshape(-1) for stretch in array.stretches(limits)]
    values = np.concatenate(parts) if parts else np.empty(0, array.dtype)
    if array.dtype.kind == "S":
        return np.char.decode(values, "utf-8", errors="replace").astype(object)
    return values.astype(object) if array.dtype.kind == "U" else values


def _to_images(
    values: npt.NDArray[Any],
    array: _Array,
    options: ImportOptions,
    *,
    unit: bool,
    first_row: int,
) -> npt.NDArray[np.uint8]:
    file = array.source.name
    if values.dtype.kind in "US":
        raise bad(file, "Images must be numbers.", f"{array.name} of dtype {array.dtype}")
    if unit or values.dtype != np.uint8:
        highest = 1 if unit else 255
        good = (values >= 0) & (values <= highest)
        if not unit and values.dtype.kind == "f":
            good &= values == np.floor(values)
        if not good.all():
            place = np.unravel_index(int(np.argmin(good)), good.shape)
            kind = "number from 0 to 1" if unit else "whole number from 0 to 255"
            rule = f"A pixel of {array.name} must be a {kind}."
            raise bad(file, rule, values[place], row=first_row + int(place[0]))
        values = np.rint(values.astype(np.float64) * 255) if unit else values
        values = values.astype(np.uint8)
    return _shape(values, array, options)


def _shape(
    values: npt.NDArray[np.uint8], array: _Array, options: ImportOptions
) -> npt.NDArray[np.uint8]:
    """Return pixels as [N, H, W, C], from rows, planes or images."""
    flat = values.reshape(len(values), -1)
    if values.ndim == 2:
        shape = shape_of(flat.shape[1], options)
        if shape is None:
            rule = "The pixels of a row must make an image of the height and width in the options."
            raise bad(array.source.name, rule, f"{array.name} of shape {array.shape}")
        return to_images(flat, shape, options)
    if values.ndim == 3:
        return to_images(flat, (*values.shape[1:], 1), options)
    if values.ndim == 4:
        planes = values.shape[1] in (1, 3)
        if options.channels_first and not planes:
            rule = "With `channels_first`, images must be [N, C, H, W] of 1 or 3 channels."
            raise bad(array.source.name, rule, f"{array.name} of shape {array.shape}")
        if planes and (options.channels_first or values.shape[3] not in (1, 3)):
            values = values.transpose(0, 2, 3, 1)
        return values.transpose(0, 2, 1, 3) if options.transpose else values
    rule = "Images must be [N, pixels], [N, H, W], [N, H, W, C] or [N, C, H, W]."
    raise bad(array.source.name, rule, f"{array.name} of shape {array.shape}")


def _exactly(file: BinaryIO, count: int, source: Source) -> bytes:
    data = file.read(count)
    if len(data) != count:
        rule = "An array must be as long as its header says."
        raise bad(source.name, rule, f"{count - len(data):,} bytes too few")
    return data

"""IDX, the files that MNIST, Fashion-MNIST, KMNIST and EMNIST come in, plain or gzip.

Source: the description at the foot of Y. LeCun's MNIST page. A magic number (two zero bytes, the
kind of value, the number of axes), each axis as a big-endian 32-bit number, then the values.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from shared.limits import Limits
from shared.spec.dataset_import import LARGEST_SIDE, ImportOptions
from worker.importing.build import Chunk
from worker.importing.context import Context
from worker.importing.faults import bad, shown
from worker.importing.shapes import to_images
from worker.importing.sources import Source, buffered

_KINDS = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4"}
_STRETCH_BYTES = 16 << 20
_LABELS_AT_ONCE = 1 << 20
_MAGIC_BYTES = 4


@dataclass(frozen=True)
class _Array:
    source: Source
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


def is_idx(head: bytes) -> bool:
    """Whether a file that begins with `head` (4 bytes) is IDX."""
    return head[:2] == b"\0\0" and len(head) == 4 and head[2] in _KINDS and 1 <= head[3] <= 4


def read_idx(sources: list[Source], context: Context) -> Iterator[Chunk]:
    """Read the images of some IDX files; arguments and errors as in `tables`."""
    options, limits, book = context.options, context.limits, context.book
    arrays = [_inspect(source, limits) for source in sources]
    pairs = _pair(_once(arrays, limits, context.notes))
    total = sum(images.shape[0] for images, _ in pairs)
    done = 0
    for images, labels in pairs:
        values = [*_stretches(labels, limits, rows=_LABELS_AT_ONCE)]
        codes = book.encode(np.concatenate(values), file=labels.source.name, first_row=0)
        shape = _shape_of(images, options)
        rows = max(1, _STRETCH_BYTES // max(1, int(np.prod(shape))))
        start = 0
        for stretch in _stretches(images, limits, rows=rows):
            stop = start + len(stretch)
            pixels = to_images(stretch.reshape(len(stretch), -1), shape, options)
            part = images.source.part
            share = (done + stop) / total
            yield Chunk(images.source.name, part, pixels, codes[start:stop], share)
            start = stop
        done += start


def _shape_of(images: _Array, options: ImportOptions) -> tuple[int, int, int]:
    """Return height, width and channels of some images."""
    if len(images.shape) == 3:
        return images.shape[1], images.shape[2], 1
    if options.channels_first:
        return images.shape[2], images.shape[3], images.shape[1]
    return images.shape[1], images.shape[2], images.shape[3]


def _inspect(source: Source, limits: Limits) -> _Array:
    with source.open(limits) as stream, buffered(stream) as file:
        array = _read_header(file, source)
    if array.shape[0] == 0 or array.shape[0] > limits.dataset_images:
        rule = f"A data set may have 1 to {limits.dataset_images:,} images."
        raise bad(source.name, rule, f"{array.shape[0]:,}")
    if any(not 1 <= side <= LARGEST_SIDE for side in array.shape[1:]):
        rule = f"Images may have at most {LARGEST_SIDE} pixels a side."
        raise bad(source.name, rule, f"shape {array.shape}")
    return array


def _read_header(file: BinaryIO, source: Source) -> _Array:
    head = file.read(_MAGIC_BYTES)
    if not is_idx(head):
        raise bad(source.name, "It must be an IDX file of whole numbers.", head)
    axes = file.read(4 * head[3])
    if len(axes) != 4 * head[3]:
        raise bad(source.name, "An IDX file must be as long as its header says.", "no header")
    shape = tuple(int(length) for length in np.frombuffer(axes, ">u4"))
    return _Array(source, np.dtype(_KINDS[head[2]]), shape)


def _once(arrays: list[_Array], limits: Limits, notes: list[str]) -> list[_Array]:
    """Leave out files that are there again under a like name, as in MNIST's archive at Kaggle."""
    alike = Counter((_key(array), array.shape) for array in arrays)
    seen: set[tuple[str, bytes]] = set()
    kept = []
    for array in arrays:
        if alike[_key(array), array.shape] > 1:
            mark = (_key(array), _digest(array.source, limits))
            if mark in seen:
                name = shown(array.source.name)
                notes.append(f"{name} is left out: another file holds the same bytes.")
                continue
            seen.add(mark)
        kept.append(array)
    return kept


def _digest(source: Source, limits: Limits) -> bytes:
    digest = hashlib.sha256()
    with source.open(limits) as stream:
        while data := stream.read(_STRETCH_BYTES):
            digest.update(data)
    return digest.digest()


def _pair(arrays: list[_Array]) -> list[tuple[_Array, _Array]]:
    """Put images and labels together: by their part, or by what their names have in common."""
    images = [array for array in arrays if len(array.shape) >= 3]
    labels = [array for array in arrays if len(array.shape) == 1]
    found = ", ".join(f"{array.source.name} {array.shape}" for array in arrays)
    rule = "Each IDX file of images needs one of labels whose name differs by that word only."
    file = arrays[0].source.name
    if not images or len(images) != len(labels) or len(images) + len(labels) != len(arrays):
        raise bad(file, rule, found)
    pairs = []
    for own in images:
        partner = [other for other in labels if _key(other) == _key(own)]
        if len(images) == 1:
            partner = labels
        if len(partner) != 1:
            raise bad(file, rule, found)
        if own.dtype != np.uint8:
            rule = "The pixels of an IDX file must be unsigned bytes."
            raise bad(own.source.name, rule, str(own.dtype))
        if own.shape[0] != partner[0].shape[0]:
            counts = f"{own.shape[0]:,} images, {partner[0].shape[0]:,} labels"
            raise bad(own.source.name, "There must be as many labels as images.", counts)
        pairs.append((own, partner[0]))
    return pairs


def _key(array: _Array) -> str:
    name = PurePosixPath(array.source.name.split(": ")[-1]).name.lower()
    return re.sub(r"images?|labels?|idx\d|ubyte|int|\.gz|[^a-z0-9]", "", name)


def _stretches(array: _Array, limits: Limits, *, rows: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield an array in stretches of rows."""
    row_bytes = int(array.dtype.itemsize * np.prod(array.shape[1:], dtype=np.int64))
    with array.source.open(limits) as stream, buffered(stream) as file:
        _read_header(file, array.source)
        for start in range(0, array.shape[0], rows):
            count = min(rows, array.shape[0] - start)
            data = file.read(count * row_bytes)
            if len(data) != count * row_bytes:
                rule = "An IDX file must be as long as its header says."
                raise bad(array.source.name, rule, f"{count * row_bytes - len(data):,} bytes short")
            yield np.frombuffer(data, array.dtype).reshape(count, *array.shape[1:])
        if file.read(1):
            rule = "An IDX file must be as long as its header says."
            raise bad(array.source.name, rule, "more bytes than that")

"""CIFAR-10's binary files, alone or in their tar: a byte of label, then three planes of 32 x 32.

Source: A. Krizhevsky's description beside the files. The Python version holds pickles and is
refused.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, cast

import numpy as np

from shared.datasets.report import Part
from shared.limits import Limits
from worker.importing.build import Chunk
from worker.importing.context import Context
from worker.importing.faults import bad
from worker.importing.sources import Source, buffered, part_of

_SIDE = 32
_ROW_BYTES = 1 + 3 * _SIDE * _SIDE
_ROWS_AT_ONCE = 5000
_BATCHES = 6
_OTHERS_SHOWN = 3
# What `tarfile` raises over a broken tar; numbers in its headers are parsed as Python's.
_UNREADABLE = (tarfile.TarError, ValueError)


def read_cifar(sources: list[Source], context: Context) -> Iterator[Chunk]:
    """Read CIFAR-10's files; arguments and errors as in `tables`."""
    limits = context.limits
    batches = 0
    others: list[str] = []  # the first names of what is no batch
    for source in sources:
        for name, part, file in _files(source, limits, others):
            batches += 1
            yield from _read(name, part, file, context, share=min(1.0, batches / _BATCHES))
    if not batches:
        rule = (
            "A tar must be CIFAR-10's binary version, with files `data_batch_1.bin` and so on. "
            "Send anything else as a zip."
        )
        raise bad(sources[0].name, rule, ", ".join(others) or "nothing")


def _files(
    source: Source, limits: Limits, others: list[str]
) -> Iterator[tuple[str, Part | None, IO[bytes]]]:
    with source.open(limits) as stream, buffered(stream) as file:
        if source.name.lower().endswith(".bin"):
            yield source.name, source.part or _part(source.name), file
            return
        try:
            with tarfile.open(fileobj=file, mode="r|") as archive:
                for count, entry in enumerate(archive):
                    if count >= limits.archive_members:
                        rule = f"An archive may have at most {limits.archive_members:,} files."
                        raise bad(source.name, rule)
                    name = PurePosixPath(entry.name).name
                    if not entry.isfile() or not name.endswith(".bin"):
                        if entry.isfile() and len(others) < _OTHERS_SHOWN:
                            others.append(entry.name)
                        continue
                    if entry.issparse():  # its holes would grow out of nothing
                        raise bad(source.name, "A tar must hold no sparse files.", entry.name)
                    opened = cast(IO[bytes], archive.extractfile(entry))
                    yield f"{source.name}: {name}", _part(name), opened
        except _UNREADABLE as error:
            raise bad(source.name, f"It is no tar that can be read: {error}.") from error


def _part(name: str) -> Part | None:
    return "train" if name.startswith("data_batch") else part_of(name)


def _read(
    name: str, part: Part | None, file: IO[bytes], context: Context, *, share: float
) -> Iterator[Chunk]:
    while data := _next(name, file):
        if len(data) % _ROW_BYTES:
            rule = f"A file of CIFAR-10 must hold {_ROW_BYTES:,} bytes an image."
            raise bad(name, rule, f"{len(data) % _ROW_BYTES:,} bytes too many")
        rows = np.frombuffer(data, np.uint8).reshape(-1, _ROW_BYTES)
        images = rows[:, 1:].reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
        if context.options.transpose:
            images = images.transpose(0, 2, 1, 3)
        codes = context.book.encode(rows[:, 0].astype(np.int64), file=name)
        yield Chunk(name, part, images, codes, share)


def _next(name: str, file: IO[bytes]) -> bytes:
    try:
        return file.read(_ROWS_AT_ONCE * _ROW_BYTES)
    except tarfile.TarError as error:
        raise bad(name, f"It is damaged: {error}.") from error

"""Files as people send them, and their reading in this process."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from shared.datasets.layout import map_arrays
from shared.datasets.report import Part
from shared.limits import Limits
from shared.reading import ReadDone, SentFile
from shared.settings import Settings
from shared.spec.dataset_import import ImportOptions
from worker.importing.build import Builder
from worker.importing.context import Context
from worker.importing.faults import BadFile
from worker.importing.formats import read

LIMITS = Limits.of(Settings())

Arrays = dict[str, npt.NDArray[Any]]


def limits(**changes: int) -> Limits:
    """Return the usual limits but for some."""
    return LIMITS.model_copy(update=changes)


def digits(count: int, *, side: int = 8, channels: int = 1, classes: int = 3) -> Arrays:
    """Return images that all differ, `x`, with labels 0, 1, 2, 0, 1 ..., `y`."""
    values = np.random.default_rng(side * count + channels)
    shape = (count, side, side, channels)
    return {
        "x": values.integers(0, 256, shape, dtype=np.uint8),
        "y": np.arange(count, dtype=np.int64) % classes,
    }


class Reading:
    """What reading files came to.

    Attributes:
        done: the reader's answer.
        arrays: the four arrays of the version.
        shares: the progress that was told.
    """

    def __init__(self, done: ReadDone, folder: Path, shares: list[float]) -> None:
        self.done = done
        self.folder = folder
        self.arrays = map_arrays(folder)
        self.shares = shares

    @property
    def both(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """All images and labels, training first."""
        return (
            np.concatenate([self.arrays["x_train"], self.arrays["x_test"]]),
            np.concatenate([self.arrays["y_train"], self.arrays["y_test"]]),
        )


def read_files(
    folder: Path,
    files: dict[str, bytes],
    *,
    parts: dict[str, Part] | None = None,
    within: Limits = LIMITS,
    **options: Any,
) -> Reading:
    """Send files and have them read.

    Args:
        folder: for the test's own.
        files: content by name.
        parts: what was said of some.
        within: the limits.
        options: how to read them.

    Raises:
        BadFile: they cannot be read; nothing but what was read so far lies in `folder / "out"`.
    """
    sent = []
    (folder / "in").mkdir(exist_ok=True)
    for place, (name, content) in enumerate(files.items()):
        path = folder / "in" / str(place)
        path.write_bytes(content)
        sent.append(SentFile(path=path, name=name, part=(parts or {}).get(name)))
    out = folder / "out"
    out.mkdir(exist_ok=True)
    for left in out.iterdir():
        left.unlink()
    shares: list[float] = []
    context = Context.of(ImportOptions(**options), within)
    with (
        Builder(out, context, lambda _, share: shares.append(share)) as builder,
        contextlib.closing(read(sent, context)) as chunks,
    ):
        for chunk in chunks:
            builder.add(chunk)
        return Reading(builder.finish(), out, shares)


def refusal(folder: Path, files: dict[str, bytes], **options: Any) -> str:
    """Return in words why files are refused; arguments as of `read_files`."""
    try:
        read_files(folder, files, **options)
    except BadFile as error:
        return str(error)
    raise AssertionError("The files were read.")


# --- files --------------------------------------------------------------------------------------


def table(
    arrays: Arrays,
    *,
    header: Sequence[str] | None = None,
    label_at: int = 0,
    names: Sequence[str] | None = None,
    change: Callable[[list[list[Any]]], None] = lambda _: None,
) -> bytes:
    """Return images as CSV.

    Args:
        arrays: `x` and `y`.
        header: names of the pixels' columns, with "label" put in among them; none: no header.
        label_at: index of the labels' column.
        names: classes' names; their numbers unless given.
        change: alters the rows.
    """
    flat = arrays["x"].reshape(len(arrays["x"]), -1)
    rows: list[list[Any]] = []
    for pixels, label in zip(flat.tolist(), arrays["y"].tolist(), strict=True):
        row = list(pixels)
        row.insert(label_at, names[label] if names else label)
        rows.append(row)
    change(rows)
    if header is not None:
        first = list(header)
        first.insert(label_at, "label")
        rows.insert(0, first)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def pixel_names(arrays: Arrays) -> list[str]:
    """Return Kaggle's names of the pixels' columns."""
    return [f"pixel{index}" for index in range(int(np.prod(arrays["x"].shape[1:])))]


def idx(array: npt.NDArray[Any]) -> bytes:
    """Return an array of bytes as IDX."""
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim)
    axes = struct.pack(f">{array.ndim}I", *array.shape)
    return head + axes + array.astype(np.uint8).tobytes()


def npz(**arrays: Any) -> bytes:
    """Return arrays as `.npz`; objects in them are pickled, as NumPy does."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def packed_npz(**arrays: Any) -> bytes:
    """Return arrays as a compressed `.npz`."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def archive(members: Iterable[tuple[str | zipfile.ZipInfo, bytes]]) -> bytes:
    """Return files as a zip."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in members:
            target.writestr(name, content)
    return file.getvalue()


def tar(members: dict[str, bytes]) -> bytes:
    """Return files as a gzipped tar."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as target:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            target.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def picture(pixels: npt.NDArray[np.uint8], kind: str = "PNG", **how: Any) -> bytes:
    """Return an image [H, W, C] or [H, W] as a file of some kind."""
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, kind, **how)
    return file.getvalue()


def zipped(content: bytes) -> bytes:
    """Return something gzipped."""
    return gzip.compress(content, 1)

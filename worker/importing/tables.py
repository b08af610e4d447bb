"""CSV: a row an image, a label and its pixels.

As the tutorial's MNIST and Kaggle's digit recognizer come: a column of labels anywhere, a header
or none, plain or gzip. pandas parses a few thousand rows at once; a whole chunk is checked with
NumPy, and only where something is wrong is the first wrong cell looked for.
"""

from __future__ import annotations

import codecs
import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shared.limits import Limits
from shared.spec.dataset_import import LARGEST_SIDE, SMALLEST_SIDE, ImportOptions
from worker.importing.build import Chunk
from worker.importing.context import Context
from worker.importing.faults import BadFile, bad
from worker.importing.labels import LabelBook
from worker.importing.sources import Source, buffered

_LABEL_NAMES = frozenset({"label", "labels", "class", "target", "category", "y"})
# Numbers of rows that pandas and spreadsheets write beside the data.
_INDEX_NAMES = frozenset({"", "id", "index", "imageid", "unnamed: 0"})
_CELLS_AT_ONCE = 4_000_000
_COLUMN_CHARACTERS = 64
# A header that only counts has so many columns at least, and so many others at most.
_LEAST_COUNTED, _MOST_UNCOUNTED = 3, 2
_DELIMITERS = ",;\t"
_FIELDS = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


@dataclass(frozen=True)
class Table:
    """What the first line of a CSV tells.

    Attributes:
        source: the file.
        delimiter: between its columns.
        has_header: whether the first line that is not blank names the columns.
        lines_before: lines of the file before the first row: blank ones, and the header.
        columns: their names, or their numbers from 1.
        label: index of the labels' column; None: there is none.
        pixels: indices of the pixels' columns, in order.
    """

    source: Source
    delimiter: str
    has_header: bool
    lines_before: int
    columns: list[str]
    label: int | None
    pixels: list[int]


def read_tables(sources: list[Source], context: Context) -> Iterator[Chunk]:
    """Read the rows of some tables.

    Args:
        sources: the files.
        context: how to read them, and within which bounds.

    Raises:
        BadFile: naming row, column, value and rule.
    """
    options, limits = context.options, context.limits
    book, notes = context.book, context.notes
    tables = [inspect(source, options, limits) for source in sources]
    for done, table in enumerate(_useful(tables, notes)):
        for chunk in _read(table, options, limits, book):
            share = (done + chunk.share) / len(tables)
            yield Chunk(chunk.file, chunk.part, chunk.images, chunk.codes, share)


def inspect(source: Source, options: ImportOptions, limits: Limits) -> Table:
    """Find out from the first line which column is what.

    Raises:
        BadFile: there are too many columns, or it cannot be told which holds the labels.
    """
    line, blank = _first_line(source, limits)
    delimiter = max(_DELIMITERS, key=line.count)
    try:
        (fields,) = csv.reader([line], delimiter=delimiter)
    except (ValueError, csv.Error) as error:
        raise bad(source.name, f"The first line is no line of a CSV: {error}.") from error
    if len(fields) > limits.dataset_columns:
        rule = f"A table may have at most {limits.dataset_columns:,} columns."
        raise bad(source.name, rule, f"{len(fields):,}")
    has_header = _has_header(fields, options)
    columns = fields if has_header else [str(number + 1) for number in range(len(fields))]
    label = _find_label(source, columns, options, has_header=has_header)
    pixels = [
        index
        for index, name in enumerate(columns)
        if index != label
        and not (has_header and index == 0 and name.strip().casefold() in _INDEX_NAMES)
    ]
    before = blank + int(has_header)
    return Table(source, delimiter, has_header, before, columns, label, pixels)


def shape_of(pixels: int, options: ImportOptions) -> tuple[int, int, int] | None:
    """Return height, width and channels of an image of so many pixel values; None: unclear."""
    channels = {"auto": (1, 3), "grey": (1,), "rgb": (3,)}[options.colour]
    for count in channels:
        area, rest = divmod(pixels, count)
        if rest:
            continue
        height, width = options.height, options.width
        if height is None and width is None:
            side = math.isqrt(area)
            height = width = side
        if height is None:
            height = area // (width or 1)
        if width is None:
            width = area // height
        sides_fit = all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in (height, width))
        if height * width == area and sides_fit:
            return height, width, count
    return None


def to_images(
    values: npt.NDArray[np.uint8], shape: tuple[int, int, int], options: ImportOptions
) -> npt.NDArray[np.uint8]:
    """Return rows of pixel values as images [N, H, W, C].

    Args:
        values: uint8 [N, pixels].
        shape: height, width and channels.
        options: whether channels come first, and rows and columns are exchanged.
    """
    height, width, channels = shape
    if options.channels_first and channels > 1:
        images = values.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
    else:
        images = values.reshape(-1, height, width, channels)
    return images.transpose(0, 2, 1, 3) if options.transpose else images


def _first_line(source: Source, limits: Limits) -> tuple[str, int]:
    """Return the first line that is not blank, without its end, and how many are before it."""
    longest = limits.dataset_columns * _COLUMN_CHARACTERS
    blank = 0
    with source.open(limits) as stream, buffered(stream) as file:
        line = file.readline(longest + 1)
        while 0 < len(line) <= longest and _is_blank(line):
            blank += 1
            line = file.readline(longest + 1)
    if len(line) > longest:
        rule = f"A table may have at most {limits.dataset_columns:,} columns."
        raise bad(source.name, rule, f"a first line of more than {longest:,} bytes")
    if not line:
        raise bad(source.name, "A file must not be empty.", "no line")
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise bad(source.name, "A table must be text in UTF-8.", f"{line[:40]!r}") from error
    if "\0" in text:
        raise bad(source.name, "A table must be text.", f"{line[:40]!r}")
    return text.rstrip("\r\n"), blank


def _is_blank(line: bytes) -> bool:
    """Whether pandas passes over a line."""
    return not line.removeprefix(codecs.BOM_UTF8).strip(b" \r\n")


def _has_header(fields: list[str], options: ImportOptions) -> bool:
    if options.header != "auto":
        return options.header == "present"
    numbers = [field for field in fields if _NUMBER.fullmatch(field)]
    least = max(_LEAST_COUNTED, len(fields) - _MOST_UNCOUNTED)
    if len(numbers) >= least and _counts_up(numbers):
        return True
    words = [field for field in fields if field.strip() and not _NUMBER.fullmatch(field)]
    if len(words) == 1:  # a row whose label is a name, or a header of numbers
        return words[0].strip().casefold() in _LABEL_NAMES
    return len(words) > 1


def _counts_up(names: list[str]) -> bool:
    """Whether names are 0, 1, 2 ... or 1, 2, 3 ..., as pandas names columns that have none."""
    return any(names == [*map(str, range(first, first + len(names)))] for first in (0, 1))


def _find_label(
    source: Source, columns: list[str], options: ImportOptions, *, has_header: bool
) -> int | None:
    wanted = options.label_column
    names = [name.strip().casefold() for name in columns]
    if wanted is not None:
        if has_header and wanted.strip().casefold() in names:
            return names.index(wanted.strip().casefold())
        if wanted.strip().isdecimal() and 1 <= int(wanted) <= len(columns):
            return int(wanted) - 1
        known = ", ".join(columns[:5]) + (" ..." if len(columns) > 5 else "")
        rule = f"The label column must be one of the {len(columns):,}: {known}"
        raise bad(source.name, rule.rstrip(".") + ".", wanted)
    first = int(has_header and names[0] in _INDEX_NAMES)
    if not _counts_up(columns[first:]):
        return next((index for index, name in enumerate(names) if name in _LABEL_NAMES), None)
    others = len(columns) - first
    if shape_of(others - 1, options) is None and shape_of(others, options) is not None:
        return None
    return first


def _useful(tables: list[Table], notes: list[str]) -> list[Table]:
    """Leave out what cannot be trained on, as Kaggle's archives bring it along.

    Raises:
        BadFile: nothing is left.
    """
    labelled = [table for table in tables if table.label is not None]
    if not labelled:
        first = tables[0]
        names = ", ".join(first.columns[:3])
        rule = (
            "A table needs a column of labels, called `label` or named in the options. Without a "
            "header it is the first column."
        )
        raise bad(first.source.name, rule, f"{len(first.columns):,} columns: {names} ...")
    most = max(len(table.pixels) for table in labelled)
    useful = []
    for table in tables:
        name = table.source.name
        if table.label is None:
            notes.append(f"{name} has no labels and is left out.")
        elif len(table.pixels) * 8 < most:
            notes.append(f"{name} has {len(table.columns)} columns, no images, and is left out.")
        else:
            useful.append(table)
    return useful


def _read(table: Table, options: ImportOptions, limits: Limits, book: LabelBook) -> Iterator[Chunk]:
    source = table.source
    shape = shape_of(len(table.pixels), options)
    if shape is None:
        rule = (
            "The pixels of a row must make an image: a square one, grey or RGB, or one of the "
            "height and width in the options."
        )
        raise bad(source.name, rule, f"{len(table.pixels):,} columns of pixels")
    assert table.label is not None
    rows = 0
    with source.open(limits) as stream, buffered(stream) as file:
        for frame in _frames(table, file):
            labels = frame[table.label].to_numpy()
            codes = book.encode(
                labels,
                file=source.name,
                column=table.columns[table.label],
                first_row=rows + 1,
            )
            values = _to_bytes(frame[table.pixels], table, rows, options)
            images = to_images(values, shape, options)
            rows += len(frame)
            yield Chunk(source.name, source.part, images, codes, stream.share)
    if not rows:
        raise bad(source.name, "A table must have rows.", "none")


def _frames(table: Table, file: Any) -> Iterator[pd.DataFrame]:
    """Parse the table, some thousand rows at once; the columns are called by their index."""
    try:
        with pd.read_csv(
            file,
            header=None,
            skiprows=table.lines_before,
            sep=table.delimiter,
            dtype={table.label: str},
            na_filter=False,
            low_memory=False,
            encoding="utf-8-sig",
            chunksize=max(1, _CELLS_AT_ONCE // len(table.columns)),
        ) as reader:
            for frame in reader:
                if len(frame.columns) != len(table.columns):
                    rule = f"Every row must have {len(table.columns):,} columns as the first line."
                    raise bad(table.source.name, rule, f"{len(frame.columns):,}", row=1)
                yield frame
    except pd.errors.EmptyDataError:
        return
    except (pd.errors.ParserError, UnicodeDecodeError, csv.Error) as error:
        raise _unparsed(table, error) from error


def _unparsed(table: Table, error: Exception) -> BadFile:
    found = _FIELDS.search(str(error))
    if found is None:
        return bad(table.source.name, f"It is no CSV in UTF-8: {str(error).strip()}.")
    expected, line, saw = (int(number) for number in found.groups())
    rule = f"Every row must have {expected:,} columns as the first line."
    return bad(table.source.name, rule, f"{saw:,}", row=line - table.lines_before)


def _to_bytes(
    frame: pd.DataFrame, table: Table, rows_before: int, options: ImportOptions
) -> npt.NDArray[np.uint8]:
    """Return a chunk's pixels as uint8 [N, pixels].

    Raises:
        BadFile: naming the first value that is none.
    """
    values = frame.to_numpy()
    if values.dtype.kind == "O" or any(kind.kind == "b" for kind in frame.dtypes):
        values = frame.apply(_to_numbers).to_numpy(dtype=np.float64)
    unit = options.pixel_range == "unit"
    if values.dtype.kind in "iu" and not unit:
        good = (values >= 0) & (values <= 255)
    elif unit:
        good = (values >= 0) & (values <= 1)
    else:
        good = (values >= 0) & (values <= 255) & (values == np.floor(values))
    if not good.all():
        row, place = (int(index) for index in np.unravel_index(np.argmin(good), good.shape))
        raise _wrong_pixel(frame, table, row, place, rows_before, unit=unit)
    if unit:
        values = np.rint(values * 255)
    return values.astype(np.uint8)


def _to_numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    if column.dtype.kind == "b":  # True and False are no pixels
        return pd.Series(np.nan, index=column.index)
    return pd.to_numeric(column, errors="coerce")


def _wrong_pixel(
    frame: pd.DataFrame, table: Table, row: int, place: int, rows_before: int, *, unit: bool
) -> BadFile:
    value = frame.iat[row, place]
    if isinstance(value, float) and math.isnan(value):
        value = ""
    rule = (
        "A pixel must be a number from 0 to 1."
        if unit
        else ("A pixel must be a whole number from 0 to 255.")
    )
    if not unit and isinstance(value, float) and 0 < value < 1:
        rule += " If pixels go from 0 to 1, choose that pixel range."
    return bad(
        table.source.name,
        rule,
        "nothing" if str(value).strip() == "" else value,
        row=rows_before + row + 1,
        column=table.columns[table.pixels[place]],
    )

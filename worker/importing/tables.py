"""CSV: a row an image, a label and its pixels.

As the tutorial's MNIST and Kaggle's digit recognizer come: a column of labels anywhere, a header
or none, plain or gzip. pandas parses a few thousand rows at once; a whole chunk is checked with
NumPy, and only where something is wrong is the first wrong cell looked for.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shared.limits import Limits
from shared.spec.dataset_import import ImportOptions
from worker.importing.build import Chunk
from worker.importing.context import Context
from worker.importing.faults import BadFile, bad, shown
from worker.importing.headers import NOT_UTF8, Table, inspect, is_blank
from worker.importing.shapes import shape_of, to_images
from worker.importing.sources import Source, buffered

_CELLS_AT_ONCE = 4_000_000
_SHOWN_BYTES = 200
_MARKUP = ("<!doctype", "<html", "<head", "<?xml")
_FIELDS = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")


def read_tables(sources: list[Source], context: Context) -> Iterator[Chunk]:
    """Read the rows of some tables.

    Args:
        sources: the files.
        context: how to read them, and within which bounds.

    Raises:
        BadFile: naming row, column, value and rule.
    """
    options, limits = context.options, context.limits
    tables = [inspect(source, options, limits) for source in sources]
    for done, table in enumerate(_useful(tables, context.notes)):
        for chunk in _read(table, context):
            share = (done + chunk.share) / len(tables)
            yield Chunk(chunk.file, chunk.part, chunk.images, chunk.codes, share)


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


def _read(table: Table, context: Context) -> Iterator[Chunk]:
    options, limits, source = context.options, context.limits, table.source
    shape = shape_of(len(table.pixels), options)
    if len(table.columns) == 1:
        raise _undivided(table, limits)
    if shape is None:
        rule = (
            "The pixels of a row must make an image: a square one, grey or RGB, or one of the "
            "height and width in the options."
        )
        raise bad(source.name, rule, f"{len(table.pixels):,} columns of pixels")
    assert table.label is not None
    if table.reordered:
        context.notes.append(
            f"{shown(source.name)}: the columns of pixels are taken by their numbers."
        )
    rows = 0
    with source.open(limits) as stream, buffered(stream) as file:
        for frame in _frames(table, file, limits):
            labels = frame[table.label].to_numpy()
            codes = context.book.encode(
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


def _frames(table: Table, file: Any, limits: Limits) -> Iterator[pd.DataFrame]:
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
        raise _unparsed(table, error, limits) from error


def _undivided(table: Table, limits: Limits) -> BadFile:
    """Return the error of a table of one column, which may be a page of HTML."""
    head = table.source.head(limits, _SHOWN_BYTES).decode(errors="replace")
    rule = "The columns of a table must be separated by comma, semicolon or tab."
    if head.lstrip("\ufeff \r\n").lower().startswith(_MARKUP):
        rule = "It must be a table; this is a page, as servers send to those who must sign in."
    return bad(table.source.name, rule, head.strip())


def _unparsed(table: Table, error: Exception, limits: Limits) -> BadFile:
    """Return the error of what pandas cannot parse, with its row if that can be had."""
    if isinstance(error, UnicodeDecodeError):
        return _not_utf8(table, limits)
    found = _FIELDS.search(str(error))
    if found is None:
        return bad(table.source.name, f"It is no CSV: {str(error).strip().rstrip('.')}.")
    expected, line, saw = (int(number) for number in found.groups())
    rule = f"Every row must have {expected:,} columns as the first line."
    row = next((row for number, row, _ in _rows(table, limits) if number == line), None)
    return bad(table.source.name, rule, f"{saw:,}", row=row)


def _not_utf8(table: Table, limits: Limits) -> BadFile:
    for _, row, line in _rows(table, limits):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            cells = line[: error.start].split(table.delimiter.encode())
            cell = cells[-1] + line[error.start :].split(table.delimiter.encode())[0]
            column = table.columns[min(len(cells), len(table.columns)) - 1]
            return bad(table.source.name, NOT_UTF8, cell.strip(), row=row, column=column)
    return bad(table.source.name, NOT_UTF8)


def _rows(table: Table, limits: Limits) -> Iterator[tuple[int, int, bytes]]:
    """Yield each line behind the header: its number in the file, that of its row, and itself."""
    row = 0
    with table.source.open(limits) as stream, buffered(stream) as file:
        for number, line in enumerate(file, start=1):
            if number > table.lines_before:
                row += not is_blank(line)
                yield number, row, line


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

"""The first line of a CSV: what stands between its columns, and which of them is what."""

from __future__ import annotations

import codecs
import csv
import re
from dataclasses import dataclass

from shared.limits import Limits
from shared.spec.dataset_import import ImportOptions
from worker.importing.faults import bad
from worker.importing.shapes import shape_of
from worker.importing.sources import Source, buffered

_LABEL_NAMES = frozenset({"label", "labels", "class", "target", "category", "y"})
# Numbers of rows that pandas and spreadsheets write beside the data.
_INDEX_NAMES = frozenset({"", "id", "index", "imageid", "unnamed: 0"})
_COLUMN_CHARACTERS = 64
# A header that only counts has so many columns at least, and so many others at most.
_LEAST_COUNTED, _MOST_UNCOUNTED = 3, 2
_DELIMITERS = ",;\t"
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
NOT_UTF8 = "A table must be text in UTF-8: save it as UTF-8."
_NUMBERED = re.compile(r"(\D*)([0-9]{1,9})")


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
        reordered: whether that is not the order in which they stand.
    """

    source: Source
    delimiter: str
    has_header: bool
    lines_before: int
    columns: list[str]
    label: int | None
    pixels: list[int]
    reordered: bool


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
    ordered = _by_number(columns, pixels)
    reordered = ordered != pixels
    return Table(source, delimiter, has_header, before, columns, label, ordered, reordered)


def is_blank(line: bytes) -> bool:
    """Whether pandas passes over a line."""
    return not line.removeprefix(codecs.BOM_UTF8).strip(b" \r\n")


def _first_line(source: Source, limits: Limits) -> tuple[str, int]:
    """Return the first line that is not blank, without its end, and how many are before it."""
    longest = limits.dataset_columns * _COLUMN_CHARACTERS
    blank = 0
    with source.open(limits) as stream, buffered(stream) as file:
        line = file.readline(longest + 1)
        while 0 < len(line) <= longest and is_blank(line):
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
        raise bad(source.name, NOT_UTF8, f"{line[:40]!r}") from error
    if "\0" in text:
        raise bad(source.name, "A table must be text.", f"{line[:40]!r}")
    return text.rstrip("\r\n"), blank


def _has_header(fields: list[str], options: ImportOptions) -> bool:
    if options.header != "auto":
        return options.header == "present"
    numbers = [field for field in fields if _NUMBER.fullmatch(field)]
    least = max(_LEAST_COUNTED, len(fields) - _MOST_UNCOUNTED)
    by_number = sorted(numbers, key=lambda number: (len(number), number))
    if len(numbers) >= least and _counts_up(by_number):
        return True
    words = [field for field in fields if field.strip() and not _NUMBER.fullmatch(field)]
    if len(words) == 1:  # a row whose label is a name, which `y` may be; or a header of one name
        return not numbers and words[0].strip().casefold() in _LABEL_NAMES
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


def _by_number(columns: list[str], pixels: list[int]) -> list[int]:
    """Return the pixels' columns by the numbers in their names, if one word and a number is all.

    Sorted as texts, `pixel10` would come before `pixel2`.
    """
    found = [_NUMBERED.fullmatch(columns[index].strip()) for index in pixels]
    names = {
        index: (name[1], int(name[2])) for index, name in zip(pixels, found, strict=True) if name
    }
    words = {word for word, _ in names.values()}
    if not all(found) or len(words) != 1 or len(set(names.values())) != len(pixels):
        return pixels
    return sorted(pixels, key=names.__getitem__)

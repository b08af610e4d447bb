"""CSV: whatever stands in a table, it is read as pandas reads it, or refused at the right cell."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import hypothesis
import numpy as np
import pandas as pd
from hypothesis import strategies as st

from tests.sent_files import read_files, refusal, zipped

_PIXELS = 64
_NUMBERS = st.integers(0, 255).map(str)
_SPELLINGS = st.one_of(
    _NUMBERS,
    _NUMBERS.map(lambda text: f"{text}.0"),
    _NUMBERS.map(lambda text: f" {text}"),
    _NUMBERS.map(lambda text: f'"{text}"'),
    _NUMBERS.map(lambda text: f"{text}e0"),
    _NUMBERS.map(lambda text: f"0{text}"),
)
_ODDITIES = st.sampled_from(["", "x", "-1", "256", "1.5", "nan", "1e3", "NA", "inf", "--1"])
_LABELS = st.sampled_from(["0", "1", "7", "cat", "NA", "null", "3.0", "y"])


@dataclass(frozen=True)
class Written:
    """A table as text, and how it was written.

    Attributes:
        text: the table.
        separator: between its columns.
        header: whether it has one.
        label_at: index of the labels' column.
    """

    text: str
    separator: str
    header: bool
    label_at: int

    def by_pandas(self) -> tuple[pd.Series, pd.DataFrame]:
        """Return labels and pixels as texts."""
        frame = pd.read_csv(
            io.StringIO(self.text),
            sep=self.separator,
            header=0 if self.header else None,
            dtype=str,
            na_filter=False,
        )
        column = frame.columns[self.label_at]
        return frame[column], frame.drop(columns=column)

    @property
    def options(self) -> dict[str, Any]:
        """What says outright which column and line are what."""
        return {
            "label_column": str(self.label_at + 1),
            "header": "present" if self.header else "absent",
        }


@st.composite
def tables(draw: st.DrawFn, *, auto: bool, sound: bool = False) -> Written:
    """Draw a table.

    Args:
        draw: by Hypothesis.
        auto: whether it says itself what is what.
        sound: whether all pixels are.
    """
    count = draw(st.integers(6, 12))
    values = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, (count, _PIXELS))
    rows = [[str(value) for value in row] for row in values]
    place = st.tuples(st.integers(0, count - 1), st.integers(0, _PIXELS - 1))
    for (row, column), text in draw(st.lists(st.tuples(place, _SPELLINGS), max_size=6)):
        rows[row][column] = text
    labels = draw(st.lists(_LABELS, min_size=count, max_size=count))
    hypothesis.assume(len({label.split(".")[0] for label in labels}) > 1)
    header = draw(st.booleans())
    if not sound and draw(st.booleans()):
        row, column = draw(place)
        # Of a table without a header, a first line with two words would be one.
        rows[max(row, int(auto and not header))][column] = draw(_ODDITIES)
    label_at = draw(st.integers(0, _PIXELS)) if header or not auto else 0
    lines = [[f"p{index}" for index in range(_PIXELS)]] if header else []
    if header:
        names = ["label", "Class", " target ", "Y"] if auto else ["label"]
        lines[0].insert(label_at, draw(st.sampled_from(names)))
    for label, pixels in zip(labels, rows, strict=True):
        lines.append([*pixels[:label_at], label, *pixels[label_at:]])
    separator = draw(st.sampled_from([",", ";", "\t"]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = end.join([*(separator.join(line) for line in lines), ""])
    return Written(text, separator, header, label_at)


def check(written: Written, folder: Path, *, packed: bool, chunk_rows: int, **options: Any) -> None:
    """Compare what is read, or where it is refused, with what pandas reads."""
    labels, pixels = written.by_pandas()
    values = pixels.apply(pd.to_numeric, errors="coerce").to_numpy(float)
    sound = np.isfinite(values) & (values >= 0) & (values <= 255) & (values == np.floor(values))
    content = written.text.encode()
    files = {"a.csv": zipped(content) if packed else content}
    with patch("worker.importing.tables._CELLS_AT_ONCE", chunk_rows * (_PIXELS + 1)):
        if not sound.all():
            row, place = np.unravel_index(np.argmin(sound), sound.shape)
            name = pixels.columns[int(place)]
            shown = name if written.header else int(name) + 1
            words = refusal(folder, files, **options)
            assert words.startswith(f"a.csv, row {row + 1}, column {shown}: A pixel must be")
            return
        reading = read_files(folder, files, **options, test_fraction=0.4)
    found = sorted(
        (reading.done.classes[label], image.reshape(-1).tolist())
        for image, label in zip(*reading.both, strict=True)
    )
    expected = sorted(
        (str(label).strip().removesuffix(".0"), row.astype(int).tolist())
        for label, row in zip(labels, values, strict=True)
    )
    assert found == expected


_SETTINGS = hypothesis.settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)


@hypothesis.given(table=tables(auto=False), packed=st.booleans(), chunk_rows=st.integers(1, 13))
@_SETTINGS
def test_what_is_read_is_what_pandas_reads(
    table: Written, packed: bool, chunk_rows: int, tmp_path: Path
) -> None:
    check(table, tmp_path, packed=packed, chunk_rows=chunk_rows, **table.options)


@hypothesis.given(table=tables(auto=True), packed=st.booleans(), chunk_rows=st.integers(1, 13))
@_SETTINGS
def test_header_labels_and_separator_are_found_out(
    table: Written, packed: bool, chunk_rows: int, tmp_path: Path
) -> None:
    check(table, tmp_path, packed=packed, chunk_rows=chunk_rows)


@hypothesis.given(
    table=tables(auto=False, sound=True),
    at=st.integers(0, 5),
    more=st.integers(1, 3),
    blank_before=st.integers(0, 6),
    chunk_rows=st.integers(1, 13),
)
@_SETTINGS
def test_a_row_with_more_columns_is_refused_at_its_number(
    table: Written,
    at: int,
    more: int,
    blank_before: int,
    chunk_rows: int,
    tmp_path: Path,
) -> None:
    lines = table.text.splitlines()
    first = int(table.header)
    hypothesis.assume(first or at)  # without a header, the first row says how many there are
    lines[first + at] += f"{table.separator}1" * more
    lines.insert(blank_before, "")
    content = "\n".join([*lines, ""]).encode()
    with patch("worker.importing.tables._CELLS_AT_ONCE", chunk_rows * (_PIXELS + 1)):
        words = refusal(tmp_path, {"a.csv": content}, **table.options)
    assert words == (
        f"a.csv, row {at + 1}: Every row must have 65 columns as the first line. "
        f"Received: {65 + more}."
    )

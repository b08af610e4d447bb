"""CSV: whatever stands in a table, it is read as pandas reads it, or refused at the right cell."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pandas as pd
from hypothesis import strategies as st

from tests.sent_files import read_files, refusal

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
_LABELS = st.sampled_from(["0", "1", "7", "cat", "NA", "null", "3.0"])


@hypothesis.given(
    rows=st.lists(
        st.tuples(_LABELS, st.lists(_SPELLINGS, min_size=64, max_size=64)), min_size=6, max_size=12
    ),
    oddity=st.none() | st.tuples(st.integers(0, 5), st.integers(0, 63), _ODDITIES),
    label_at=st.integers(0, 64),
    header=st.booleans(),
    end=st.sampled_from(["\n", "\r\n"]),
)
@hypothesis.settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
def test_what_is_read_is_what_pandas_reads(
    rows: list[tuple[str, list[str]]],
    oddity: tuple[int, int, str] | None,
    label_at: int,
    header: bool,
    end: str,
    tmp_path: Path,
) -> None:
    hypothesis.assume(len({label.split(".")[0] for label, _ in rows}) > 1)
    if oddity is not None:
        rows[oddity[0]][1][oddity[1]] = oddity[2]
    lines = []
    if header:
        names = [f"p{index}" for index in range(64)]
        names.insert(label_at, "label")
        lines.append(",".join(names))
    for label, pixels in rows:
        cells = list(pixels)
        cells.insert(label_at, label)
        lines.append(",".join(cells))
    text = end.join([*lines, ""])

    frame = pd.read_csv(io.StringIO(text), header=0 if header else None, dtype=str, na_filter=False)
    column = frame.columns[label_at]
    values = frame.drop(columns=column).apply(pd.to_numeric, errors="coerce").to_numpy(float)
    sound = np.isfinite(values) & (values >= 0) & (values <= 255) & (values == np.floor(values))

    options: dict[str, Any] = {
        "label_column": str(label_at + 1),
        "header": "present" if header else "absent",
    }
    if not sound.all():
        row, place = np.unravel_index(np.argmin(sound), sound.shape)
        words = refusal(tmp_path, {"a.csv": text.encode()}, **options)
        name = frame.columns.drop(column)[int(place)]
        shown = name if header else int(name) + 1
        assert words.startswith(f"a.csv, row {row + 1}, column {shown}: A pixel must be")
        return
    reading = read_files(tmp_path, {"a.csv": text.encode()}, **options, test_fraction=0.4)
    images, labels = reading.both
    found = sorted(
        (reading.done.classes[label], image.reshape(-1).tolist())
        for label, image in zip(labels, images, strict=True)
    )
    expected = sorted(
        (str(label).removesuffix(".0"), row.astype(int).tolist())
        for label, row in zip(frame[column], values, strict=True)
    )
    assert found == expected

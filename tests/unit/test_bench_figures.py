"""The table of the benches says the truth about what it was given."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.bench.figures import Figure, percentile, print_table


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([3.0], 95, 3.0),
        ([1.0, 2.0, 3.0, 4.0], 50, 2.0),
        ([float(n) for n in range(1, 21)], 95, 19.0),
        ([float(n) for n in range(1, 101)], 95, 95.0),
        ([5.0, 1.0, 3.0], 100, 5.0),
    ],
)
def test_a_percentile_is_the_nearest_rank(
    values: list[float], percent: float, expected: float
) -> None:
    assert percentile(values, percent) == expected


def test_a_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        percentile([], 95)


def test_a_figure_at_its_limit_is_not_held() -> None:
    assert not Figure("x", 1.0, "s", 1.0).held
    assert Figure("x", 0.99, "s", 1.0).held
    assert Figure("x", 1e9, "s", None).held


def test_the_table_names_what_is_not_held() -> None:
    output = io.StringIO()
    figures = [Figure("quick", 0.5, "s", 1.0), Figure("slow", 2.0, "s", 1.0), Figure("n", 7, "", 9)]
    print_table(figures, Console(file=output, width=120))
    rows = {line.split()[1]: line for line in output.getvalue().splitlines() if "│" in line}
    assert "yes" in rows["quick"]
    assert "NO" in rows["slow"]
    assert "2 s" in rows["slow"]
    assert "< 1 s" in rows["slow"]

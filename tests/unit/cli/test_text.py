"""Values as short text."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shared.cli import text

NOON = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, "-"),
        (-0.01, "0.0s"),
        (4.24, "4.2s"),
        (59.4, "59s"),
        (59.6, "1m 00s"),
        (187, "3m 07s"),
        (3599.7, "1h 00m"),
        (7500, "2h 05m"),
        (86400, "1d 00h"),
        (273600, "3d 04h"),
    ],
)
def test_a_duration_shows_its_two_largest_units(seconds: float | None, expected: str) -> None:
    assert text.duration(seconds) == expected


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        (None, "-"),
        ("2026-05-04T11:59:48.000Z", "12s"),
        ("2026-05-04T13:55:00.000+02:00", "5m"),
        ("2026-05-04T07:00:00.000Z", "5h"),
        ("2026-05-01T12:00:00.000Z", "3d"),
        ("2026-05-04T12:00:03.000Z", "0s"),
    ],
)
def test_an_age_shows_its_largest_unit_and_is_never_negative(
    since: str | None, expected: str
) -> None:
    assert text.age(since, NOON) == expected


def test_shares_numbers_and_sizes_are_rounded_for_reading() -> None:
    assert text.percent(0.98765) == "98.77%"
    assert text.percent(None) == "-"
    assert text.number(0.00081) == "0.00081"
    assert text.number(None) == "-"
    assert text.size(812) == "812 B"
    assert text.size(1_440_000) == "1.4 MB"


def test_a_sparkline_runs_from_the_lowest_to_the_highest_block() -> None:
    assert text.sparkline([0.1, 0.2, 0.8]) == "▁▂█"


def test_a_sparkline_of_many_values_keeps_the_first_and_the_last() -> None:
    line = text.sparkline([*range(64)], width=8)
    assert line == "▁▂▃▄▅▆▇█"


def test_a_sparkline_of_equal_values_is_flat_and_skips_what_is_not_finite() -> None:
    assert text.sparkline([0.5, float("nan"), 0.5]) == "▁▁"
    assert text.sparkline([]) == ""

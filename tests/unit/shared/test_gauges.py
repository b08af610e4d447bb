"""How points of gauges become fewer."""

from __future__ import annotations

import math

import pytest

from shared.gauges import Point, halve, merge, plausible, usual_span_seconds


def points(count: int, *, attempt: int = 1, span_seconds: float = 2.0) -> list[Point]:
    return [
        Point(attempt, round(span_seconds * n), span_seconds, cpu_percent=float(n), memory_bytes=n)
        for n in range(1, count + 1)
    ]


def test_load_is_averaged_over_time_and_what_may_run_out_counts_at_its_highest() -> None:
    first = Point(1, 2, 2.0, 100.0, 900, gpu_percent=10.0, gpu_celsius=70.0, gpu_watts=50.0)
    second = Point(1, 8, 6.0, 200.0, 800, gpu_percent=90.0, gpu_celsius=60.0, gpu_watts=250.0)

    assert merge(first, second) == Point(
        1, 8, 8.0, 175.0, 900, gpu_percent=70.0, gpu_celsius=70.0, gpu_watts=200.0
    )


def test_a_figure_that_one_of_both_lacks_is_the_others() -> None:
    merged = merge(Point(1, 2, 2.0, 50.0), Point(1, 4, 2.0, None, 7))
    assert (merged.cpu_percent, merged.memory_bytes, merged.gpu_watts) == (50.0, 7, None)


def test_thinning_halves_and_keeps_end_time_mean_and_peak() -> None:
    thinned = halve(points(9))

    assert [point.second for point in thinned] == [4, 8, 12, 16, 18]
    assert [point.span_seconds for point in thinned] == [4, 4, 4, 4, 2]
    assert [point.cpu_percent for point in thinned] == [1.5, 3.5, 5.5, 7.5, 9.0]
    assert [point.memory_bytes for point in thinned] == [2, 4, 6, 8, 9]
    assert halve(thinned)[-1].second == 18


def test_attempts_are_never_merged() -> None:
    thinned = halve([*points(3), *points(1, attempt=2)])
    assert [(point.attempt, point.second) for point in thinned] == [(1, 4), (1, 6), (2, 2)]


def test_one_sample_that_came_late_does_not_make_all_others_longer() -> None:
    late = Point(1, 40, 24.0)
    assert usual_span_seconds([*points(8), late]) == 2.0
    assert usual_span_seconds([]) == 0.0


def test_nothing_stays_nothing() -> None:
    assert halve([]) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 2.0**64 - 1])
def test_what_no_machine_can_show_is_not_plausible(value: float) -> None:
    assert not plausible(value)


def test_zero_and_a_terabyte_are_plausible() -> None:
    assert plausible(0)
    assert plausible(2**40)

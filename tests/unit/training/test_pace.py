"""How many steps a call takes."""

from __future__ import annotations

from worker.training.pace import Pace


def settle(pace: Pace, seconds_a_step: float) -> list[int]:
    calls = []
    for _ in range(8):
        calls.append(pace.steps)
        pace.record(pace.steps, pace.steps * seconds_a_step)
    return calls


def test_the_first_call_takes_one_step() -> None:
    assert Pace(1.0).steps == 1


def test_calls_grow_until_they_last_as_long_as_they_should() -> None:
    assert settle(Pace(1.0), 0.01) == [1, 4, 16, 64, 100, 100, 100, 100]


def test_slow_steps_go_one_by_one() -> None:
    assert settle(Pace(1.0), 3.0) == [1] * 8


def test_a_slower_machine_shortens_the_next_call_at_once() -> None:
    pace = Pace(1.0)
    settle(pace, 0.01)
    pace.record(100, 10.0)
    assert pace.steps == 10


def test_a_call_too_short_to_measure_does_no_harm() -> None:
    pace = Pace(1.0)
    pace.record(1, 0.0)
    assert pace.steps == 4

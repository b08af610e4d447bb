"""Counts that are kept for as long as they were costly."""

from __future__ import annotations

from typing import Any, cast

import pytest
from sqlalchemy.orm import Session

from web.counts import StatusCounts

SESSION = cast(Session, None)


class Yard:
    """Counts that take time, on a clock that stands still otherwise."""

    def __init__(self, seconds: float) -> None:
        self.now = 0.0
        self.seconds = seconds
        self.counted = 0

    def count(self, _session: Any) -> dict[str, int]:
        """Count, slowly."""
        self.now += self.seconds
        self.counted += 1
        return {"queued": self.counted}

    def clock(self) -> float:
        """Tell the time."""
        return self.now


@pytest.mark.parametrize(
    ("cost_seconds", "kept_seconds"),
    [
        pytest.param(0.001, 1.0, id="a quick count"),
        pytest.param(5.0, 10.0, id="one that a busy machine made slow"),
    ],
)
def test_a_count_is_no_older_than(cost_seconds: float, kept_seconds: float) -> None:
    yard = Yard(cost_seconds)
    counts = StatusCounts(yard.count, yard.clock)
    assert counts.read(SESSION) == {"queued": 1}
    yard.now += kept_seconds - 0.1
    assert counts.read(SESSION) == {"queued": 1}
    yard.now += 0.2
    assert counts.read(SESSION) == {"queued": 2}


def test_a_slow_count_takes_a_small_share_of_the_time() -> None:
    yard = Yard(0.1)
    counts = StatusCounts(yard.count, yard.clock)
    while yard.now < 100:
        counts.read(SESSION)
        yard.now += 0.05
    assert yard.counted * yard.seconds < 0.03 * yard.now

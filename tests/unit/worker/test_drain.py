"""One grace time for all that a stopping worker does."""

from __future__ import annotations

import pytest

from worker.drain import Drain, StopOrder


class Clock:
    """Seconds that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        """Return them."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def drain(clock: Clock) -> Drain:
    return Drain(10.0, clock)


def test_nothing_is_left_or_over_while_nothing_drains(drain: Drain) -> None:
    assert drain.left() is None


def test_the_grace_time_counts_from_the_first_word(drain: Drain, clock: Clock) -> None:
    drain.set()
    clock.now += 4
    drain.set()
    assert drain.left() == 6
    clock.now += 60
    assert drain.left() == 0
    assert drain.left(2.0) == 2


def test_a_drain_that_was_taken_back_uses_up_nothing_of_the_next(
    drain: Drain, clock: Clock
) -> None:
    drain.set()
    clock.now += 60
    drain.clear()
    assert drain.left() is None
    drain.set()
    assert drain.left() == 10


def test_a_pause_may_take_the_whole_grace_time(drain: Drain, clock: Clock) -> None:
    order = StopOrder(pause=True, given_at=clock.now)
    assert not order.is_overdue(drain, clock.now + 10)
    assert order.is_overdue(drain, clock.now + 10.1)


def test_a_draining_worker_leaves_time_to_store_and_record(drain: Drain, clock: Clock) -> None:
    order = StopOrder(pause=False, given_at=clock.now)
    drain.set()
    clock.now += 6.9
    assert not order.is_overdue(drain, clock.now)
    clock.now += 0.2
    assert order.is_overdue(drain, clock.now)


def test_a_pause_ends_sooner_once_the_worker_drains_and_never_later(
    drain: Drain, clock: Clock
) -> None:
    order = StopOrder(pause=True, given_at=clock.now)
    clock.now += 5
    drain.set()
    assert not order.is_overdue(drain, clock.now)
    clock.now += 5.1
    assert order.is_overdue(drain, clock.now)


def test_an_order_outlives_a_drain_that_was_taken_back_and_ends(drain: Drain, clock: Clock) -> None:
    order = StopOrder(pause=False, given_at=clock.now)
    drain.set()
    clock.now += 8
    drain.clear()
    assert not order.is_overdue(drain, clock.now)
    assert order.is_overdue(drain, clock.now + 2.1)

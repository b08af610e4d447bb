"""The watchdog tells a deaf consumer from one that has nothing to hear."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from shared.errors import QueueUnavailable
from worker.watchdog import Watchdog


class Yard:
    """Host, bell, consumer and clock of the watchdog."""

    def __init__(self) -> None:
        self.has_free_slot = True
        self.messages = 1
        self.away = False
        self.now = 100.0
        self.worked = threading.Event()
        self.reconnects = 0
        self.yard = SimpleNamespace(settings=SimpleNamespace(queue_names=["a", "b"]))
        self.watchdog = Watchdog(
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            self.reconnect,
            patience_seconds=10,
            clock=lambda: self.now,
        )

    def work(self) -> None:
        """Be called in the consumer's place."""
        self.worked.set()

    def waiting(self, queue: str) -> int:
        """Return the messages, all in one queue."""
        if self.away:
            raise QueueUnavailable("Redis did not answer.")
        return self.messages if queue == "b" else 0

    def reconnect(self) -> None:
        """Count."""
        self.reconnects += 1

    def look_after(self, seconds: float) -> bool:
        """Look again after a while."""
        self.now += seconds
        return self.watchdog.look()


@pytest.fixture
def yard() -> Yard:
    return Yard()


def test_a_message_that_waits_beside_a_free_slot_shows_a_deaf_consumer(yard: Yard) -> None:
    assert [yard.look_after(seconds) for seconds in (0, 9.9, 0.1)] == [False, False, True]
    assert yard.worked.wait(60)
    assert yard.reconnects == 1
    assert [yard.look_after(seconds) for seconds in (0, 9.9, 0.1)] == [False, False, True]


@pytest.mark.parametrize(
    ("field", "value"), [("has_free_slot", False), ("messages", 0), ("away", True)]
)
def test_patience_begins_anew_when_nothing_can_be_heard(
    yard: Yard, field: str, value: object
) -> None:
    before = getattr(yard, field)
    assert not yard.look_after(0)
    setattr(yard, field, value)
    assert not yard.look_after(20)
    setattr(yard, field, before)
    assert not yard.look_after(9)
    assert not yard.look_after(9)
    assert yard.reconnects == 0

"""Whether a worker hands back what it does, and how much of its grace time is left for that."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

# Of the grace time, what a trainer may take to save; the rest is for storing and recording.
_TRAINERS_SHARE = 0.7


class Drain(threading.Event):
    """Set while a worker hands back what it does and takes nothing new; knows since when.

    One for the whole worker: trainers, store, records and imports share one grace time.

    Args:
        grace_seconds: how long handing back may take.
        clock: seconds, monotonic.
    """

    def __init__(self, grace_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.grace_seconds = grace_seconds
        self._clock = clock
        self._since: float | None = None

    def set(self) -> None:
        """Begin, unless it has begun; safe in a signal handler."""
        if self._since is None:
            self._since = self._clock()
        super().set()

    def clear(self) -> None:
        """End: the next one has the whole grace time again."""
        super().clear()
        self._since = None

    def left(self, least_seconds: float = 0.0) -> float | None:
        """Return the seconds of grace that are left, or `least_seconds`; None if nothing drains."""
        since = self._since
        if since is None or not self.is_set():
            return None
        return max(since + self.grace_seconds - self._clock(), least_seconds)


@dataclass(frozen=True)
class StopOrder:
    """The order to a trainer to save itself and end.

    Attributes:
        pause: whether somebody wants the job to rest; if not, the worker drains.
        given_at: when, by the clock of `time.monotonic`.
    """

    pause: bool
    given_at: float

    def is_overdue(self, drain: Drain, now: float) -> bool:
        """Return whether the trainer has had its time.

        A pause may take the whole grace time; while the worker drains, part of what is left
        belongs to storing and recording.
        """
        left = drain.left()
        if left is not None and left < drain.grace_seconds * (1 - _TRAINERS_SHARE):
            return True
        return now > self.given_at + drain.grace_seconds

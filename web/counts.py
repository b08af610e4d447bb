"""Jobs by status, counted now and then: a count reads a whole index, and everybody asks for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from sqlalchemy.orm import Session

from shared.queries import count_by_status

_LEAST_SECONDS = 1.0
# A count may take one part in this many of the time: a million jobs are counted every few seconds.
_SHARE = 50
# It may be a busy machine that made it slow.
_MOST_SECONDS = 10.0


class StatusCounts:
    """The newest count, kept the longer the costlier it was, for ten seconds at most.

    Args:
        count: counts, through a reading session.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        count: Callable[[Session], dict[str, int]] = count_by_status,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._count = count
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._good_until = float("-inf")

    def read(self, session: Session) -> dict[str, int]:
        """Return the number of jobs of every status."""
        with self._lock:
            began = self._clock()
            if began >= self._good_until:
                self._counts = self._count(session)
                ended = self._clock()
                self._good_until = ended + _kept_seconds(ended - began)
            return dict(self._counts)


def _kept_seconds(cost_seconds: float) -> float:
    return min(max(_LEAST_SECONDS, _SHARE * cost_seconds), _MOST_SECONDS)

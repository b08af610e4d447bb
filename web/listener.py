"""The live channel as the hub hears it: messages while Redis is there, patience while it is not."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import redis

from shared.live import Message, Subscriber

_RECONNECT_SECONDS = 3.0

log = logging.getLogger(__name__)


class Listener:
    """Receives live messages; for one thread.

    Args:
        redis_url: where from.
        stop: ends every waiting.
        clock: seconds, monotonic.
    """

    def __init__(self, redis_url: str, stop: threading.Event, clock: Callable[[], float]) -> None:
        self._redis_url = redis_url
        self._stop = stop
        self._clock = clock
        self._subscriber: Subscriber | None = None
        self._next_try = 0.0

    @property
    def connected(self) -> bool:
        """Whether messages come."""
        return self._subscriber is not None

    def receive(self, seconds: float) -> Iterator[Message]:
        """Yield what comes, for about `seconds`."""
        if self._subscriber is None:
            self._connect()
        if self._subscriber is None:
            self._stop.wait(seconds)
            return
        until = self._clock() + seconds
        try:
            for message in self._subscriber.messages(seconds):
                yield message
                if self._clock() >= until:
                    return
        except (redis.RedisError, OSError) as error:
            log.warning("Live messages stop, Redis is away: %s", error)
            self.close()

    def close(self) -> None:
        """Close the connection; the next `receive` opens another."""
        if self._subscriber is not None:
            self._subscriber.close()
        self._subscriber = None

    def _connect(self) -> None:
        if self._clock() < self._next_try:
            return
        subscriber = Subscriber(self._redis_url)
        try:
            subscriber.subscribe()
        except (redis.RedisError, OSError):
            subscriber.close()
            self._next_try = self._clock() + _RECONNECT_SECONDS
        else:
            self._subscriber = subscriber

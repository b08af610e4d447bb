"""The live channel: what happens right now, from workers to open pages, over Redis pub/sub.

Nothing depends on it: a message that is lost is in SQL as well, at the latest with the next
heartbeat. So publishing never raises and never waits long.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import redis

from shared.queue import connect

CHANNEL = "trainyard:live"
_TIMEOUT_SECONDS = 0.5
# While Redis is away, do not spend a time-out on every message.
_PAUSE_AFTER_FAILURE_SECONDS = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Message:
    """One live message.

    Attributes:
        job_id: the job it is about.
        type: `progress`, `epoch`, `gauge`, `log`, or `job`: the job's row changed, read it from
            SQL.
        data: a JSON-compatible dict; empty for `job`.
    """

    job_id: int
    type: str
    data: dict[str, Any]


class Publisher:
    """Publishes live messages; a failure is logged once and otherwise ignored.

    Args:
        redis_url: where to.
        clock: seconds, monotonic.
        timeout_seconds: how long a message may take.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
        self._redis = connect(redis_url, timeout_seconds=timeout_seconds)
        self._clock = clock
        self._silent_until = 0.0

    def publish(self, job_id: int, type: str, data: dict[str, Any] | None = None) -> None:
        """Publish one message, if Redis is there."""
        if self._clock() < self._silent_until:
            return
        body = json.dumps({"job_id": job_id, "type": type, "data": data or {}})
        try:
            self._redis.publish(CHANNEL, body)
        except (redis.RedisError, OSError) as error:
            if self._silent_until == 0.0:
                log.warning("Live updates pause, Redis is away: %s", error)
            self._silent_until = self._clock() + _PAUSE_AFTER_FAILURE_SECONDS
        else:
            self._silent_until = 0.0

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()


class Subscriber:
    """Receives live messages on a connection of its own."""

    def __init__(self, redis_url: str) -> None:
        self._redis = connect(redis_url, timeout_seconds=10.0, health_check_interval=5)
        self._pubsub = self._redis.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]

    def subscribe(self) -> None:
        """Subscribe, and return when the server has confirmed.

        Raises:
            redis.RedisError: Redis is away.
        """
        self._pubsub.subscribe(CHANNEL)
        # ignore_subscribe_messages turns the confirmation into None, once it is read.
        self._pubsub.get_message(timeout=_TIMEOUT_SECONDS)

    def messages(self, timeout_seconds: float) -> Iterator[Message]:
        """Yield what arrives until nothing has come for `timeout_seconds`.

        Raises:
            redis.RedisError: the connection broke; subscribe anew.
        """
        while (raw := self._pubsub.get_message(timeout=timeout_seconds)) is not None:
            message = _parse(raw.get("data"))
            if message is not None:
                yield message

    def close(self) -> None:
        """Close the connection."""
        self._pubsub.close()
        self._redis.close()


def _parse(body: Any) -> Message | None:
    try:
        fields = json.loads(body)
        return Message(int(fields["job_id"]), str(fields["type"]), dict(fields["data"]))
    except (TypeError, ValueError, KeyError):
        log.warning("Not a live message: %r", body)
        return None

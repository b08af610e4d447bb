"""The yard at a glance: its workers, their slots, what waits, and whether the queue answers.

Must not change anything.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from shared import workers
from shared.errors import QueueUnavailable
from shared.models import Status
from shared.queue import Bell
from web.yard import Yard

# How long an answer about Redis holds: pages must not wait for a Redis that is away.
_QUEUE_ANSWER_SECONDS = 5.0
# Workers that have been gone for longer are not shown.
_FORGET_SECONDS = 7 * 86_400


@dataclass(frozen=True)
class Overview:
    """The yard as every page's header shows it.

    Attributes:
        workers: rows of workers seen lately, newest heartbeat first, each with `alive` and
            `state`, see `shared.workers.Seen`.
        waiting: jobs in the queue.
        queue_away: whether Redis does not answer.
    """

    workers: list[dict[str, Any]]
    waiting: int
    queue_away: bool

    @classmethod
    def load(cls, session: Session, yard: Yard) -> Overview:
        """Read the yard's present state."""
        found = workers.seen(session, yard.settings.lease_seconds, since_seconds=_FORGET_SECONDS)
        waiting = yard.counts.read(session)[Status.QUEUED]
        return cls([worker.row() for worker in found], waiting, queue_away(yard.bell))

    @property
    def slots(self) -> list[dict[str, Any]]:
        """The slots of living workers, without those that are empty because they drain."""
        return [
            slot
            for worker in self.workers
            if worker["alive"]
            for slot in worker["slots"]
            if worker["state"] == "alive" or slot["job_id"] is not None
        ]

    @property
    def busy(self) -> int:
        """How many of these run a job or try one out."""
        return sum(_is_busy(slot) for slot in self.slots)

    @property
    def queues(self) -> list[str]:
        """The queues that a worker serves which takes jobs."""
        takers = [worker for worker in self.workers if worker["state"] == "alive"]
        return sorted({name for worker in takers for name in worker["queues"]})

    @property
    def free(self) -> int:
        """How many slots would take a job at once."""
        takers = [worker for worker in self.workers if worker["state"] == "alive"]
        return sum(not _is_busy(slot) for worker in takers for slot in worker["slots"])

    @property
    def alive(self) -> int:
        """How many workers are connected, drained or not."""
        return sum(worker["alive"] for worker in self.workers)


def _is_busy(slot: dict[str, Any]) -> bool:
    return slot["job_id"] is not None or slot.get("preflight_id") is not None


def queue_away(bell: Bell) -> bool:
    """Return whether Redis does not answer; asked at most once every few seconds."""
    return not _answers(bell, int(time.monotonic() / _QUEUE_ANSWER_SECONDS))


@functools.lru_cache(maxsize=1)
def _answers(bell: Bell, turn: int) -> bool:
    """Ask Redis once a turn."""
    try:
        bell.ping()
    except QueueUnavailable:
        return False
    return True

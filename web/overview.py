"""The yard at a glance: its workers, their slots, what waits, and whether the queue answers.

Owns the judgement which workers are alive. Must not change anything.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import utc_now
from shared.errors import QueueUnavailable
from shared.models import Status, Worker
from shared.queue import Bell
from shared.records import worker_row
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
            `state` (`alive`, `stopped` or `silent`).
        waiting: jobs in the queue.
        queue_away: whether Redis does not answer.
    """

    workers: list[dict[str, Any]]
    waiting: int
    queue_away: bool

    @classmethod
    def load(cls, session: Session, yard: Yard) -> Overview:
        """Read the yard's present state."""
        workers = _workers(session, yard.settings.lease_seconds)
        waiting = yard.counts.read(session)[Status.QUEUED]
        turn = int(time.monotonic() / _QUEUE_ANSWER_SECONDS)
        return cls(workers, waiting, not _answers(yard.bell, turn))

    @property
    def slots(self) -> list[dict[str, Any]]:
        """The slots of the workers that are alive."""
        return [slot for worker in self.workers if worker["alive"] for slot in worker["slots"]]

    @property
    def busy(self) -> int:
        """How many of these run a job."""
        return sum(slot["job_id"] is not None for slot in self.slots)

    @property
    def queues(self) -> list[str]:
        """The queues that a living worker serves."""
        return sorted(
            {name for worker in self.workers if worker["alive"] for name in worker["queues"]}
        )


def _workers(session: Session, silent_seconds: float) -> list[dict[str, Any]]:
    alive = Worker.stopped_at.is_(None) & (Worker.heartbeat_at > utc_now(-silent_seconds))
    rows = session.execute(
        sa.select(Worker, alive.label("alive"))
        .where(Worker.heartbeat_at > utc_now(-_FORGET_SECONDS))
        .order_by(sa.desc("alive"), Worker.name)
    )
    return [
        worker_row(worker) | {"alive": bool(lives), "state": _state(worker, bool(lives))}
        for worker, lives in rows
    ]


def _state(worker: Worker, alive: bool) -> str:
    if alive:
        return "alive"
    return "silent" if worker.stopped_at is None else "stopped"


@functools.lru_cache(maxsize=1)
def _answers(bell: Bell, turn: int) -> bool:
    """Ask Redis once a turn."""
    try:
        bell.ping()
    except QueueUnavailable:
        return False
    return True

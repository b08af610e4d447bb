"""Finds out from SQL alone which jobs have changed since the last look.

Two sources: the log of events, which has a row for every change of status, and the figures of
running jobs. Owns no connection and no thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.models import Job, JobEvent, Status

# Transactions commit in another order than they number their rows: look back this far.
_OVERLAP_SECONDS = 5.0
_OVERLAP_ROWS = 200
_ROWS_AT_ONCE = 5000


class Changes:
    """What one observer has seen so far.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._floor: int | None = None
        self._seen: dict[int, float] = {}
        self._figures: dict[int, Any] = {}

    def start(self, session: Session) -> None:
        """Take everything that is there now as seen."""
        newest = session.scalar(sa.select(sa.func.max(JobEvent.id))) or 0
        self._floor = max(0, newest - _OVERLAP_ROWS)
        self._seen = {}
        self._new_events(session)

    def look(self, session: Session, watched: Collection[int]) -> set[int]:
        """Return the ids of jobs that have changed since the last look, or may have.

        Args:
            session: a reading session.
            watched: jobs whose figures matter even if they do not run.
        """
        return self._new_events(session) | self._new_figures(session, watched)

    def _new_events(self, session: Session) -> set[int]:
        now = self._clock()
        rows = session.execute(
            sa.select(JobEvent.id, JobEvent.job_id)
            .where(JobEvent.id > self._floor)
            .order_by(JobEvent.id)
            .limit(_ROWS_AT_ONCE)
        ).all()
        fresh = {row.job_id for row in rows if row.id not in self._seen}
        for row in rows:
            self._seen.setdefault(row.id, now)
        settled = [key for key, at in self._seen.items() if now - at > _OVERLAP_SECONDS]
        if settled:
            self._floor = max(settled)
            self._seen = {key: at for key, at in self._seen.items() if key > self._floor}
        return fresh

    def _new_figures(self, session: Session, watched: Collection[int]) -> set[int]:
        rows = session.execute(
            sa.select(
                Job.id,
                Job.status,
                Job.attempt,
                Job.epochs_done,
                Job.progress,
                Job.cancel_requested_at,
            ).where(sa.or_(Job.status == Status.RUNNING, Job.id.in_(watched)))
        )
        figures = {row.id: tuple(row) for row in rows}
        changed = {key for key, value in figures.items() if self._figures.get(key) != value}
        self._figures = figures
        return changed

"""`python -m worker.scheduler`: expires leases, rings again for lost messages, enforces limits.

A loop, never a queued task, so that nothing it repairs can block it. Any number may run: a
leader lease in SQL lets one of them act, and all that it does is guarded by state anyway.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared import jobs, preflights
from shared.database import Database, utc_now
from shared.errors import ConfigurationError, QueueUnavailable
from shared.live import Publisher
from shared.logs import configure
from shared.models import Attempt, Job, Leader, Status
from shared.queue import Bell
from shared.schema import require_current_if_reachable
from shared.settings import Settings
from worker.recorder import is_outage

ROLE = "scheduler"
_PAUSE_SECONDS = 1.0
_LEADER_SECONDS = 10.0
# More messages than this for one queue help nobody: a worker empties the queue in one go.
_MAX_RINGS = 4

log = logging.getLogger(__name__)


class Scheduler:
    """The loop's state and its steps.

    Args:
        settings: for the lease's length.
        database: where jobs and leases are.
        bell: rung for jobs that nobody has heard of.
        publisher: tells open pages of what changed.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        bell: Bell,
        publisher: Publisher,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._database = database
        self._bell = bell
        self._publisher = publisher
        self._clock = clock
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._sees_since: float | None = None

    def step(self) -> bool:
        """Do one round, if this is the leader; return whether it is."""
        try:
            with self._database.write() as session:
                leads = take_lead(session, self._holder)
            if leads:
                self._round()
        except SQLAlchemyError as error:
            if not is_outage(error):
                raise
            log.warning("SQL is away: %s", error)
            self._sees_since = None
            return False
        if not leads:
            self._sees_since = None
        return leads

    def resign(self) -> None:
        """Give the lead up, so that another takes it at once."""
        try:
            with self._database.write() as session:
                session.execute(
                    sa.delete(Leader).where(Leader.role == ROLE, Leader.holder == self._holder)
                )
        except SQLAlchemyError as error:
            log.warning("The lead runs out by itself: %s", error)

    def _round(self) -> None:
        if self._sees_since is None:
            self._sees_since = self._clock()
        if self._clock() - self._sees_since >= self._settings.lease_seconds:
            self._expire()
        self._enforce_limits()
        self._tidy_preflights()
        self._ring()

    def _expire(self) -> None:
        """End stale leases.

        Only after having seen the database for a whole lease: when it was away, the workers
        could not renew either, and must have the chance to.
        """
        with self._database.write() as session:
            expired = jobs.expire_leases(session)
        for lease in expired:
            log.warning("Job %d lost its worker; it is queued again.", lease.job_id)
            self._publisher.publish(lease.job_id, "job")

    def _enforce_limits(self) -> None:
        with self._database.read() as session:
            overdue = find_overdue(session)
        for job_id, limit_seconds in overdue:
            with self._database.write() as session:
                timed_out = jobs.time_out(session, job_id, limit_seconds=limit_seconds)
            if timed_out:
                log.warning("Job %d ran out of its %g s.", job_id, limit_seconds)
                self._publisher.publish(job_id, "job")

    def _tidy_preflights(self) -> None:
        with self._database.write() as session:
            preflights.tidy(session)

    def _ring(self) -> None:
        """Ring for every queue that has waiting work but no waiting message."""
        with self._database.read() as session:
            counts = session.execute(
                sa.select(Job.queue, sa.func.count())
                .where(Job.status == Status.QUEUED)
                .group_by(Job.queue)
            )
            waiting = Counter({row[0]: row[1] for row in counts})
            waiting.update(preflights.open_queues(session))
        try:
            for queue, count in waiting.items():
                if self._bell.waiting(queue) == 0:
                    for _ in range(min(count, _MAX_RINGS)):
                        self._bell.ring(queue)
        except QueueUnavailable as error:
            log.warning("%s", error)


def take_lead(session: Session, holder: str) -> bool:
    """Take or keep the leader's lease; return whether `holder` leads now."""
    mine_or_stale = sa.or_(Leader.holder == holder, Leader.expires_at < utc_now())
    taken = session.execute(
        sa.update(Leader)
        .where(Leader.role == ROLE, mine_or_stale)
        .values(holder=holder, expires_at=utc_now(_LEADER_SECONDS))
        .returning(Leader.role)
        .execution_options(synchronize_session=False)
    ).first()
    if taken is not None:
        return True
    if session.get(Leader, ROLE) is not None:
        return False
    # Two may insert at once: the unique key lets one through, and the other tries next time.
    try:
        with session.begin_nested():
            session.execute(
                sa.insert(Leader).values(
                    role=ROLE, holder=holder, expires_at=utc_now(_LEADER_SECONDS)
                )
            )
    except sa.exc.IntegrityError:
        return False
    return True


def find_overdue(session: Session) -> list[tuple[int, float]]:
    """Return the running jobs whose attempts together exceed their limit, with the limit."""
    now = session.scalars(sa.select(utc_now())).one()
    limits = {
        job_id: spec["resources"]["max_runtime_seconds"]
        for job_id, spec in session.execute(
            sa.select(Job.id, Job.spec).where(Job.status == Status.RUNNING)
        )
        if spec["resources"].get("max_runtime_seconds") is not None
    }
    used = dict.fromkeys(limits, 0.0)
    for attempt in session.scalars(sa.select(Attempt).where(Attempt.job_id.in_(limits))):
        used[attempt.job_id] += ((attempt.ended_at or now) - attempt.claimed_at).total_seconds()
    return [(job_id, limit) for job_id, limit in limits.items() if used[job_id] > limit]


def main() -> int:
    """Run the scheduler until it is told to stop; return its exit code."""
    settings = Settings()
    configure(settings.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    database = Database(settings.resolved_database_url, pool_size=2)
    try:
        require_current_if_reachable(database)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    scheduler = Scheduler(
        settings,
        database,
        Bell(settings),
        Publisher(settings.resolved_redis_url),
    )
    led: bool | None = None
    while not stop.is_set():
        leads = scheduler.step()
        if leads != led:
            log.info("The scheduler %s.", "leads" if leads else "stands by")
            led = leads
        stop.wait(_PAUSE_SECONDS)
    scheduler.resign()
    return 0


if __name__ == "__main__":
    sys.exit(main())

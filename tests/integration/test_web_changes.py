"""What changed, found out from SQL alone: once each, in whatever order transactions commit."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from shared.database import Database
from shared.models import Job, JobEvent, Status
from tests.web_client import SUBMITTED, add_epoch, add_job
from web.changes import Changes


class Clock:
    """A clock that a test winds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def changes(database: Database, clock: Clock) -> Changes:
    changes = Changes(clock)
    with database.read() as session:
        changes.start(session)
    return changes


def add_event(database: Database, job_id: int, number: int) -> None:
    row = {"id": number, "job_id": job_id, "at": SUBMITTED, "kind": "edited", "message": "."}
    with database.write() as session:
        session.execute(sa.insert(JobEvent).values(row))


def look(changes: Changes, database: Database, *watched: int) -> set[int]:
    with database.read() as session:
        return changes.look(session, watched)


def test_an_event_is_seen_once(changes: Changes, database: Database, clock: Clock) -> None:
    job_id = add_job(database)
    add_event(database, job_id, 1000)
    assert look(changes, database) == {job_id}
    for _ in range(20):
        clock.now += 1
        assert look(changes, database) == set()


def test_an_event_that_is_committed_late_is_seen(
    changes: Changes, database: Database, clock: Clock
) -> None:
    early, late = add_job(database), add_job(database)
    add_event(database, early, 1001)
    assert look(changes, database) == {early}
    clock.now += 3
    add_event(database, late, 1000)
    assert look(changes, database) == {late}
    assert look(changes, database) == set()


def test_what_was_there_before_is_no_change(database: Database, clock: Clock) -> None:
    job_id = add_job(database)
    for number in range(1, 400):
        add_event(database, job_id, number)
    changes = Changes(clock)
    with database.read() as session:
        changes.start(session)
    assert look(changes, database) == set()
    add_event(database, job_id, 400)
    assert look(changes, database) == {job_id}


def test_an_event_that_is_committed_after_the_start_is_seen_though_numbered_before(
    database: Database, clock: Clock
) -> None:
    early, late = add_job(database), add_job(database)
    add_event(database, early, 1001)
    changes = Changes(clock)
    with database.read() as session:
        changes.start(session)
    add_event(database, late, 1000)
    assert look(changes, database) == {late}


def test_figures_of_running_and_watched_jobs_are_compared(
    changes: Changes, database: Database
) -> None:
    running = add_job(database, status=Status.RUNNING)
    waiting = add_job(database)
    assert look(changes, database, waiting) == {running, waiting}
    assert look(changes, database, waiting) == set()
    add_epoch(database, running, 1)
    assert look(changes, database, waiting) == {running}
    with database.write() as session:
        values = {"status": Status.RUNNING, "attempt": 1}
        session.execute(sa.update(Job).where(Job.id == waiting).values(values))
    assert look(changes, database, waiting) == {waiting}

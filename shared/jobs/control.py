"""What a person does to a job on its way: cancel, pause, resume, move in the queue.

A waiting job changes at once. A running one is asked, by a column that its supervisor looks at
twice a second; SQL, not the asker, knows when it has obeyed.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import utc_now
from shared.errors import Conflict
from shared.jobs.transitions import add_event, finish, lock
from shared.models import Job, Status


def request_cancel(session: Session, job_id: int, *, actor: str | None = None) -> Job:
    """Cancel a job: at once if it waits or is paused, through its supervisor if it runs.

    Asking twice is no error.

    Raises:
        NotFound: there is no such job.
        Conflict: the job is over.
    """
    job = lock(session, job_id)
    _refuse_over(job, "cancelled")
    if job.status is Status.RUNNING:
        if job.cancel_requested_at is None:
            _set(session, job, cancel_requested_at=utc_now())
            add_event(session, job_id, "cancel_requested", "Asked to cancel.", actor=actor)
        return job
    detail = f"Cancelled while it was {job.status}."
    finish(session, job_id, job.status, Status.CANCELLED, outcome_detail=detail)
    session.refresh(job)
    add_event(session, job_id, "cancelled", detail, actor=actor)
    return job


def request_pause(session: Session, job_id: int, *, actor: str | None = None) -> Job:
    """Pause a job: at once if it waits; a running one saves a checkpoint first.

    Asking twice is no error.

    Raises:
        NotFound: there is no such job.
        Conflict: the job is over.
    """
    job = lock(session, job_id)
    _refuse_over(job, "paused")
    if job.status is Status.QUEUED:
        _set(session, job, status=Status.PAUSED)
        add_event(session, job_id, "paused", "Paused while it waited.", actor=actor)
    elif job.status is Status.RUNNING and job.pause_requested_at is None:
        _set(session, job, pause_requested_at=utc_now())
        add_event(session, job_id, "pause_requested", "Asked to pause.", actor=actor)
    return job


def resume(session: Session, job_id: int, *, actor: str | None = None) -> Job:
    """Queue a paused job again, its place kept; take back a pause that is only asked for.

    Asking a job that waits or runs is no error.

    Raises:
        NotFound: there is no such job.
        Conflict: the job is over.
    """
    job = lock(session, job_id)
    _refuse_over(job, "resumed")
    if job.status is Status.PAUSED:
        _set(session, job, status=Status.QUEUED, queued_at=utc_now(), pause_requested_at=None)
        add_event(session, job_id, "queued", "Resumed: it waits again.", actor=actor)
    elif job.pause_requested_at is not None:
        _set(session, job, pause_requested_at=None)
        add_event(session, job_id, "pause_taken_back", "The pause was taken back.", actor=actor)
    return job


def move(session: Session, job_id: int, *, before: int | None, actor: str | None = None) -> Job:
    """Move a waiting job in its queue; it takes the priority of its new place.

    Args:
        session: a writing session.
        job_id: the job to move.
        before: the waiting job of the same queue that it shall start before; None: to the end.
        actor: who asked for it.

    Raises:
        NotFound: there is no such job.
        Conflict: one of the two does not wait, or they wait in different queues.
    """
    job = lock(session, job_id)
    _require_waiting(job)
    if before == job_id:
        return job
    if before is None:
        priority, rank, where = _end_of(session, job)
    else:
        priority, rank, where = _place_before(session, job, before)
    _set(session, job, priority=priority, queue_rank=rank)
    add_event(session, job_id, "moved", f"Moved {where}.", actor=actor, data={"before": before})
    return job


def move_to_front(session: Session, job_id: int, *, actor: str | None = None) -> Job:
    """Move a waiting job before all others of its queue.

    Raises:
        NotFound: there is no such job.
        Conflict: it does not wait.
    """
    job = lock(session, job_id)
    _require_waiting(job)
    first = session.scalar(
        sa.select(Job.id)
        .where(*_waiting_beside(job))
        .order_by(Job.priority.desc(), Job.queue_rank, Job.id)
        .limit(1)
    )
    return job if first is None else move(session, job_id, before=first, actor=actor)


def _end_of(session: Session, job: Job) -> tuple[int, float, str]:
    others = _waiting_beside(job)
    last = session.execute(
        sa.select(Job.priority, Job.queue_rank)
        .where(*others)
        .order_by(Job.priority, Job.queue_rank.desc())
        .limit(1)
    ).one_or_none()
    if last is None:
        return job.priority, job.queue_rank, "to the end"
    return last.priority, last.queue_rank + 1, "to the end"


def _place_before(session: Session, job: Job, before: int) -> tuple[int, float, str]:
    other = lock(session, before)
    _require_waiting(other)
    if other.queue != job.queue:
        raise Conflict(
            f"Job {before} waits in queue {other.queue!r}, and job {job.id} in {job.queue!r}; "
            "a job moves within its queue."
        )
    where = f"before job {before}"
    order = sa.tuple_(Job.queue_rank, Job.id)
    here = sa.tuple_(sa.literal(other.queue_rank), sa.literal(other.id))
    beside = (*_waiting_beside(job), Job.priority == other.priority)
    previous = session.scalar(sa.select(sa.func.max(Job.queue_rank)).where(*beside, order < here))
    if previous is None:
        return other.priority, other.queue_rank - 1, where
    rank = (previous + other.queue_rank) / 2
    if not previous < rank < other.queue_rank:  # no number is left between the two
        _shift(session, *beside, order >= here)
        rank = (previous + other.queue_rank + 1) / 2
    return other.priority, rank, where


def _shift(session: Session, *conditions: sa.ColumnElement[bool]) -> None:
    """Let waiting jobs make room before them."""
    session.execute(
        sa.update(Job)
        .where(*conditions)
        .values(queue_rank=Job.queue_rank + 1)
        .execution_options(synchronize_session=False)
    )


def _waiting_beside(job: Job) -> tuple[sa.ColumnElement[bool], ...]:
    return (Job.status == Status.QUEUED, Job.queue == job.queue, Job.id != job.id)


def _refuse_over(job: Job, what: str) -> None:
    if job.status.terminal:
        raise Conflict(
            f"Job {job.id} is over ({job.status}); only a job that is not can be {what}."
        )


def _require_waiting(job: Job) -> None:
    if job.status is not Status.QUEUED:
        raise Conflict(f"Job {job.id} is {job.status}; only a waiting job has a place.")


def _set(session: Session, job: Job, **values: object) -> None:
    """Change a job that this transaction has locked."""
    session.execute(
        sa.update(Job)
        .where(Job.id == job.id)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    session.refresh(job)

"""What every change of a job has in common: the guarded UPDATE and the event."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import utc_now
from shared.errors import NotFound
from shared.models import Attempt, Job, JobEvent, Outcome, Status


def get(session: Session, job_id: int) -> Job:
    """Return the job as it is now.

    Raises:
        NotFound: there is no such job.
    """
    job = session.get(Job, job_id, populate_existing=True)
    if job is None:
        raise NotFound(f"There is no job {job_id}.")
    return job


def lock(session: Session, job_id: int) -> Job:
    """Return the job as it is now, and keep everybody else from changing it until the commit.

    Args:
        session: a writing session.
        job_id: the job.

    Raises:
        NotFound: there is no such job.
    """
    job = session.get(Job, job_id, populate_existing=True, with_for_update=True)
    if job is None:
        raise NotFound(f"There is no job {job_id}.")
    return job


def add_event(
    session: Session,
    job_id: int,
    kind: str,
    message: str,
    *,
    attempt: int | None = None,
    actor: str | None = None,
    data: dict[str, Any] | None = None,
) -> None:
    """Write one row of the job's history.

    Args:
        session: a writing session.
        job_id: the job.
        kind: what happened, one word.
        message: the same, as a sentence.
        attempt: the attempt that it happened to.
        actor: who asked for it; None if nobody did.
        data: details, JSON-compatible.
    """
    values = {"job_id": job_id, "attempt": attempt, "actor": actor, "kind": kind}
    session.execute(sa.insert(JobEvent).values(**values, at=utc_now(), message=message, data=data))


def transition(session: Session, job_id: int, old: Status, new: Status, **values: Any) -> bool:
    """Change a job's status if it is `old`; return whether it was."""
    result = session.execute(
        sa.update(Job)
        .where(Job.id == job_id, Job.status == old)
        .values(status=new, **values)
        .execution_options(synchronize_session=False)
    )
    return rowcount(result) == 1


def finish(session: Session, job_id: int, old: Status, new: Status, **values: Any) -> None:
    """End a job whose status is `old`; its duration is the time that its attempts ran, together.

    Args:
        session: a writing session.
        job_id: the job, whose attempts have ended.
        old: its status until now.
        new: the status that it ends with.
        values: of other columns.
    """
    transition(
        session,
        job_id,
        old,
        new,
        finished_at=utc_now(),
        duration_seconds=_ran_seconds(session, job_id),
        progress=None,
        **values,
    )


def _ran_seconds(session: Session, job_id: int) -> float | None:
    """Return how long a job's attempts ran; None if it never began.

    That one is lost is found out later than it happens: it ran until its last sign of life.
    """
    attempts = session.execute(
        sa.select(
            Attempt.claimed_at, Attempt.ended_at, Attempt.heartbeat_at, Attempt.outcome
        ).where(Attempt.job_id == job_id, Attempt.ended_at.is_not(None))
    ).all()
    ends = [row.heartbeat_at if row.outcome is Outcome.LOST else row.ended_at for row in attempts]
    seconds = [
        (end - row.claimed_at).total_seconds() for row, end in zip(attempts, ends, strict=True)
    ]
    return sum(seconds) if seconds else None


def rowcount(result: sa.Result[Any]) -> int:
    """Return how many rows a statement changed."""
    return cast("sa.CursorResult[Any]", result).rowcount

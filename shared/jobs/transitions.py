"""What every change of a job has in common: the guarded UPDATE and the event."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import utc_now
from shared.errors import NotFound
from shared.models import Job, JobEvent, Status


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


def rowcount(result: sa.Result[Any]) -> int:
    """Return how many rows a statement changed."""
    return cast("sa.CursorResult[Any]", result).rowcount

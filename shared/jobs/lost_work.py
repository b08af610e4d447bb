"""The work of an attempt that another has to repeat: how much it was, and where that is counted."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.models import Artifact, Attempt, Job


def count_lost_work(
    session: Session, job_id: int, number: int, *, reached: tuple[int, int] | None = None
) -> float:
    """Write the seconds of work since an attempt's newest checkpoint to attempt and job.

    Args:
        session: a writing session.
        job_id: the job.
        number: of the attempt, which ends.
        reached: epoch and step that it had reached, where that is known: nothing is lost if a
            checkpoint of there, or of further on, is stored.

    Returns:
        The seconds.
    """
    attempt = session.scalars(
        sa.select(Attempt)
        .where(Attempt.job_id == job_id, Attempt.number == number)
        .execution_options(populate_existing=True)
    ).one()
    seconds = _unsaved_seconds(session, attempt, reached)
    session.execute(
        sa.update(Attempt)
        .where(Attempt.job_id == job_id, Attempt.number == number)
        .values(lost_seconds=seconds)
    )
    session.execute(
        sa.update(Job).where(Job.id == job_id).values(lost_seconds=Job.lost_seconds + seconds)
    )
    return seconds


def _unsaved_seconds(session: Session, attempt: Attempt, reached: tuple[int, int] | None) -> float:
    if attempt.first_step_at is None:
        return 0.0
    checkpoints = session.execute(
        sa.select(Artifact.epoch, Artifact.step, Artifact.created_at, Artifact.attempt).where(
            Artifact.job_id == attempt.job_id, Artifact.kind == "checkpoint"
        )
    ).all()
    if reached is not None and any((row.epoch, row.step) >= reached for row in checkpoints):
        return 0.0
    saved_at: list[datetime] = [
        row.created_at for row in checkpoints if row.attempt == attempt.number
    ]
    since = max([*saved_at, attempt.first_step_at])
    return max(0.0, (attempt.heartbeat_at - since).total_seconds())

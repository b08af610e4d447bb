"""The history checker: what must hold of every database, whatever happened to its workers."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import Database, utc_now
from shared.models import Attempt, Epoch, Job, Outcome, Status

_ACCEPTED = (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.CANCELLED)


def check_history(database: Database) -> None:
    """Assert the promise of design.md, section 4, for every job.

    Each job is terminal, waiting, or owned by exactly one live lease; a job that succeeded has
    exactly one accepted result; its epochs are 1..n once each; attempts stay within the cap.
    """
    with database.read() as session:
        for job in session.scalars(sa.select(Job).order_by(Job.id)):
            _check_job(session, job)


def _check_job(session: Session, job: Job) -> None:
    attempts = session.scalars(
        sa.select(Attempt).where(Attempt.job_id == job.id).order_by(Attempt.number)
    ).all()
    assert [a.number for a in attempts] == list(range(1, job.attempt + 1)), f"job {job.id}"
    open_attempts = [a for a in attempts if a.outcome is None]
    if job.status is Status.RUNNING:
        now = session.scalars(sa.select(utc_now())).one()
        assert len(open_attempts) == 1, f"job {job.id} runs with {len(open_attempts)} leases"
        assert open_attempts[0].lease_expires_at > now, f"job {job.id} runs on a stale lease"
    else:
        assert not open_attempts, f"job {job.id} is {job.status} and has an open attempt"
    assert job.crashes <= job.max_attempts, f"job {job.id}"
    assert (job.finished_at is not None) == job.status.terminal, f"job {job.id}"
    if job.status is Status.SUCCEEDED:
        accepted = [a for a in attempts if a.outcome is Outcome.SUCCEEDED]
        assert len(accepted) == 1, f"job {job.id} has {len(accepted)} accepted results"
        assert accepted[0] is attempts[-1], f"job {job.id}"
    if job.status is Status.FAILED:
        assert job.failure is not None, f"job {job.id} failed without a reason"
    _check_epochs(session, job)


def _check_epochs(session: Session, job: Job) -> None:
    epochs = list(
        session.scalars(sa.select(Epoch.epoch).where(Epoch.job_id == job.id).order_by(Epoch.epoch))
    )
    assert epochs == list(range(1, len(epochs) + 1)), f"job {job.id} has epochs {epochs}"
    assert job.epochs_done == len(epochs), f"job {job.id}"

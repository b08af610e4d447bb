"""Attempts that end against their will: the trainer crashed, the worker is gone, time is up."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import utc_now
from shared.jobs.attempts import Lease, count_crash, end_attempt, fail
from shared.jobs.lost_work import count_lost_work
from shared.models import Attempt, Outcome


def expire_leases(session: Session) -> list[Lease]:
    """End every attempt whose lease has run out, and queue its job again.

    Returns:
        The leases that ended.
    """
    return _lose(session, Attempt.lease_expires_at < utc_now(), "No heartbeat in time")


def expire_worker(session: Session, worker: str) -> list[Lease]:
    """End every attempt of a worker that is known to be dead, and queue its jobs again.

    Returns:
        The leases that ended.
    """
    return _lose(session, Attempt.worker == worker, "The worker was started anew")


def crash(session: Session, lease: Lease, *, failure: dict[str, Any]) -> None:
    """Count a crash of the trainer; queue the job again, or give it up after too many.

    Args:
        session: a writing session.
        lease: the attempt's.
        failure: what the job shows if it is given up.

    Raises:
        LeaseLost: the attempt has ended or belongs to somebody else.
    """
    end_attempt(session, lease, Outcome.FAILED, failure["evidence"])
    count_lost_work(session, lease.job_id, lease.attempt)
    count_crash(session, lease.job_id, lease.attempt, "crashed", failure)


def time_out(session: Session, job_id: int, *, limit_seconds: float) -> bool:
    """Fail a running job that has used up its time.

    Returns:
        False if it has ended meanwhile.
    """
    attempt = session.scalar(
        sa.select(Attempt)
        .where(Attempt.job_id == job_id, Attempt.outcome.is_(None))
        .with_for_update(skip_locked=True)
    )
    if attempt is None:
        return False
    failure = {
        "kind": "timeout",
        "evidence": f"It ran for longer than its limit of {limit_seconds:g} seconds.",
        "suggestion": "Raise the time limit, or train fewer epochs or a smaller model.",
    }
    fail(session, Lease(job_id, attempt.number, attempt.lease_token), failure=failure)
    return True


def _lose(session: Session, condition: sa.ColumnElement[bool], why: str) -> list[Lease]:
    attempts = session.scalars(
        sa.select(Attempt)
        .where(Attempt.outcome.is_(None), condition)
        .with_for_update(skip_locked=True)
    ).all()
    leases = [Lease(a.job_id, a.number, a.lease_token) for a in attempts]
    for attempt, lease in zip(attempts, leases, strict=True):
        _lose_one(session, attempt, lease, why)
    return leases


def _lose_one(session: Session, attempt: Attempt, lease: Lease, why: str) -> None:
    lost_seconds = count_lost_work(session, lease.job_id, lease.attempt)
    detail = f"{why}: worker {attempt.worker} was lost; about {lost_seconds:.0f} s to repeat."
    end_attempt(session, lease, Outcome.LOST, detail)
    failure = {
        "kind": "lost",
        "evidence": detail,
        "suggestion": "Look at that worker's log and memory; then retry.",
    }
    count_crash(session, lease.job_id, lease.attempt, "lost", failure)

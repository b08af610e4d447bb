"""What a worker does: claim a job, keep the lease of its attempt, and end the attempt."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import utc_now
from shared.errors import LeaseLost
from shared.jobs.lost_work import count_lost_work
from shared.jobs.transitions import add_event, finish, get, rowcount, transition
from shared.models import Attempt, Job, Outcome, Status


@dataclass(frozen=True)
class Lease:
    """The right of one attempt to write for its job.

    Attributes:
        job_id: the job.
        attempt: number of the attempt, from 1.
        token: random; known to its holder and the database alone.
    """

    job_id: int
    attempt: int
    token: str


@dataclass(frozen=True)
class Slot:
    """A place where one job can run.

    Attributes:
        worker: name of the worker.
        index: number of the slot on that worker, from 0.
        queues: queues that it serves.
        gpus: GPUs that it has.
    """

    worker: str
    index: int
    queues: tuple[str, ...]
    gpus: int = 0


@dataclass(frozen=True)
class Requests:
    """What people have asked of a running job."""

    cancel: bool = False
    pause: bool = False


def claim(session: Session, slot: Slot, *, lease_seconds: float) -> Lease | None:
    """Take the best waiting job that `slot` can run: by priority, then by age.

    Args:
        session: a writing session.
        slot: who claims.
        lease_seconds: how long the lease holds without a heartbeat.

    Returns:
        The lease of a new attempt, or None if nothing waits.
    """
    job_id = session.scalar(
        sa.select(Job.id)
        .where(Job.status == Status.QUEUED, Job.queue.in_(slot.queues), Job.gpus <= slot.gpus)
        .order_by(Job.priority.desc(), Job.queue_rank, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if job_id is None:
        return None
    taken = transition(
        session,
        job_id,
        Status.QUEUED,
        Status.RUNNING,
        attempt=Job.attempt + 1,
        claimed_at=sa.func.coalesce(Job.claimed_at, utc_now()),
        progress=None,
    )
    if not taken:
        return None
    return _open_attempt(session, job_id, slot, lease_seconds)


def hold(session: Session, lease: Lease) -> None:
    """Check the lease and keep it from ending before this transaction does.

    Raises:
        LeaseLost: the attempt has ended or belongs to somebody else.
    """
    _write_attempt(session, lease, heartbeat_at=utc_now())


def renew(
    session: Session, lease: Lease, *, lease_seconds: float, progress: dict[str, Any] | None = None
) -> None:
    """Prolong the lease, and store the newest progress.

    Raises:
        LeaseLost: the attempt has ended or belongs to somebody else.
    """
    _write_attempt(session, lease, heartbeat_at=utc_now(), lease_expires_at=utc_now(lease_seconds))
    if progress is not None:
        session.execute(sa.update(Job).where(Job.id == lease.job_id).values(progress=progress))


def requests(session: Session, lease: Lease) -> Requests:
    """Return what people have asked of the job.

    Raises:
        LeaseLost: the attempt has ended or belongs to somebody else.
    """
    row = session.execute(
        sa.select(Job.cancel_requested_at, Job.pause_requested_at)
        .join(Attempt, Attempt.job_id == Job.id)
        .where(*_holds(lease))
    ).one_or_none()
    if row is None:
        raise LeaseLost(f"Attempt {lease.attempt} of job {lease.job_id} has no lease any more.")
    return Requests(cancel=row[0] is not None, pause=row[1] is not None)


def succeed(session: Session, lease: Lease, *, result: dict[str, Any], detail: str) -> None:
    """Accept the attempt's result.

    Args:
        session: a writing session.
        lease: the attempt's.
        result: the trainer's `Finished` event.
        detail: why training ended, as a sentence.

    Raises:
        LeaseLost: the attempt has ended or belongs to somebody else.
    """
    _finish(
        session,
        lease,
        Status.SUCCEEDED,
        Outcome.SUCCEEDED,
        detail,
        result=result,
        test_accuracy=result.get("test_accuracy"),
    )


def fail(session: Session, lease: Lease, *, failure: dict[str, Any]) -> None:
    """End the job as failed, for a reason of its own.

    Args:
        session: a writing session.
        lease: the attempt's.
        failure: `kind`, `evidence` and `suggestion`.

    Raises:
        LeaseLost: the attempt has ended or belongs to somebody else.
    """
    detail = f"{failure['kind']}: {failure['evidence']}"
    _finish(session, lease, Status.FAILED, Outcome.FAILED, detail, failure=failure)


def cancel(session: Session, lease: Lease) -> None:
    """End the job as cancelled.

    Raises:
        LeaseLost: the attempt has ended or belongs to somebody else.
    """
    _finish(session, lease, Status.CANCELLED, Outcome.CANCELLED, "Cancelled while it ran.")


def pause(
    session: Session, lease: Lease, *, detail: str, reached: tuple[int, int] | None = None
) -> None:
    """Let the job rest until somebody resumes it; back into the queue if nobody wants that now.

    Args:
        session: a writing session.
        lease: the attempt's.
        detail: what was saved, as a sentence.
        reached: epoch and step that the trainer had reached; see `count_lost_work`.

    Raises:
        LeaseLost: the attempt has ended or belongs to somebody else.
    """
    end_attempt(session, lease, Outcome.PAUSED, detail)
    count_lost_work(session, lease.job_id, lease.attempt, reached=reached)
    _leave_running(session, lease.job_id, "saved", detail, lease.attempt)


def give_back(
    session: Session, lease: Lease, *, detail: str, reached: tuple[int, int] | None = None
) -> None:
    """Put the job back into the queue, its place kept, because the worker stops.

    Args:
        session: a writing session.
        lease: the attempt's.
        detail: why, as a sentence.
        reached: epoch and step that the trainer had reached; see `count_lost_work`.

    Raises:
        LeaseLost: the attempt has ended or belongs to somebody else.
    """
    end_attempt(session, lease, Outcome.PREEMPTED, detail)
    count_lost_work(session, lease.job_id, lease.attempt, reached=reached)
    _leave_running(session, lease.job_id, "preempted", detail, lease.attempt)


def _open_attempt(session: Session, job_id: int, slot: Slot, lease_seconds: float) -> Lease:
    number = session.scalars(sa.select(Job.attempt).where(Job.id == job_id)).one()
    lease = Lease(job_id, number, secrets.token_hex(16))
    session.execute(
        sa.insert(Attempt).values(
            job_id=job_id,
            number=number,
            worker=slot.worker,
            slot=slot.index,
            lease_token=lease.token,
            lease_expires_at=utc_now(lease_seconds),
            claimed_at=utc_now(),
            heartbeat_at=utc_now(),
        )
    )
    message = f"Attempt {number} on worker {slot.worker}, slot {slot.index}."
    add_event(session, job_id, "claimed", message, attempt=number)
    return lease


def _holds(lease: Lease) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        Attempt.job_id == lease.job_id,
        Attempt.number == lease.attempt,
        Attempt.lease_token == lease.token,
        Attempt.outcome.is_(None),
    )


def _write_attempt(session: Session, lease: Lease, **values: Any) -> None:
    result = session.execute(
        sa.update(Attempt)
        .where(*_holds(lease))
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    if rowcount(result) != 1:
        raise LeaseLost(f"Attempt {lease.attempt} of job {lease.job_id} has no lease any more.")


def end_attempt(session: Session, lease: Lease, outcome: Outcome, detail: str) -> None:
    """End the attempt with an outcome.

    Raises:
        LeaseLost: the attempt has ended or belongs to somebody else.
    """
    _write_attempt(session, lease, outcome=outcome, ended_at=utc_now(), detail=detail)


def _finish(
    session: Session, lease: Lease, status: Status, outcome: Outcome, detail: str, **values: Any
) -> None:
    end_attempt(session, lease, outcome, detail)
    finish(session, lease.job_id, Status.RUNNING, status, outcome_detail=detail, **values)
    add_event(session, lease.job_id, status.value, detail, attempt=lease.attempt)


def _leave_running(session: Session, job_id: int, kind: str, detail: str, attempt: int) -> None:
    """Bring a job whose attempt ended early to where people want it: by default, the queue."""
    add_event(session, job_id, kind, detail, attempt=attempt)
    job = get(session, job_id)
    if job.cancel_requested_at is not None:
        finish(session, job_id, Status.RUNNING, Status.CANCELLED, outcome_detail="Cancelled.")
        add_event(session, job_id, "cancelled", "Cancelled.", attempt=attempt)
    elif job.pause_requested_at is not None:
        transition(session, job_id, Status.RUNNING, Status.PAUSED, pause_requested_at=None)
        add_event(session, job_id, "paused", "Paused.", attempt=attempt)
    else:
        transition(session, job_id, Status.RUNNING, Status.QUEUED, queued_at=utc_now())


def count_crash(
    session: Session, job_id: int, attempt: int, kind: str, failure: dict[str, Any]
) -> None:
    """Count a loss or crash; queue the job again, or give it up after too many."""
    session.execute(sa.update(Job).where(Job.id == job_id).values(crashes=Job.crashes + 1))
    job = get(session, job_id)
    if job.crashes < job.max_attempts:
        _leave_running(session, job_id, kind, failure["evidence"], attempt)
        return
    add_event(session, job_id, kind, failure["evidence"], attempt=attempt)
    detail = f"Given up after {job.crashes} losses or crashes. {failure['evidence']}"
    finish(session, job_id, Status.RUNNING, Status.FAILED, failure=failure, outcome_detail=detail)
    add_event(session, job_id, "failed", detail, attempt=attempt)

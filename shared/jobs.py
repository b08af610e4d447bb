r"""The life of a job: the only writer of `jobs.status` and `attempts.outcome`.

    queued --claim--> running --succeed--> succeeded
      ^  \               | |\---fail-----> failed      (also: too many crashes, time limit)
      |   \--cancel------|-|----cancel---> cancelled
      \---lost, crashed,-/
          preempted

Every change is an UPDATE guarded by the present state, in the caller's transaction, with one row
in `job_events`. Whoever runs an attempt shows its lease token with every write; once the lease
has ended, by whatever way, the write raises `LeaseLost` and nothing is stored.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import utc_now
from shared.errors import Conflict, LeaseLost, NotFound
from shared.models import Artifact, Attempt, DatasetVersion, Job, JobEvent, Outcome, Status
from shared.spec import JobSpec, JobSubmission


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


# --- by the person ------------------------------------------------------------------------------


def submit(
    session: Session,
    submission: JobSubmission,
    *,
    dataset_version: DatasetVersion,
    max_attempts: int,
    idempotency_key: str | None = None,
) -> tuple[Job, bool]:
    """Insert a queued job.

    Args:
        session: a writing session.
        submission: validated, with its name set.
        dataset_version: what `spec.dataset` resolved to; recorded in the spec.
        max_attempts: losses and crashes after which the job is given up.
        idempotency_key: a second submission with this key gives the first one's job.

    Returns:
        The job, and whether it was created now.

    Raises:
        Conflict: the key belongs to a different submission.
        NotFound: there is no job `parent_id`.
    """
    spec = submission.spec.model_dump(mode="json")
    spec["dataset"]["version"] = dataset_version.version
    if idempotency_key is not None:
        earlier = session.scalar(sa.select(Job).where(Job.idempotency_key == idempotency_key))
        if earlier is not None:
            _check_same(earlier, submission, spec)
            return earlier, False
    if submission.parent_id is not None:
        get(session, submission.parent_id)
    job = _new_job(session, submission, spec, max_attempts, idempotency_key)
    return job, True


def request_cancel(session: Session, job_id: int) -> Job:
    """Cancel a job: at once if it waits, through its supervisor if it runs.

    Asking twice is no error.

    Raises:
        NotFound: there is no such job.
        Conflict: the job is over.
    """
    cancelled = _transition(
        session,
        job_id,
        Status.QUEUED,
        Status.CANCELLED,
        finished_at=utc_now(),
        outcome_detail="Cancelled while it waited.",
    )
    if cancelled:
        add_event(session, job_id, "cancelled", "Cancelled while it waited.")
        return get(session, job_id)
    requested = session.execute(
        sa.update(Job)
        .where(Job.id == job_id, Job.status == Status.RUNNING, Job.cancel_requested_at.is_(None))
        .values(cancel_requested_at=utc_now())
    )
    if _rowcount(requested):
        add_event(session, job_id, "cancel_requested", "Asked to cancel.")
    job = get(session, job_id)
    if job.status.terminal:
        raise Conflict(
            f"Job {job_id} is over ({job.status}); only a job that is not can be cancelled."
        )
    return job


def retry(session: Session, job_id: int) -> Job:
    """Queue a new job with the spec of one that is over.

    Returns:
        The new job; its `parent_id` is the old one.

    Raises:
        NotFound: there is no such job.
        Conflict: the job is not over yet.
    """
    old = get(session, job_id)
    if not old.status.terminal:
        raise Conflict(f"Job {job_id} is {old.status}; only a job that is over can be retried.")
    submission = JobSubmission(
        name=old.name,
        tags=old.tags,
        priority=old.priority,
        preset=old.preset,
        parent_id=old.id,
        spec=JobSpec.model_validate(old.spec),
    )
    return _new_job(session, submission, old.spec, old.max_attempts, None)


def edit(
    session: Session,
    job_id: int,
    *,
    name: str | None = None,
    tags: list[str] | None = None,
    priority: int | None = None,
) -> Job:
    """Change what may change after submission; None leaves a value as it is.

    Raises:
        NotFound: there is no such job.
    """
    given = {"name": name, "tags": tags, "priority": priority}
    changes = {key: value for key, value in given.items() if value is not None}
    job = get(session, job_id)
    if changes:
        session.execute(sa.update(Job).where(Job.id == job_id).values(**changes))
        add_event(session, job_id, "edited", f"Changed {', '.join(changes)}.", data=changes)
        session.refresh(job)
    return job


def delete(session: Session, job_id: int) -> None:
    """Delete a job that is over, with all its rows; its files are the caller's to delete.

    Raises:
        NotFound: there is no such job.
        Conflict: the job is not over yet.
    """
    job = get(session, job_id)
    if not job.status.terminal:
        raise Conflict(f"Job {job_id} is {job.status}; cancel it before deleting it.")
    session.execute(sa.delete(Job).where(Job.id == job_id, Job.status == job.status))


def get(session: Session, job_id: int) -> Job:
    """Return the job as it is now.

    Raises:
        NotFound: there is no such job.
    """
    job = session.get(Job, job_id, populate_existing=True)
    if job is None:
        raise NotFound(f"There is no job {job_id}.")
    return job


# --- by the worker ------------------------------------------------------------------------------


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
        .order_by(Job.priority.desc(), Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if job_id is None:
        return None
    taken = _transition(
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


def cancel_requested(session: Session, lease: Lease) -> bool:
    """Return whether somebody asked to cancel the job.

    Raises:
        LeaseLost: the attempt has ended or belongs to somebody else.
    """
    row = session.execute(
        sa.select(Job.cancel_requested_at)
        .join(Attempt, Attempt.job_id == Job.id)
        .where(*_holds(lease))
    ).one_or_none()
    if row is None:
        raise LeaseLost(f"Attempt {lease.attempt} of job {lease.job_id} has no lease any more.")
    return row[0] is not None


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


def give_back(session: Session, lease: Lease, *, detail: str) -> None:
    """Put the job back into the queue, its place kept, because the worker stops.

    Raises:
        LeaseLost: the attempt has ended or belongs to somebody else.
    """
    _end_attempt(session, lease, Outcome.PREEMPTED, detail)
    _requeue_or_cancel(session, lease.job_id, "preempted", detail, lease.attempt)


def crash(session: Session, lease: Lease, *, failure: dict[str, Any]) -> None:
    """Count a crash of the trainer; queue the job again, or give it up after too many.

    Args:
        session: a writing session.
        lease: the attempt's.
        failure: what the job shows if it is given up.

    Raises:
        LeaseLost: the attempt has ended or belongs to somebody else.
    """
    _end_attempt(session, lease, Outcome.FAILED, failure["evidence"])
    _count_crash(session, lease.job_id, lease.attempt, "crashed", failure)


# --- by the scheduler ---------------------------------------------------------------------------


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


# --- events -------------------------------------------------------------------------------------


def add_event(
    session: Session,
    job_id: int,
    kind: str,
    message: str,
    *,
    attempt: int | None = None,
    data: dict[str, Any] | None = None,
) -> None:
    """Write one row of the job's history."""
    session.execute(
        sa.insert(JobEvent).values(
            job_id=job_id, attempt=attempt, at=utc_now(), kind=kind, message=message, data=data
        )
    )


# --- parts --------------------------------------------------------------------------------------


def _rowcount(result: sa.Result[Any]) -> int:
    return cast("sa.CursorResult[Any]", result).rowcount


def _check_same(earlier: Job, submission: JobSubmission, spec: dict[str, Any]) -> None:
    if earlier.spec != spec or earlier.preset != submission.preset:
        raise Conflict(
            f"The Idempotency-Key was used before, for job {earlier.id}, with another spec."
        )


def _new_job(
    session: Session,
    submission: JobSubmission,
    spec: dict[str, Any],
    max_attempts: int,
    idempotency_key: str | None,
) -> Job:
    parsed = submission.spec
    job = Job(
        name=submission.name or parsed.model.kind,
        status=Status.QUEUED,
        priority=submission.priority,
        tags=list(submission.tags),
        preset=submission.preset,
        parent_id=submission.parent_id,
        idempotency_key=idempotency_key,
        spec=spec,
        queue=parsed.resources.queue,
        gpus=parsed.resources.gpus,
        dataset=parsed.dataset.name,
        dataset_version=spec["dataset"]["version"],
        model=parsed.model.kind,
        optimizer=parsed.optimizer.kind,
        schedule=parsed.schedule.kind,
        learning_rate=parsed.learning_rate,
        batch_size=parsed.batch_size,
        epochs_total=parsed.epochs,
        submitted_at=utc_now(),
        queued_at=utc_now(),
        max_attempts=max_attempts,
        curve=[],
    )
    session.add(job)
    session.flush()
    add_event(session, job.id, "submitted", f"Submitted to queue {job.queue!r}.")
    session.refresh(job)
    return job


def _transition(session: Session, job_id: int, old: Status, new: Status, **values: Any) -> bool:
    """Change a job's status if it is `old`; return whether it was."""
    result = session.execute(
        sa.update(Job)
        .where(Job.id == job_id, Job.status == old)
        .values(status=new, **values)
        .execution_options(synchronize_session=False)
    )
    return _rowcount(result) == 1


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
    if _rowcount(result) != 1:
        raise LeaseLost(f"Attempt {lease.attempt} of job {lease.job_id} has no lease any more.")


def _end_attempt(session: Session, lease: Lease, outcome: Outcome, detail: str) -> None:
    _write_attempt(session, lease, outcome=outcome, ended_at=utc_now(), detail=detail)


def _finish(
    session: Session, lease: Lease, status: Status, outcome: Outcome, detail: str, **values: Any
) -> None:
    _end_attempt(session, lease, outcome, detail)
    claimed_at, now = session.execute(
        sa.select(sa.func.coalesce(Job.claimed_at, utc_now()), utc_now()).where(
            Job.id == lease.job_id
        )
    ).one()
    _transition(
        session,
        lease.job_id,
        Status.RUNNING,
        status,
        finished_at=now,
        duration_seconds=(now - claimed_at).total_seconds(),
        outcome_detail=detail,
        progress=None,
        **values,
    )
    add_event(session, lease.job_id, status.value, detail, attempt=lease.attempt)


def _requeue_or_cancel(session: Session, job_id: int, kind: str, detail: str, attempt: int) -> None:
    """Queue a job whose attempt ended early; a cancel asked for meanwhile is honoured."""
    add_event(session, job_id, kind, detail, attempt=attempt)
    job = get(session, job_id)
    if job.cancel_requested_at is None:
        _transition(session, job_id, Status.RUNNING, Status.QUEUED, queued_at=utc_now())
        return
    _transition(
        session,
        job_id,
        Status.RUNNING,
        Status.CANCELLED,
        finished_at=utc_now(),
        outcome_detail="Cancelled.",
        progress=None,
    )
    add_event(session, job_id, "cancelled", "Cancelled.", attempt=attempt)


def _count_crash(
    session: Session, job_id: int, attempt: int, kind: str, failure: dict[str, Any]
) -> None:
    session.execute(sa.update(Job).where(Job.id == job_id).values(crashes=Job.crashes + 1))
    job = get(session, job_id)
    if job.crashes < job.max_attempts:
        _requeue_or_cancel(session, job_id, kind, failure["evidence"], attempt)
        return
    add_event(session, job_id, kind, failure["evidence"], attempt=attempt)
    detail = f"Given up after {job.crashes} losses or crashes. {failure['evidence']}"
    _transition(
        session,
        job_id,
        Status.RUNNING,
        Status.FAILED,
        finished_at=utc_now(),
        failure=failure,
        outcome_detail=detail,
        progress=None,
    )
    add_event(session, job_id, "failed", detail, attempt=attempt)


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
    lost_seconds = _unsaved_seconds(session, attempt)
    detail = f"{why}: worker {attempt.worker} was lost; about {lost_seconds:.0f} s to repeat."
    _end_attempt(session, lease, Outcome.LOST, detail)
    _write_lost_seconds(session, lease, lost_seconds)
    failure = {
        "kind": "lost",
        "evidence": detail,
        "suggestion": "Look at that worker's log and memory; then retry.",
    }
    _count_crash(session, lease.job_id, lease.attempt, "lost", failure)


def _unsaved_seconds(session: Session, attempt: Attempt) -> float:
    """Return the seconds of work since the attempt's newest checkpoint."""
    if attempt.first_step_at is None:
        return 0.0
    saved_at: datetime | None = session.scalar(
        sa.select(sa.func.max(Artifact.created_at)).where(
            Artifact.job_id == attempt.job_id,
            Artifact.attempt == attempt.number,
            Artifact.kind == "checkpoint",
        )
    )
    since = max(saved_at, attempt.first_step_at) if saved_at else attempt.first_step_at
    return max(0.0, (attempt.heartbeat_at - since).total_seconds())


def _write_lost_seconds(session: Session, lease: Lease, seconds: float) -> None:
    session.execute(
        sa.update(Attempt)
        .where(Attempt.job_id == lease.job_id, Attempt.number == lease.attempt)
        .values(lost_seconds=seconds)
    )
    session.execute(
        sa.update(Job).where(Job.id == lease.job_id).values(lost_seconds=Job.lost_seconds + seconds)
    )

"""What a person does to a job: submit, cancel, retry, edit, delete."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import utc_now
from shared.errors import Conflict
from shared.jobs.transitions import add_event, get, rowcount, transition
from shared.models import DatasetVersion, Job, Status
from shared.spec import JobSpec, JobSubmission


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
    cancelled = transition(
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
    if rowcount(requested):
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

"""What a person does with jobs that wait or are over: submit, retry, edit, delete."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared import catalogue
from shared.database import utc_now
from shared.errors import Conflict
from shared.jobs.transitions import add_event, get, lock
from shared.models import DatasetVersion, Job, Status
from shared.spec import JobSpec, JobSubmission, validate
from shared.spec.job import merge


def submit(
    session: Session,
    submission: JobSubmission,
    *,
    dataset_version: DatasetVersion,
    max_attempts: int,
    idempotency_key: str | None = None,
    actor: str | None = None,
) -> tuple[Job, bool]:
    """Insert a queued job.

    Args:
        session: a writing session.
        submission: validated, with its name set.
        dataset_version: what `spec.dataset` resolved to; recorded in the spec.
        max_attempts: losses and crashes after which the job is given up.
        idempotency_key: a second submission with this key gives the first one's job.
        actor: who submits.

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
    job = _new_job(session, submission, spec, max_attempts, idempotency_key, actor)
    return job, True


def retry(
    session: Session,
    job_id: int,
    *,
    changes: dict[str, Any] | None = None,
    actor: str | None = None,
) -> Job:
    """Queue a new job with the spec of one that is over.

    Args:
        session: a writing session.
        job_id: the job that is over.
        changes: a partial spec to lay over its spec.
        actor: who asked for it.

    Returns:
        The new job; its `parent_id` is the old one.

    Raises:
        NotFound: there is no such job.
        Conflict: the job is not over yet.
        InvalidInput: the changed spec breaks a rule, or there is no such data set.
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
        spec=validate(JobSpec, _changed(old.spec, changes or {}), at="spec"),
    )
    spec = submission.spec.model_dump(mode="json")
    if spec["dataset"]["version"] is None:
        spec["dataset"]["version"] = catalogue.resolve(session, submission.spec.dataset).version
    return _new_job(session, submission, spec, old.max_attempts, None, actor)


def _changed(spec: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Lay changes over a spec; another data set is meant in its newest version."""
    dataset = changes.get("dataset")
    if (
        isinstance(dataset, dict)
        and dataset.get("name", spec["dataset"]["name"]) != (spec["dataset"]["name"])
    ):
        changes = changes | {"dataset": {"version": None, **dataset}}
    return merge(spec, changes)


def edit(
    session: Session,
    job_id: int,
    *,
    name: str | None = None,
    tags: list[str] | None = None,
    priority: int | None = None,
    queue: str | None = None,
    gpus: int | None = None,
    actor: str | None = None,
) -> Job:
    """Change what may change after submission; None leaves a value as it is.

    Raises:
        NotFound: there is no such job.
        Conflict: where it may run (`queue`, `gpus`) is decided, for it does not wait any more.
    """
    job = lock(session, job_id)
    plain = _given(name=name, tags=tags, priority=priority)
    where = _given(queue=queue, gpus=gpus)
    if where and job.status not in (Status.QUEUED, Status.PAUSED):
        raise Conflict(f"Job {job_id} is {job.status}; only a waiting job can go elsewhere.")
    if changes := plain | where:
        told = []
        for field, value in changes.items():
            told.append(f"{field} from {_shown(getattr(job, field))} to {_shown(value)}")
            setattr(job, field, value)
        job.spec = job.spec | {"resources": job.spec["resources"] | where}
        message = f"Changed {', '.join(told)}."
        add_event(session, job_id, "edited", message, actor=actor, data=changes)
        session.flush()
    return job


def _shown(value: Any) -> str:
    return (" ".join(value) or "none") if isinstance(value, list) else str(value)


def _given(**values: Any) -> dict[str, Any]:
    return {field: value for field, value in values.items() if value is not None}


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


def _last_rank(session: Session, job: Job) -> float:
    """Return the last rank of those that a new job waits behind; moved ones may be beyond it."""
    last = session.scalar(
        sa.select(sa.func.max(Job.queue_rank)).where(
            Job.status == Status.QUEUED,
            Job.queue == job.queue,
            Job.priority == job.priority,
            Job.id != job.id,
        )
    )
    return 0.0 if last is None else last


def _new_job(
    session: Session,
    submission: JobSubmission,
    spec: dict[str, Any],
    max_attempts: int,
    idempotency_key: str | None,
    actor: str | None,
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
        queue_rank=0,
        curve=[],
    )
    session.add(job)
    session.flush()
    job.queue_rank = max(job.id, _last_rank(session, job) + 1)
    message = f"Submitted to queue {job.queue!r}."
    add_event(session, job.id, "submitted", message, actor=actor)
    session.flush()
    session.refresh(job)
    return job

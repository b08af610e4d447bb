"""The way in: from a request's body to a queued job and a rung bell.

Everything that can be wrong with a job is found here, before anything is written.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import IntegrityError

from shared import catalogue, jobs
from shared.database import Database
from shared.errors import QueueUnavailable
from shared.models import DatasetVersion, Job
from shared.queue import Bell
from shared.settings import Settings
from shared.spec import JobSpec, fits, parse_submission

QUEUE_AWAY = "The queue service is away; the job is accepted and starts when it is back."

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Submission:
    """What became of a submission.

    Attributes:
        job: the job, as it stands in the database.
        created: False if an earlier submission with the same key had made it.
        warning: what the person should know, or None.
    """

    job: Job
    created: bool
    warning: str | None


def submit_job(
    database: Database,
    bell: Bell,
    settings: Settings,
    body: Any,
    idempotency_key: str | None = None,
    actor: str | None = None,
) -> Submission:
    """Validate a submission, queue the job, and ring.

    Args:
        database: where the job goes.
        bell: how workers hear of it; its silence is a warning, no error.
        settings: for `max_attempts`.
        body: the decoded JSON document, see `JobSubmission`.
        idempotency_key: a second call with the same key gives the first one's job.
        actor: who submits.

    Raises:
        InvalidInput: naming each field, its rule and the value received.
        Conflict: the key was used for another spec.
        NotFound: there is no job `parent_id`.
    """
    submission = parse_submission(body)
    for last_try in (False, True):
        try:
            with database.write() as session:
                version = catalogue.resolve(session, submission.spec.dataset)
                check_fits(submission.spec, version)
                job, created = jobs.submit(
                    session,
                    submission,
                    dataset_version=version,
                    max_attempts=settings.max_attempts,
                    idempotency_key=idempotency_key,
                    actor=actor,
                )
            break
        except IntegrityError:
            # The same key at the same moment: the other one's job is there now.
            if last_try:
                raise
    return Submission(job, created, ring(bell, job) if created else None)


def ring(bell: Bell, job: Job) -> str | None:
    """Tell the workers of a queued job.

    Returns:
        A warning if the queue service is away; the scheduler rings later.
    """
    try:
        bell.ring(job.queue, job.id)
    except QueueUnavailable as error:
        log.warning("Job %d waits for the queue service: %s", job.id, error)
        return QUEUE_AWAY
    return None


def check_fits(spec: JobSpec, version: DatasetVersion) -> None:
    """Check the spec's parts against each other and against its data.

    Raises:
        InvalidInput: naming the field.
    """
    shape = (version.height, version.width, version.channels)
    fits.check(spec, shape, classes=len(version.classes), train_images=version.train_images)

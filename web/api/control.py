"""Jobs on their way: cancel, pause, resume, move; and why one waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared import jobs, waiting
from shared.errors import Conflict
from shared.models import Job, Status
from shared.records import job_detail
from shared.spec import validate
from shared.submit import ring
from web.actor import current_actor
from web.api import schemas
from web.api.blueprint import JOB, Operation, bp, documented
from web.api.bodies import read_json
from web.api.jobs import change_job
from web.overview import queue_away
from web.yard import current_yard


@bp.post(f"{JOB}/cancel")
@documented(Operation("Cancel a job", schemas.JobDetail, errors=(404, 409)))
def cancel(job_id: int) -> Any:
    """Cancel a waiting job at once; ask a running one to stop."""
    return _ask(job_id, jobs.request_cancel)


@bp.post(f"{JOB}/pause")
@documented(Operation("Pause a job", schemas.JobDetail, errors=(404, 409)))
def pause(job_id: int) -> Any:
    """Pause a waiting job at once; ask a running one to save itself and rest."""
    return _ask(job_id, jobs.request_pause)


@bp.post(f"{JOB}/resume")
@documented(Operation("Resume a paused job", schemas.JobDetail, errors=(404, 409)))
def resume(job_id: int) -> Any:
    """Queue a paused job again; it goes on from its checkpoint."""
    answer = _ask(job_id, jobs.resume)
    yard = current_yard()
    with yard.database.read() as session:
        job = jobs.get(session, job_id)
    if job.status is Status.QUEUED:
        ring(yard.bell, job)
    return answer


@bp.post(f"{JOB}/move")
@documented(
    Operation(
        "Move a waiting job in its queue",
        schemas.JobDetail,
        body=schemas.Move,
        errors=(404, 409, 422),
    )
)
def move(job_id: int) -> Any:
    """Move a waiting job; it takes the priority of its new place."""
    where = validate(schemas.Move, read_json())
    actor = current_actor()

    def change(session: Session) -> Job:
        if where.to == "front":
            return jobs.move_to_front(session, job_id, actor=actor)
        return jobs.move(session, job_id, before=where.before, actor=actor)

    return job_detail(change_job(job_id, change))


@bp.get(f"{JOB}/waiting")
@documented(Operation("Say why a job waits", schemas.WaitRow, errors=(404, 409)))
def waiting_(job_id: int) -> Any:
    """Return reason, place, forecast and remedies."""
    with current_yard().database.read() as session:
        found = _explain(session, also=job_id)
        job = jobs.get(session, job_id)
    if job_id not in found:
        raise Conflict(f"Job {job_id} is {job.status}; only a queued job waits.")
    return _row(job, found[job_id])


@bp.get("/queue")
@documented(Operation("List what waits, first to start first", schemas.Listing[schemas.WaitRow]))
def queue() -> Any:
    """Return every waiting job with its reason, in the order of their starts."""
    with current_yard().database.read() as session:
        found = _explain(session)
        rows = session.execute(
            sa.select(Job.id, Job.name, Job.queue).where(Job.status == Status.QUEUED)
        )
        named = {row.id: row for row in rows}
    items = [_row(named[job_id], wait) for job_id, wait in found.items() if job_id in named]
    return {"items": items, "next_cursor": None}


def _ask(job_id: int, request: Callable[..., Job]) -> Any:
    actor = current_actor()
    return job_detail(change_job(job_id, lambda session: request(session, job_id, actor=actor)))


def _explain(session: Session, also: int | None = None) -> dict[int, waiting.Wait]:
    yard = current_yard()
    return waiting.explain(
        session,
        lease_seconds=yard.settings.lease_seconds,
        queue_away=queue_away(yard.bell),
        also=also,
    )


def _row(job: Any, wait: waiting.Wait) -> dict[str, Any]:
    return {"job_id": job.id, "name": job.name, "queue": job.queue} | wait.as_dict()

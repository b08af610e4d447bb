"""Jobs: list, submit, look at, change, retry, delete."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Response, request
from sqlalchemy.orm import Session

from shared import catalogue, jobs
from shared.filters import DEFAULT_LIMIT, MAX_LIMIT, SORTS, JobQuery
from shared.models import Job, Status
from shared.queries import list_jobs
from shared.records import job_detail, job_item
from shared.spec import JobSpec, JobSubmission, parse_submission, validate
from shared.spec.architecture import layers
from shared.spec.memory import estimate
from shared.spec.schedules import epoch_rates, rate_curve
from shared.submit import check_fits, ring, submit_job
from web.actor import current_actor
from web.api import schemas
from web.api.blueprint import JOB, Operation, Parameter, bp, documented
from web.api.bodies import idempotency_key, read_json
from web.yard import current_yard

_TEXT = {"type": "string"}
_FILTERS = (
    Parameter(
        "status",
        "Any of these; repeated, or with commas.",
        {"type": "array", "items": {"type": "string", "enum": [*Status]}},
    ),
    Parameter("q", "Words that stand in the name, or a job's number.", _TEXT),
    Parameter("tag", "A tag the job has; may be repeated.", {"type": "array", "items": _TEXT}),
    Parameter("dataset", "Name of the data set.", _TEXT),
    Parameter("model", "Kind of the model.", _TEXT),
    Parameter(
        "param",
        "`param.<path>=<value>`: a value in the spec, such as `param.optimizer.kind=adam`.",
        {"type": "object", "additionalProperties": _TEXT},
    ),
    Parameter(
        "sort",
        "Column to sort by, with `-` in front for descending.",
        {"type": "string", "default": "-id", "enum": [s + n for n in SORTS for s in ("", "-")]},
    ),
    Parameter(
        "limit",
        "Jobs on a page.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    ),
    Parameter("cursor", "`next_cursor` of the page before, with the same sort.", _TEXT),
)
_KEY = Parameter(
    "Idempotency-Key",
    "Makes it safe to send the request again: the second time answers with the first one's job.",
    {"type": "string", "maxLength": 200},
    place="header",
)


@bp.get("/jobs")
@documented(
    Operation("List jobs", schemas.Listing[schemas.JobItem], parameters=_FILTERS, errors=(422,))
)
def list_() -> Any:
    """Return a page of jobs."""
    query = JobQuery.parse(request.args.items(multi=True))
    with current_yard().database.read() as session:
        page = list_jobs(session, query)
    return {"items": [job_item(job) for job in page.jobs], "next_cursor": page.next_cursor}


@bp.post("/jobs")
@documented(
    Operation(
        "Submit a job",
        schemas.JobAccepted,
        status=201,
        body=JobSubmission,
        parameters=(_KEY,),
        errors=(404, 409, 422),
    )
)
def submit() -> Any:
    """Queue a job; 200 instead of 201 says that this key has queued it before."""
    yard = current_yard()
    done = submit_job(
        yard.database, yard.bell, yard.settings, read_json(), idempotency_key(), current_actor()
    )
    if done.created:
        yard.publisher.publish(done.job.id, "job")
    status = HTTPStatus.CREATED if done.created else HTTPStatus.OK
    return _accepted(done.job, done.warning, status)


@bp.post("/jobs/validate")
@documented(
    Operation(
        "Check a submission without queueing it",
        schemas.Validation,
        body=JobSubmission,
        errors=(422,),
    )
)
def validate_() -> Any:
    """Return what the job would train, or the broken rules."""
    submission = parse_submission(read_json())
    spec = submission.spec
    with current_yard().database.read() as session:
        version = catalogue.resolve(session, spec.dataset)
    check_fits(spec, version)
    shape = (version.height, version.width, version.channels)
    rows = layers(spec.model, shape, len(version.classes))
    return {
        "name": submission.name,
        "spec": spec.model_dump(mode="json"),
        "layers": [row.as_dict() for row in rows],
        "parameters": sum(row.parameters for row in rows) if rows else None,
        "memory": estimate(spec, rows).as_dict() if rows else None,
        "learning_rates": epoch_rates(spec),
        "learning_rate_curve": rate_curve(spec),
    }


@bp.get(JOB)
@documented(Operation("Look at a job", schemas.JobDetail, errors=(404,)))
def show(job_id: int) -> Any:
    """Return a job."""
    with current_yard().database.read() as session:
        return job_detail(jobs.get(session, job_id))


@bp.patch(JOB)
@documented(
    Operation(
        "Change name, tags or priority; queue and GPUs of a waiting job",
        schemas.JobDetail,
        body=schemas.JobEdit,
        errors=(404, 409, 422),
    )
)
def edit(job_id: int) -> Any:
    """Change what may change after submission."""
    changes = validate(schemas.JobEdit, read_json()).model_dump()
    actor = current_actor()

    def change(session: Session) -> Job:
        job = jobs.edit(session, job_id, **changes, actor=actor)
        if changes["gpus"] is not None:
            _check_fits(session, job)
        return job

    job = change_job(job_id, change)
    if job.status is Status.QUEUED:
        ring(current_yard().bell, job)
    return job_detail(job)


@bp.delete(JOB)
@documented(
    Operation("Delete a job that is over, and its files", None, status=204, errors=(404, 409))
)
def delete(job_id: int) -> Any:
    """Delete a job's rows, then its files."""
    yard = current_yard()
    with yard.database.write() as session:
        jobs.delete(session, job_id)
    yard.artifacts.delete(f"jobs/{job_id}")
    yard.publisher.publish(job_id, "job")
    return Response(status=HTTPStatus.NO_CONTENT)


@bp.post(f"{JOB}/retry")
@documented(
    Operation(
        "Queue a new job with the spec of one that is over, changed or not",
        schemas.JobAccepted,
        status=201,
        body=schemas.Retry,
        errors=(404, 409, 422),
    )
)
def retry(job_id: int) -> Any:
    """Queue the job again, as a new one."""
    yard = current_yard()
    changes = validate(schemas.Retry, read_json(default={})).spec
    with yard.database.write() as session:
        job = jobs.retry(session, job_id, changes=changes, actor=current_actor())
        _check_fits(session, job)
    warning = ring(yard.bell, job)
    yard.publisher.publish(job.id, "job")
    return _accepted(job, warning, HTTPStatus.CREATED)


def _check_fits(session: Session, job: Job) -> None:
    spec = JobSpec.model_validate(job.spec)
    check_fits(spec, catalogue.resolve(session, spec.dataset))


def change_job(job_id: int, change: Callable[[Session], Job]) -> Job:
    """Change a job in one transaction, and tell open pages."""
    yard = current_yard()
    with yard.database.write() as session:
        job = change(session)
    yard.publisher.publish(job_id, "job")
    return job


def _accepted(job: Job, warning: str | None, status: HTTPStatus) -> Any:
    body = job_detail(job) | ({"warning": warning} if warning else {})
    return body, status, {"Location": f"{bp.url_prefix}/jobs/{job.id}"}

"""What a job has been through: epochs, gauges, events, attempts."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from flask import Response, request
from sqlalchemy.orm import Session

from shared import jobs
from shared.errors import InvalidInput
from shared.models import Attempt, Epoch, Gauge, JobEvent
from shared.records import attempt_row, epoch_row, event_row, gauge_row
from web.api import schemas
from web.api.blueprint import JOB, Operation, Parameter, bp, documented
from web.yard import current_yard

_FORMAT = Parameter(
    "format",
    "`csv` to download a table instead.",
    {"type": "string", "enum": ["json", "csv"], "default": "json"},
)


@bp.get(f"{JOB}/epochs")
@documented(
    Operation(
        "List a job's epochs",
        schemas.Listing[schemas.EpochRow],
        parameters=(_FORMAT,),
        errors=(404, 422),
    )
)
def epochs(job_id: int) -> Any:
    """Return all epochs, from the first."""
    form = request.args.get("format", "json")
    if form not in ("json", "csv"):
        raise InvalidInput.of("format", "Must be one of: json, csv.", form)
    rows = _rows(job_id, sa.select(Epoch).where(Epoch.job_id == job_id).order_by(Epoch.epoch))
    items = [epoch_row(row) for row in rows]
    return _csv(job_id, items) if form == "csv" else _all(items)


@bp.get(f"{JOB}/gauges")
@documented(
    Operation(
        "List how hard the machine worked for a job, at most some hundreds of points",
        schemas.Listing[schemas.GaugeRow],
        errors=(404,),
    )
)
def gauges(job_id: int) -> Any:
    """Return all points, from the first."""
    query = sa.select(Gauge).where(Gauge.job_id == job_id).order_by(Gauge.attempt, Gauge.second)
    return _all([gauge_row(row) for row in _rows(job_id, query)])


@bp.get(f"{JOB}/events")
@documented(
    Operation("List what happened to a job", schemas.Listing[schemas.EventRow], errors=(404,))
)
def events(job_id: int) -> Any:
    """Return all events, from the first."""
    query = sa.select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.id)
    return _all([event_row(row) for row in _rows(job_id, query)])


@bp.get(f"{JOB}/attempts")
@documented(Operation("List a job's attempts", schemas.Listing[schemas.AttemptRow], errors=(404,)))
def attempts(job_id: int) -> Any:
    """Return all attempts, from the first."""
    query = sa.select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.number)
    return _all([attempt_row(row) for row in _rows(job_id, query)])


def _rows(job_id: int, query: sa.Select[Any]) -> Sequence[Any]:
    with current_yard().database.read() as session:
        return rows_of(session, job_id, query)


def rows_of(session: Session, job_id: int, query: sa.Select[Any]) -> Sequence[Any]:
    """Return a job's rows.

    Raises:
        NotFound: there is no such job.
    """
    rows = session.scalars(query).all()
    if not rows:
        jobs.get(session, job_id)
    return rows


def _all(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"items": items, "next_cursor": None}


def _csv(job_id: int, items: list[dict[str, Any]]) -> Response:
    columns = [name for name in schemas.EpochRow.model_fields if name != "extra"]
    text = io.StringIO()
    table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(items)
    response = Response(text.getvalue(), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="job-{job_id}-epochs.csv"'
    return response

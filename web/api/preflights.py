"""Pre-flights: what a job would take, found out on a slot before it is queued."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from shared import catalogue, preflights, waiting
from shared.errors import QueueUnavailable
from shared.models import Preflight, TicketStatus
from shared.records import preflight_row
from shared.spec import JobSubmission, parse_submission
from shared.submit import check_fits
from web.actor import current_actor
from web.api import schemas
from web.api.blueprint import Operation, bp, documented
from web.api.bodies import read_json
from web.overview import queue_away
from web.yard import current_yard

_PREFLIGHT = "/preflights/<int:preflight_id>"


@bp.post("/preflights")
@documented(
    Operation(
        "Try a submission out without queueing it: memory, seconds an epoch, largest batch",
        schemas.Preflight,
        status=202,
        body=JobSubmission,
        errors=(422,),
    )
)
def ask() -> Any:
    """Ask the next free slot that could run the job to try a few steps of it."""
    yard = current_yard()
    spec = parse_submission(read_json()).spec
    with yard.database.write() as session:
        version = catalogue.resolve(session, spec.dataset)
        check_fits(spec, version)
        preflight = preflights.request(session, spec, version, actor=current_actor())
    with suppress(QueueUnavailable):  # the answer says so; the scheduler rings later
        yard.bell.ring(preflight.queue)
    with yard.database.read() as session:
        body = _answer(session, preflight)
    location = {"Location": f"{bp.url_prefix}/preflights/{preflight.id}"}
    return body, HTTPStatus.ACCEPTED, location


@bp.get(_PREFLIGHT)
@documented(Operation("Look at a pre-flight", schemas.Preflight, errors=(404,)))
def look(preflight_id: int) -> Any:
    """Return how far it is, or the answer; kept for a day."""
    with current_yard().database.read() as session:
        return _answer(session, preflights.get(session, preflight_id))


@bp.delete(_PREFLIGHT)
@documented(Operation("Forget a pre-flight; it stops if it runs", None, status=204, errors=(404,)))
def forget(preflight_id: int) -> Any:
    """Forget a pre-flight."""
    with current_yard().database.write() as session:
        preflights.delete(session, preflight_id)
    return Response(status=HTTPStatus.NO_CONTENT)


def _answer(session: Session, preflight: Preflight) -> dict[str, Any]:
    sentence = None
    if preflight.status is TicketStatus.QUEUED:
        yard = current_yard()
        sentence = waiting.explain_preflight(
            session,
            queue=preflight.queue,
            gpus=preflight.gpus,
            lease_seconds=yard.settings.lease_seconds,
            queue_away=queue_away(yard.bell),
        )
    return preflight_row(preflight) | {"waiting": sentence}

"""Workers: who has reported, who still does, and who shall drain."""

from __future__ import annotations

from typing import Any

from flask import Response

from shared import workers
from shared.spec import validate
from web.actor import current_actor
from web.api import schemas
from web.api.blueprint import Operation, bp, documented
from web.api.bodies import read_json
from web.yard import current_yard


@bp.get("/workers")
@documented(Operation("List workers", schemas.Listing[schemas.WorkerRow]))
def list_workers() -> Any:
    """Return every worker, those alive first."""
    yard = current_yard()
    with yard.database.read() as session:
        items = [found.row() for found in workers.seen(session, yard.settings.lease_seconds)]
    return {"items": items, "next_cursor": None}


@bp.post("/workers/<name>/drain")
@documented(Operation("Drain a worker", None, status=204, body=schemas.Drain, errors=(404, 422)))
def drain(name: str) -> Any:
    """Ask a worker to hand its jobs back and to take no more."""
    said = validate(schemas.Drain, read_json(default={})).reason
    reason = f"Asked by {current_actor()}" + (f": {said}" if said else ".")
    with current_yard().database.write() as session:
        workers.request_drain(session, name, reason=reason)
    return Response(status=204)


@bp.delete("/workers/<name>/drain")
@documented(Operation("Let a worker take jobs again", None, status=204, errors=(404,)))
def end_drain(name: str) -> Any:
    """End the draining of a worker."""
    with current_yard().database.write() as session:
        workers.end_drain(session, name)
    return Response(status=204)

"""Workers: who has reported, who still does, and who shall drain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

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
@documented(Operation("Drain a worker", schemas.WorkerRow, body=schemas.Drain, errors=(404, 422)))
def drain(name: str) -> Any:
    """Ask a worker to hand its jobs back and to take no more."""
    said = validate(schemas.Drain, read_json(default={})).reason
    reason = f"Asked by {current_actor()}" + (f": {said}" if said else ".")
    return _changed(lambda session: workers.request_drain(session, name, reason=reason), name)


@bp.delete("/workers/<name>/drain")
@documented(Operation("Let a worker take jobs again", schemas.WorkerRow, errors=(404,)))
def end_drain(name: str) -> Any:
    """End the draining of a worker."""
    return _changed(lambda session: workers.end_drain(session, name), name)


def _changed(change: Callable[[Session], None], name: str) -> Any:
    yard = current_yard()
    with yard.database.write() as session:
        change(session)
        found = workers.seen(session, yard.settings.lease_seconds)
        return next(one.row() for one in found if one.worker.name == name)

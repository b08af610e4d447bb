"""Workers: who has reported, and who still does."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from shared.database import utc_now
from shared.models import Worker
from shared.records import worker_row
from web.api import schemas
from web.api.blueprint import Operation, bp, documented
from web.yard import current_yard


@bp.get("/workers")
@documented(Operation("List workers", schemas.Listing[schemas.WorkerRow]))
def workers() -> Any:
    """Return every worker, by name."""
    yard = current_yard()
    fresh = Worker.heartbeat_at > utc_now(-yard.settings.lease_seconds)
    alive = sa.and_(Worker.stopped_at.is_(None), fresh)
    with yard.database.read() as session:
        rows = session.execute(sa.select(Worker, alive).order_by(Worker.name)).all()
    items = [worker_row(worker) | {"alive": bool(is_alive)} for worker, is_alive in rows]
    return {"items": items, "next_cursor": None}

"""What machines ask a server: are you alive, can you work, how are you doing."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response
from sqlalchemy.exc import SQLAlchemyError

from shared.errors import QueueUnavailable
from shared.schema import mismatch
from web import metrics
from web.yard import Yard, current_yard

bp = Blueprint("health", __name__)


@bp.get("/healthz")
def healthz() -> Any:
    """Say that the process is alive; looks at nothing else."""
    return {"status": "alive"}


@bp.get("/readyz")
def readyz() -> Any:
    """Say whether requests can be served; without Redis they can, though not as well."""
    yard = current_yard()
    database, queue = _database_state(yard), _queue_state(yard)
    if database != "ok":
        return {"status": "unavailable", "database": database, "queue": queue}, 503
    status = "ready" if queue == "ok" else "degraded"
    return {"status": status, "database": database, "queue": queue}


@bp.get("/metrics")
def show_metrics() -> Response:
    """Show the yard's figures to Prometheus."""
    return Response(metrics.exposition(current_yard()), content_type=metrics.MEDIA_TYPE)


def _database_state(yard: Yard) -> str:
    try:
        return mismatch(yard.database) or "ok"
    except SQLAlchemyError as error:
        return f"The database cannot be reached: {type(error).__name__}."


def _queue_state(yard: Yard) -> str:
    try:
        yard.bell.ping()
    except QueueUnavailable:
        return "away"
    return "ok"

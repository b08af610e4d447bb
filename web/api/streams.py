"""Live events, as server-sent events: of one job, and of the whole list."""

from __future__ import annotations

import re

from flask import Response, request

from shared.errors import InvalidInput
from web.api.blueprint import JOB, Operation, Parameter, bp, documented
from web.streams import Stream
from web.yard import current_yard

# A viewer that takes nothing for so long is gone.
_SEND_SECONDS = 30.0
_LAST = Parameter(
    "Last-Event-ID",
    "`e<epoch>` of the last epoch that the client knows; browsers send it by themselves.",
    {"type": "string"},
    place="header",
)
_AFTER = Parameter(
    "after",
    "The same, for a browser's first connection, which cannot set the header.",
    {"type": "string"},
)


@bp.get(f"{JOB}/stream")
@documented(
    Operation(
        "Follow a job: events `job`, `epoch`, `progress`, `gauge`, `log`, and `end` when it is "
        "over",
        "text/event-stream",
        parameters=(_LAST, _AFTER),
        errors=(404, 422, 503),
    )
)
def job_stream(job_id: int) -> Response:
    """Stream a job's events until it is over."""
    return _respond(current_yard().live.watch_job(job_id, after_epoch=_after_epoch()))


@bp.get("/stream")
@documented(
    Operation(
        "Follow all jobs: event `job` for each that changes, `gone` for each that is deleted, "
        "`sync` when anything may have been missed",
        "text/event-stream",
        errors=(503,),
    )
)
def list_stream() -> Response:
    """Stream every job that changes."""
    return _respond(current_yard().live.watch_list())


def _after_epoch() -> int:
    name, text = "Last-Event-ID", request.headers.get("Last-Event-ID", "")
    if not text:
        name, text = "after", request.args.get("after", "")
    if not text:
        return 0
    found = re.fullmatch(r"e([0-9]{1,9})", text)
    if found is None:
        raise InvalidInput.of(name, "Must be `e` and the number of an epoch.", text)
    return int(found[1])


def _respond(stream: Stream) -> Response:
    response = Response(stream.frames(), mimetype="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold events back
    response.call_on_close(stream.close)
    connection = request.environ.get("gunicorn.socket")
    if connection is not None:
        connection.settimeout(_SEND_SECONDS)
    return response

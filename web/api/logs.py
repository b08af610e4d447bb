"""A job's log: what its trainers printed, attempt after attempt."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator
from contextlib import closing

import sqlalchemy as sa
from flask import Response, request

from shared.artifacts import ArtifactStore
from shared.errors import NotFound
from shared.filters import parse_limit
from shared.models import Artifact
from web.api.blueprint import JOB, Operation, Parameter, bp, documented
from web.api.history import rows_of
from web.yard import current_yard

_MAX_TAIL_LINES = 10_000
_TAIL = Parameter(
    "tail",
    "Only so many of the last lines.",
    {"type": "integer", "minimum": 1, "maximum": _MAX_TAIL_LINES},
)


@bp.get(f"{JOB}/log")
@documented(Operation("Read a job's log", "text/plain", parameters=(_TAIL,), errors=(404, 422)))
def log(job_id: int) -> Response:
    """Return the log, as far as it has been stored: a running job's within seconds."""
    text = request.args.get("tail")
    tail = parse_limit(text, name="tail", most=_MAX_TAIL_LINES) if text else None
    yard = current_yard()
    query = (
        sa.select(Artifact)
        .where(Artifact.job_id == job_id, Artifact.kind == "log")
        .order_by(Artifact.attempt)
    )
    with yard.database.read() as session:
        rows = list(rows_of(session, job_id, query))
    lines: Iterator[bytes] = _lines(yard.artifacts, rows)
    if tail is not None:
        lines = iter(deque(lines, maxlen=tail))
    return Response(lines, content_type="text/plain; charset=utf-8")


def _lines(store: ArtifactStore, rows: list[Artifact]) -> Iterator[bytes]:
    for row in rows:
        if len(rows) > 1:
            yield f"--- attempt {row.attempt} ---\n".encode()
        try:
            file = store.open(row.path)
        except NotFound:
            yield b"(This part of the log is not in the artifact store any more.)\n"
            continue
        with closing(file), io.BufferedReader(file) as reader:  # type: ignore[type-var]
            yield from reader

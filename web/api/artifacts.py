"""A job's files: which there are, and their bytes."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import Any

import sqlalchemy as sa
from flask import Response, send_file

from shared import jobs
from shared.errors import NotFound
from shared.models import Artifact
from shared.records import artifact_row
from web.api import schemas
from web.api.blueprint import JOB, Operation, bp, documented
from web.api.history import rows_of
from web.yard import current_yard


@bp.get(f"{JOB}/artifacts")
@documented(Operation("List a job's files", schemas.Listing[schemas.ArtifactRow], errors=(404,)))
def artifacts(job_id: int) -> Any:
    """Return what is known of all files, by name."""
    query = sa.select(Artifact).where(Artifact.job_id == job_id).order_by(Artifact.name)
    with current_yard().database.read() as session:
        items = [artifact_row(row) for row in rows_of(session, job_id, query)]
    return {"items": items, "next_cursor": None}


@bp.get(f"{JOB}/artifacts/<path:name>")
@documented(Operation("Download a file", "application/octet-stream", errors=(404,)))
def artifact(job_id: int, name: str) -> Response:
    """Return a file, streamed; never shown as a page of ours, whatever it holds."""
    yard = current_yard()
    with yard.database.read() as session:
        query = sa.select(Artifact).where(Artifact.job_id == job_id, Artifact.name == name)
        row = session.scalar(query)
        if row is None:
            jobs.get(session, job_id)
            raise NotFound(f"Job {job_id} has no file {name!r}.")
    file = yard.artifacts.open(row.path)
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    response = send_file(
        file,
        mimetype=row.media_type,
        as_attachment=True,
        download_name=PurePosixPath(name).name,
        etag=False,
    )
    response.content_length = size
    return response

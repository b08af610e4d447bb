"""Imports: files that are sent, one request each, and what becomes of them."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from flask import Response, request
from sqlalchemy.orm import Session
from werkzeug.exceptions import LengthRequired, RequestEntityTooLarge

from shared import imports, waiting
from shared.datasets.known import complete
from shared.errors import InvalidInput, TrainyardError
from shared.models import Import, TicketStatus
from shared.records import import_row
from shared.spec.dataset_import import DatasetImport
from shared.spec.job import validate
from web.actor import current_actor
from web.api import dataset_schemas, schemas
from web.api.blueprint import Operation, Parameter, bp, documented
from web.api.bodies import read_json
from web.yard import Yard, current_yard

_IMPORT = "/imports/<int(max=9223372036854775807):import_id>"
_CHUNK_BYTES = 1 << 18
_RECENT = 50
_FILE_NAME = re.compile(r"[^\x00-\x1f\x7f/\\]{1,255}")
_PARTS = ("train", "test")

log = logging.getLogger(__name__)


@bp.post("/datasets")
@documented(
    Operation(
        "Begin to import a data set, or a new version of one",
        dataset_schemas.Import,
        status=202,
        body=DatasetImport,
        errors=(409, 422),
    )
)
def begin_import() -> Any:
    """Begin an import; then send its files, and start it."""
    asked = complete(validate(DatasetImport, read_json()))
    with current_yard().database.write() as session:
        row = imports.begin(session, asked, actor=current_actor())
        body = _body(session, row)
    return body, HTTPStatus.ACCEPTED, {"Location": f"{bp.url_prefix}/imports/{row.id}"}


@bp.put(f"{_IMPORT}/files/<name>")
@documented(
    Operation(
        "Send a file, as it is",
        dataset_schemas.Import,
        body="application/octet-stream",
        parameters=(
            Parameter(
                "part",
                "What its images are for, if its name does not say so.",
                {"type": "string", "enum": list(_PARTS)},
            ),
        ),
        errors=(404, 409, 411, 422),
    )
)
def send_file(import_id: int, name: str) -> Any:
    """Take the body as a file of the import; the same name again replaces it."""
    yard = current_yard()
    part = request.args.get("part")
    if part is not None and part not in _PARTS:
        raise InvalidInput.of("part", "Must be train or test.", part)
    if not _FILE_NAME.fullmatch(name) or name in (".", ".."):
        raise InvalidInput.of("name", "Must be a file's name of at most 255 characters.", name)
    with yard.database.read() as session:
        imports.require_uploading(imports.get(session, import_id))
    most = yard.settings.max_upload_bytes
    if request.content_length is None and not request.environ.get("wsgi.input_terminated"):
        raise LengthRequired
    request.max_content_length = most
    if (request.content_length or 0) > most:
        raise RequestEntityTooLarge
    # A path of our own making: the name that was sent is data, never a path. And a new one each
    # time: what is sent again must not change what an import that has started meanwhile reads.
    path = f"{imports.folder(import_id)}/{secrets.token_hex(16)}"
    size, sha256 = yard.artifacts.receive(_chunks(), path)
    file = {"name": name, "part": part, "bytes": size, "sha256": sha256, "path": path}
    return _enter(yard, import_id, file)


def _enter(yard: Yard, import_id: int, file: dict[str, Any]) -> dict[str, Any]:
    """Write down a file that lies in the store; what is not wanted there any more goes."""
    try:
        with yard.database.write() as session:
            before = {each["path"] for each in imports.get(session, import_id).files}
            row = imports.add_file(session, import_id, file)
            body, replaced = _body(session, row), before - {each["path"] for each in row.files}
    except TrainyardError:
        _discard(yard, file["path"])
        raise
    for each in replaced:
        _discard(yard, each)
    return body


def _discard(yard: Yard, path: str) -> None:
    """Delete what no import needs; what stays because the store is away, workers delete later."""
    try:
        yard.artifacts.delete(path)
    except (OSError, TrainyardError) as error:
        log.warning("%s stays for now: %s", path, error)


@bp.post(f"{_IMPORT}/start")
@documented(
    Operation(
        "Say that all files are there", dataset_schemas.Import, status=202, errors=(404, 409, 422)
    )
)
def start_import(import_id: int) -> Any:
    """Queue the import; a worker takes it within a second or two."""
    read_json(default={})
    with current_yard().database.write() as session:
        body = _body(session, imports.start(session, import_id))
    return body, HTTPStatus.ACCEPTED


@bp.get("/imports")
@documented(Operation("List imports, newest first", schemas.Listing[dataset_schemas.Import]))
def list_imports() -> Any:
    """Return the newest imports."""
    with current_yard().database.read() as session:
        items = _bodies(session, imports.recent(session, _RECENT))
    return {"items": items, "next_cursor": None}


@bp.get(_IMPORT)
@documented(Operation("Look at an import", dataset_schemas.Import, errors=(404,)))
def look_at_import(import_id: int) -> Any:
    """Return how far it is, or what came of it; kept for a month."""
    with current_yard().database.read() as session:
        return _body(session, imports.get(session, import_id))


@bp.delete(_IMPORT)
@documented(Operation("Forget an import; it stops if it runs", None, status=204, errors=(404,)))
def forget_import(import_id: int) -> Any:
    """Forget an import and delete the files that were sent; a version that it made stays."""
    yard = current_yard()
    with yard.database.write() as session:
        imports.delete(session, import_id)
    _discard(yard, imports.folder(import_id))
    return Response(status=HTTPStatus.NO_CONTENT)


def _body(session: Session, row: Import) -> dict[str, Any]:
    return _bodies(session, [row])[0]


def _bodies(session: Session, rows: list[Import]) -> list[dict[str, Any]]:
    """Return imports with why those that wait do."""
    waits: dict[int, str] = {}
    if any(row.status is TicketStatus.QUEUED for row in rows):
        lease_seconds = current_yard().settings.lease_seconds
        waits = waiting.explain_imports(session, lease_seconds=lease_seconds)
    return [import_row(row, waits.get(row.id)) for row in rows]


def _chunks() -> Iterator[bytes]:
    while chunk := request.stream.read(_CHUNK_BYTES):
        yield chunk

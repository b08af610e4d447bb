"""Imports for tests on real workers: sending files, waiting, and what lies in the store."""

from __future__ import annotations

import os
import subprocess
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from shared import imports
from shared.database import Database
from shared.models import Import, TicketStatus
from shared.settings import Settings
from tests.waiting import wait_until
from tests.worker_yard import Yard

DATASETS = "/api/v1/datasets"


def begun(client: FlaskClient, name: str = "flowers", **changes: Any) -> str:
    """Begin an import over HTTP; return its path."""
    answer = client.post(DATASETS, json={"name": name, **changes})
    assert answer.status_code == 202, answer.text
    return answer.headers["Location"]


def send(client: FlaskClient, path: str, name: str, content: bytes, **options: Any) -> TestResponse:
    """Send a file to an import."""
    return client.put(f"{path}/files/{quote(name, safe='')}", data=content, **options)


def start(client: FlaskClient, files: dict[str, bytes], name: str = "flowers", **body: Any) -> int:
    """Begin an import, send its files, and start it; return its number."""
    path = begun(client, name, **body)
    for file, content in files.items():
        assert send(client, path, file, content).status_code == 200
    assert client.post(f"{path}/start", json={}).status_code == 202
    return int(path.rpartition("/")[2])


def try_start(client: FlaskClient, files: dict[str, bytes], name: str) -> int | None:
    """Do as `start`; None if the server, or what it needs, was away meanwhile."""
    answer = client.post(DATASETS, json={"name": name})
    if answer.status_code != HTTPStatus.ACCEPTED:
        return None
    path = answer.headers["Location"]
    for file, content in files.items():
        if send(client, path, file, content).status_code != HTTPStatus.OK:
            return None
    if client.post(f"{path}/start", json={}).status_code != HTTPStatus.ACCEPTED:
        return None
    return int(path.rpartition("/")[2])


def look(database: Database, import_id: int) -> Import:
    """Return an import as it is now."""
    with database.read() as session:
        return imports.get(session, import_id)


def wait_over(yard: Yard, import_id: int, status: TicketStatus = TicketStatus.DONE) -> Import:
    """Wait for an import's end, which must be this one."""
    over = (TicketStatus.DONE, TicketStatus.FAILED)
    wait_until(
        lambda: look(yard.database, import_id).status in over,
        60,
        what=f"import {import_id} is over",
    )
    row = look(yard.database, import_id)
    assert row.status is status, row.failure
    return row


def reader_of(worker: subprocess.Popen[bytes]) -> psutil.Process:
    """Wait for the stopped reader of files of a worker with the fault `held_reader`."""

    def stopped() -> psutil.Process | None:
        children = psutil.Process(worker.pid).children()
        return next((child for child in children if child.status() == psutil.STATUS_STOPPED), None)

    found = wait_until(stopped, what="the reader of files has started")
    assert found is not None
    return found


def stored(settings: Settings) -> list[str]:
    """Return the files in a yard's artifact folder that are not of jobs."""
    root = settings.data_dir / "artifacts"
    return sorted(
        str((Path(folder) / name).relative_to(root))
        for top in ("uploads", "datasets", ".receiving")
        for folder, _, names in os.walk(root / top)  # a folder may go while one looks
        for name in names
    )

"""Fetching a job's files, each checked against its hash."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from shared.cli.client import Client
from shared.errors import TrainyardError


class Corrupted(TrainyardError):
    """A file arrived with another hash than the server promised."""


def fetch(client: Client, job_id: int, artifact: dict[str, Any], folder: Path) -> Path:
    """Fetch one file of a job.

    Args:
        client: the server.
        job_id: the job.
        artifact: its row of `/jobs/{id}/artifacts`.
        folder: where to; made if missing.

    Returns:
        The file.

    Raises:
        Corrupted: it arrived damaged; nothing is left behind.
    """
    name = str(artifact["name"])
    path = _inside(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    client.download(f"/jobs/{job_id}/artifacts/{quote(name)}", path)
    with path.open("rb") as file:
        received = hashlib.file_digest(file, "sha256").hexdigest()
    if received != artifact["sha256"]:
        path.unlink()
        raise Corrupted(
            f"{name} arrived damaged: its hash must be {artifact['sha256']}. Received: {received}."
        )
    return path


def _inside(folder: Path, name: str) -> Path:
    """Return the path of `name` in `folder`, out of which a server's name must not lead.

    Raises:
        Corrupted: it would.
    """
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or PurePosixPath(name).is_absolute():
        raise Corrupted(f"The server names a file {name!r}, which lies outside of the job.")
    return folder.joinpath(*parts)

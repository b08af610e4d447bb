"""Fetching a job's files, each checked against its hash."""

from __future__ import annotations

import hashlib
from pathlib import Path
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
    if (
        name in ("", "..") or Path(name).name != name
    ):  # a server's name must not lead out of the folder
        raise Corrupted(f"The server names a file {name!r}, which is no file name.")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    client.download(f"/jobs/{job_id}/artifacts/{quote(name)}", path)
    with path.open("rb") as file:
        received = hashlib.file_digest(file, "sha256").hexdigest()
    if received != artifact["sha256"]:
        path.unlink()
        raise Corrupted(
            f"{name} arrived damaged: its hash must be {artifact['sha256']}. Received: {received}."
        )
    return path

"""When the yard is ready: the web server says so, and every worker has registered."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

_POLL_SECONDS = 0.05
_TIMEOUT_SECONDS = 5.0


async def wait_until_ready(
    url: str, token: str | None, worker_groups: Callable[[], list[int]]
) -> None:
    """Wait until the server is ready and the workers are known to it.

    Args:
        url: address of the web server.
        token: access token, if the server asks for one.
        worker_groups: gives the process group of each worker that must have registered.
    """
    while not await asyncio.to_thread(_is_ready, url, token, worker_groups()):
        await asyncio.sleep(_POLL_SECONDS)


def _is_ready(url: str, token: str | None, worker_groups: list[int]) -> bool:
    try:
        _get(url, "/readyz", token)
        workers = _get(url, "/api/v1/workers", token)["items"]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return False
    # A row of an earlier run may look alive; the process group tells this run's workers.
    registered = {_group_of(worker["pid"]) for worker in workers if not worker["stopped_at"]}
    return registered.issuperset(worker_groups)


def _get(url: str, path: str, token: str | None) -> Any:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(
        address.hostname or "", address.port, timeout=_TIMEOUT_SECONDS
    )
    try:
        connection.request(
            "GET", path, headers={"Authorization": f"Bearer {token}"} if token else {}
        )
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise ValueError(f"{path} answered {response.status}")
        return json.loads(response.read() or b"null")
    finally:
        connection.close()


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:
        return None

"""Fetches the files of public data sets, and checks them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from shared.datasets.known import KnownFile
from shared.errors import TrainyardError
from shared.settings import Settings

_CHUNK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 30.0
# What may pass (no answer, a server in trouble) is tried again after these.
_PAUSES_SECONDS = (2.0, 8.0)
# What is fetched is packed already, and its checksum is that of the packed file.
_HEADERS = {"Accept-Encoding": "identity"}

log = logging.getLogger(__name__)


class NotFetched(TrainyardError):
    """A file of a public set cannot be had from where it should come, or may not be fetched."""


def fetch_known(
    file: KnownFile,
    local: Path,
    settings: Settings,
    tell: Callable[[float], None],
    *,
    pause: Callable[[float], Any],
) -> None:
    """Fetch a file from its publisher, or from the mirror that the settings name.

    Args:
        file: what to fetch.
        local: where to.
        settings: whether it may, from where, and how much.
        tell: hears the share that has come, 0 to 1; what it raises ends the fetching.
        pause: waits some seconds, or less if the worker stops.

    Raises:
        NotFetched: it may not, or it cannot be had, or it is not what was published.
    """
    if not settings.downloads:
        raise NotFetched("This worker may not fetch data sets (TRAINYARD_DOWNLOADS).")
    mirror = settings.known_sets_url.rstrip("/")
    url = f"{mirror}/{file.mirror_path}" if mirror else file.url
    for seconds in (*_PAUSES_SECONDS, None):
        try:
            md5 = _stream(url, local, settings.max_upload_bytes, tell)
            break
        except httpx.HTTPError as error:
            message = f"{url} cannot be fetched: {_reason(error)}."
            if seconds is None or not _may_pass(error):
                raise NotFetched(message) from error
            log.warning("%s Again in %g s.", message, seconds)
            pause(seconds)
            tell(0.0)
    if md5 != file.md5:
        raise NotFetched(f"{url} must have the MD5 {file.md5}. Received: {md5}.")


def _may_pass(error: httpx.HTTPError) -> bool:
    """Whether another try may go better."""
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS
    return isinstance(error, httpx.TransportError)


def _reason(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        answer = error.response
        return f"{answer.url.host} answered {answer.status_code} {answer.reason_phrase}".rstrip()
    if isinstance(error, httpx.TimeoutException):
        return f"no answer within {_TIMEOUT_SECONDS:g} s"
    return str(error).rstrip(".") or type(error).__name__


def _stream(url: str, local: Path, most_bytes: int, tell: Callable[[float], None]) -> str:
    """Write what lies at `url` to a file; return its MD5."""
    digest = hashlib.md5(usedforsecurity=False)
    with (
        httpx.stream(
            "GET", url, headers=_HEADERS, timeout=_TIMEOUT_SECONDS, follow_redirects=True
        ) as answer,
        local.open("wb") as target,
    ):
        answer.raise_for_status()
        length = int(answer.headers.get("Content-Length", 0))
        for chunk in answer.iter_raw(_CHUNK_BYTES):
            target.write(chunk)
            digest.update(chunk)
            if target.tell() > most_bytes:
                raise NotFetched(f"{url} is larger than the {most_bytes:,} bytes allowed.")
            tell(target.tell() / length if length else 0.0)
    return digest.hexdigest()

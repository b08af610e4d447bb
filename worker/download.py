"""Fetches the files of public data sets, and checks them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx

from shared.datasets.known import KnownFile
from shared.errors import TrainyardError
from shared.settings import Settings

_CHUNK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 30.0
# What is fetched is packed already, and its checksum is that of the packed file.
_HEADERS = {"Accept-Encoding": "identity"}


def fetch_known(
    file: KnownFile, local: Path, settings: Settings, tell: Callable[[float], None]
) -> None:
    """Fetch a file from its publisher, or from the mirror that the settings name.

    Args:
        file: what to fetch.
        local: where to.
        settings: whether it may, from where, and how much.
        tell: hears the share that has come, 0 to 1; what it raises ends the fetching.

    Raises:
        TrainyardError: it may not, or it cannot be had, or it is not what was published.
    """
    if not settings.downloads:
        raise TrainyardError(
            "This worker may not fetch data sets (TRAINYARD_DOWNLOADS). Send the files instead."
        )
    mirror = settings.known_sets_url.rstrip("/")
    url = f"{mirror}/{file.mirror_path}" if mirror else file.url
    try:
        md5 = _stream(url, local, settings.max_upload_bytes, tell)
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise TrainyardError(
            f"{url} cannot be fetched: {reason}. If this machine has no way there, send the "
            "files, or name a mirror (TRAINYARD_KNOWN_SETS_URL)."
        ) from error
    if md5 != file.md5:
        raise TrainyardError(f"{url} must have the MD5 {file.md5}. Received: {md5}.")


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
                raise TrainyardError(f"{url} is larger than the {most_bytes:,} bytes allowed.")
            tell(target.tell() / length if length else 0.0)
    return digest.hexdigest()

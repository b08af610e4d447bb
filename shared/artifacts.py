"""The artifact store: files of jobs and data sets, on any fsspec file system.

Owns the confinement of paths to the store's root, in `_url`. Knows nothing of SQL.
"""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import fsspec

from shared.errors import (
    InvalidInput,
    NotFound,
    StorageFull,
    StoreRefused,
    StoreUnavailable,
    TrainyardError,
)
from shared.spool import growing

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# What a person waits for at most, and how long a store may take to answer a call.
GLANCE_SECONDS = 10.0
_CONNECT_SECONDS = 5.0
# Each of the five tries of s3fs may be five of the library's own, a minute each, unless it is told.
_S3_CONFIG: dict[str, Any] = {
    "connect_timeout": _CONNECT_SECONDS,
    "retries": {"mode": "standard", "total_max_attempts": 3},
}


class ArtifactStore:
    """Files under one root.

    Args:
        url: fsspec URL of the root, such as `file:///data/artifacts` or `s3://bucket/yard`.
    """

    def __init__(self, url: str) -> None:
        self._url_of_root = url
        self._opened: tuple[int, Any, str] | None = None

    def _open_root(self) -> tuple[Any, str]:
        """Return file system and root; of this process, for a client does not outlive a fork."""
        if self._opened is None or self._opened[0] != os.getpid():
            # Other processes write too, so nothing that a client remembers of a folder holds.
            options = {"use_listings_cache": False, **_options_of(self._url_of_root)}
            fs, root = fsspec.core.url_to_fs(self._url_of_root, **options)
            self._opened = os.getpid(), fs, root
        return self._opened[1:]

    @property
    def _fs(self) -> Any:
        return self._open_root()[0]

    @property
    def _root(self) -> str:
        return self._open_root()[1]

    @property
    def _local(self) -> bool:
        return "file" in cast(tuple[str, ...] | str, self._fs.protocol)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Call whatever else goes wrong in the block by one name: each store has its own kinds."""
        try:
            yield
        except (FileNotFoundError, TrainyardError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and (self._local or error.errno in _NO_ROOM):
                raise
            kind = StoreRefused if isinstance(error, PermissionError) else StoreUnavailable
            what = str(error) or type(error).__name__
            raise kind(f"The artifact store cannot be used: {what}") from error

    def make(self) -> None:
        """Make the root, a folder or bucket, if it is missing."""
        with self._asking():
            self._fs.makedirs(self._root, exist_ok=True)

    def require_root(self) -> None:
        """Check that a local root is there: without it, as when it is not mounted, nothing is gone.

        Raises:
            StoreUnavailable: it is not.
        """
        if self._local and not Path(self._root).is_dir():
            raise StoreUnavailable(f"The artifact store cannot be used: no folder {self._root}")

    def put(self, local: Path, path: str) -> None:
        """Store a local file at `path`; readers see the old file or the new one, never half.

        Raises:
            StoreUnavailable: as every method here.
        """
        with self._asking():
            target = self._url(path)
            self._fs.makedirs(self._fs._parent(target), exist_ok=True)
            if not self._local:
                self._fs.put_file(str(local), target)  # object stores replace objects atomically
                return
        partial = f"{target}.{uuid.uuid4().hex}.partial"
        try:
            self._fs.put_file(str(local), partial)
            Path(partial).replace(target)
        except OSError:
            Path(partial).unlink(missing_ok=True)
            raise

    def get(self, path: str, local: Path) -> None:
        """Fetch the file at `path` to a local file, whole or not at all.

        Raises:
            NotFound: there is no such file.
        """
        partial = local.with_name(f"{local.name}.{uuid.uuid4().hex}.partial")
        try:
            with self._asking():
                self._fs.get_file(self._url(path), str(partial))
            partial.replace(local)
        except FileNotFoundError as error:
            raise NotFound(f"There is no file {path!r} in the artifact store.") from error
        finally:
            partial.unlink(missing_ok=True)

    def open(self, path: str) -> BinaryIO:
        """Open the file at `path` for reading.

        Raises:
            NotFound: there is no such file.
        """
        try:
            with self._asking():
                return cast(BinaryIO, self._fs.open(self._url(path), "rb"))
        except FileNotFoundError as error:
            raise NotFound(f"There is no file {path!r} in the artifact store.") from error

    def ranges(
        self, path: str, spans: Sequence[tuple[int, int]], *, seconds: float = GLANCE_SECONDS
    ) -> list[bytes]:
        """Read stretches of the file at `path`, side by side where the store can.

        A person waits for them: a store that does not answer soon counts as away.

        Args:
            path: of the file.
            spans: start and stop of each stretch, in bytes.
            seconds: how soon it must answer, unless it is a folder.

        Raises:
            NotFound: there is no such file, or it is shorter.
        """
        paths = [self._url(path)] * len(spans)
        starts, stops = [start for start, _ in spans], [stop for _, stop in spans]
        patience = {} if self._local else {"timeout": seconds}
        try:
            with self._asking():
                if patience and seconds <= 0:
                    raise TimeoutError("it is too slow")
                found = self._fs.cat_ranges(paths, starts, stops, on_error="raise", **patience)
                parts = cast(list[bytes], found)
        except FileNotFoundError as error:
            raise NotFound(f"There is no file {path!r} in the artifact store.") from error
        if any(len(part) != stop - start for part, (start, stop) in zip(parts, spans, strict=True)):
            raise NotFound(f"The file {path!r} in the artifact store is too short.")
        return parts

    def receive(self, chunks: Iterable[bytes], path: str) -> tuple[int, str]:
        """Store what arrives in pieces at `path`, whole or not at all.

        Args:
            chunks: the content; what it raises leaves nothing behind.
            path: where to.

        Returns:
            Bytes and SHA-256 (hexadecimal) of what was stored.

        Raises:
            StorageFull: there is no room.
        """
        try:
            return self._receive(chunks, path)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise StorageFull(f"The server has no room for the file: {error}.") from error
            raise

    def _receive(self, chunks: Iterable[bytes], path: str) -> tuple[int, str]:
        digest = hashlib.sha256()
        size = 0
        with growing(self._spool()) as file:
            for chunk in chunks:
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
            file.flush()
            os.fsync(file.fileno())
            with self._asking():
                target = self._url(path)
                self._fs.makedirs(self._fs._parent(target), exist_ok=True)
                if self._local:
                    Path(file.name).replace(target)  # the same file system: nothing is copied
                else:
                    self._fs.put_file(file.name, target)
        return size, digest.hexdigest()

    def _spool(self) -> Path | None:
        """Return where files grow before they are stored; None: the system's temporary folder."""
        if not self._local:
            return None
        spool = Path(self._root) / ".receiving"
        spool.mkdir(parents=True, exist_ok=True)
        return spool

    def exists(self, path: str) -> bool:
        """Return whether there is a file or folder at `path`."""
        with self._asking():
            return bool(self._fs.exists(self._url(path)))

    def size(self, path: str) -> int | None:
        """Return the bytes of the file at `path`; None if there is no file."""
        try:
            with self._asking():
                return int(self._fs.size(self._url(path)))
        except FileNotFoundError:
            return None

    def names(self, path: str) -> list[str]:
        """Return the names of what lies in the folder at `path`; none if there is no folder."""
        try:
            with self._asking():
                found = self._fs.ls(self._url(path), detail=False)
        except FileNotFoundError:
            return []
        return sorted(PurePosixPath(name).name for name in found)

    def delete(self, path: str) -> None:
        """Delete the file or folder at `path`; nothing there, or no more, is no error."""
        with self._asking(), suppress(FileNotFoundError):
            self._fs.rm(self._url(path), recursive=True)

    def _url(self, path: str) -> str:
        """Join `path` to the root, refusing whatever would lead out of it."""
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or "\\" in path or ".." in parts or "\0" in path:
            raise InvalidInput.of("path", "Must be a relative path inside the store.", path)
        return "/".join([self._root.rstrip("/"), *parts])


def _options_of(url: str) -> dict[str, Any]:
    """Return the options of a URL's kind of store; what the operator says in fsspec's holds."""
    protocol = url.partition("://")[0]
    if protocol != "s3":
        return {}
    said = fsspec.config.conf.get(protocol, {}).get("config_kwargs", {})
    return {"config_kwargs": {**_S3_CONFIG, **said}}

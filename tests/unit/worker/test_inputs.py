"""Which checkpoints an attempt is given when some cannot be had."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest

from shared.artifacts import ArtifactStore
from shared.errors import NotFound, StoreRefused, StoreUnavailable
from worker.inputs import _fetch_checkpoints, _Stored

CONTENT = b"weights"
STORED = [
    _Stored(name, name, hashlib.sha256(CONTENT).hexdigest()) for name in ("newest.npz", "older.npz")
]


class Store:
    """A store that refuses some of its files."""

    def __init__(self, **refused: Exception) -> None:
        self.refused = refused

    def require_root(self) -> None:
        """Be there."""

    def get(self, path: str, local: Path) -> None:
        """Give the file, unless it is refused."""
        if path.removesuffix(".npz") in self.refused:
            raise self.refused[path.removesuffix(".npz")]
        local.write_bytes(CONTENT)


def fetch(folder: Path, **refused: Exception) -> list[str]:
    found = _fetch_checkpoints(Store(**refused), STORED, folder / "resume")  # type: ignore[arg-type]
    return [path.name for path in found]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.ESTALE, "Stale file handle"),
        StoreRefused("Access Denied"),
        NotFound("gone"),
    ],
    ids=str,
)
def test_the_older_checkpoint_serves_if_the_newest_cannot_be_read(
    tmp_path: Path, error: Exception
) -> None:
    assert fetch(tmp_path, newest=error) == ["older.npz"]
    assert fetch(tmp_path) == ["newest.npz", "older.npz"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        StoreUnavailable("silent"),
    ],
    ids=str,
)
def test_a_full_disk_and_a_silent_store_are_no_reason_to_leave_one_out(
    tmp_path: Path, error: Exception
) -> None:
    with pytest.raises(type(error)):
        fetch(tmp_path, newest=error)


def test_no_checkpoint_is_gone_because_the_store_is_not_mounted(tmp_path: Path) -> None:
    store = ArtifactStore(f"file://{tmp_path / 'unmounted'}")
    with pytest.raises(StoreUnavailable, match="no folder"):
        _fetch_checkpoints(store, STORED, tmp_path / "resume")


def test_a_job_does_not_begin_anew_because_none_of_its_checkpoints_can_be_read(
    tmp_path: Path,
) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        fetch(tmp_path, newest=OSError(errno.EIO, "Input/output error"), older=NotFound("gone"))

"""The lock on a data folder: one yard at a time.

The wrappers of all parts hold it too (`shared.yard.processes`), so a yard whose supervisor was
killed keeps its folder until the last part has ended.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from shared.errors import TrainyardError

_RETRY_SECONDS = 0.1


@dataclass(frozen=True)
class Holder:
    """Who holds the lock.

    Attributes:
        pid: process id of the supervisor.
        url: address of its web server.
    """

    pid: int
    url: str

    @property
    def alive(self) -> bool:
        """Whether the supervisor runs; if not, its parts are about to end."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


class FolderTaken(TrainyardError):
    """Another yard runs in the data folder.

    Attributes:
        holder: who, or None if it has not said so.
    """

    def __init__(self, data_dir: Path, holder: Holder | None) -> None:
        who = f" (process {holder.pid}, {holder.url})" if holder else ""
        super().__init__(
            f"Another yard{who} runs in the data folder {data_dir}. "
            "Stop it first, or choose another folder with --data-dir."
        )
        self.holder = holder


class FolderLock:
    """The held lock. Made by `take`."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def take(cls, data_dir: Path, *, patience_seconds: float) -> FolderLock:
        """Take the lock.

        Args:
            data_dir: the existing data folder.
            patience_seconds: how long to wait for the parts of a yard whose supervisor is dead,
                and for one that has not said yet who it is.

        Raises:
            FolderTaken: another yard has it.
        """
        descriptor = os.open(_path(data_dir), os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + patience_seconds
        while not _try_lock(descriptor):
            holder = _read(data_dir)
            if (holder and holder.alive) or time.monotonic() > deadline:
                os.close(descriptor)
                raise FolderTaken(data_dir, holder)
            time.sleep(_RETRY_SECONDS)
        os.ftruncate(descriptor, 0)
        return cls(descriptor)

    def announce(self, holder: Holder) -> None:
        """Write down who holds the lock."""
        text = json.dumps({"pid": holder.pid, "url": holder.url}).encode()
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, text, 0)

    def release(self) -> None:
        """Give the lock back, once no part holds it any more."""
        os.ftruncate(self.descriptor, 0)
        os.close(self.descriptor)


def find_holder(data_dir: Path) -> Holder | None:
    """Return the yard that runs in the data folder, if one does."""
    try:
        descriptor = os.open(_path(data_dir), os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        return None if _try_lock(descriptor) else _read(data_dir)
    finally:
        os.close(descriptor)


def _path(data_dir: Path) -> Path:
    return data_dir / "yard.lock"


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(data_dir: Path) -> Holder | None:
    try:
        entry = json.loads(_path(data_dir).read_text())
        return Holder(pid=int(entry["pid"]), url=str(entry["url"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None

"""Where a file grows before it is stored: a folder of its own, which no process leaves for long.

A lock on the file falls with its process, so what a killed one left behind is known by being free.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_PREFIX = "trainyard-receiving-"
_FILE = "received"
# Between the making of a file and its locking; as young as that, it is not looked at.
_YOUNG_SECONDS = 60.0


@contextmanager
def growing(spool: Path | None = None) -> Iterator[BinaryIO]:
    """Give a new file to write, which is gone after the block unless it was moved; sweep first.

    Args:
        spool: existing folder to make it in; the system's temporary folder unless given.
    """
    parent = spool or Path(tempfile.gettempdir())
    sweep(parent)
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent) as folder,
        (Path(folder) / _FILE).open("wb") as file,
    ):
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def sweep(spool: Path) -> None:
    """Delete what killed processes have left."""
    for file in spool.glob(f"{_PREFIX}*/{_FILE}"):
        with contextlib.suppress(OSError):  # it is another user's, or another process sweeps too
            if time.time() - file.stat().st_mtime > _YOUNG_SECONDS and _is_free(file):
                shutil.rmtree(file.parent)


def _is_free(file: Path) -> bool:
    with file.open("rb+") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True

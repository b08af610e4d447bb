"""An attempt's log: what the trainer and its libraries print, bounded, live and on disk.

A full disk ends the file and nothing else: whoever writes a line here reads a trainer's pipe, and
must go on reading it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

MAX_BYTES = 5_000_000
_MAX_LINE_CHARACTERS = 2_000

log = logging.getLogger(__name__)


class JobLog:
    """A file of time-stamped lines, and the lines that nobody has fetched yet.

    Args:
        path: the file; it is made with the first line, in a folder that exists by then.
        max_bytes: where the file stops growing, with a last line that says so.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._bytes = 0
        self._full = False
        self._fresh: list[str] = []
        self._changed = False
        self._lock = threading.Lock()
        self._file: TextIO | None = None
        self._closed = False

    def write(self, line: str) -> None:
        """Append a line, unless the log is full."""
        with self._lock:
            if self._full or self._closed:
                return
            if self._bytes > self._max_bytes:
                self._full = True
                line = f"The log ends here: it has reached {self._max_bytes} bytes."
            text = f"{datetime.now(UTC):%H:%M:%S} {line[:_MAX_LINE_CHARACTERS]}"
            self._fresh.append(text)
            self._append(text + "\n")

    def take_fresh(self) -> list[str]:
        """Return the lines that have come since the last call."""
        with self._lock:
            fresh, self._fresh = self._fresh, []
            return fresh

    def take_changed(self) -> bool:
        """Return whether the file has grown since the last call."""
        with self._lock:
            changed, self._changed = self._changed, False
            return changed

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._closed = True
            self._close_file()

    def _append(self, text: str) -> None:
        try:
            if self._file is None:
                self._file = self.path.open("a", encoding="utf-8", buffering=1)
            self._file.write(text)
        except OSError as error:
            log.warning("The log %s ends here: %s", self.path, error)
            self._full = True
            self._close_file()
            return
        self._bytes += len(text)
        self._changed = True

    def _close_file(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # what is buffered finds no room either
                self._file.close()

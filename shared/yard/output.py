"""Where the parts' lines go: the terminal, with a coloured prefix, and `logs/<part>.log`.

A terminal that stands still (Ctrl-S, a slow link) must not stop the yard: a thread writes there
from a bounded queue, and lines that find it full are in the log files only.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

_LOG_BYTES = 5_000_000
_LOG_FILES_KEPT = 3
_QUEUED_LINES = 10_000
_OWN = "yard"  # prefix of what the supervisor itself says
_PREFIX_WIDTH = 10
_COLOURS = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)  # ANSI foregrounds, readable on both grounds


class Output:
    """Lines of all parts, in one place.

    Args:
        logs_dir: folder of the log files; made if missing.
        terminal: gives the stream that people read, asked anew for each line, because a live
            picture on a terminal replaces `sys.stdout`; None: log files only.
        only_own_words: keep the parts' lines off the terminal, and show only the yard's own.
    """

    def __init__(
        self, logs_dir: Path, terminal: Callable[[], TextIO] | None, *, only_own_words: bool = False
    ) -> None:
        logs_dir.mkdir(parents=True, exist_ok=True)
        self.logs_dir = logs_dir
        self._only_own_words = only_own_words
        self._files: dict[str, _LogFile] = {}
        self._terminal = _Terminal(terminal) if terminal else None
        self._colour = terminal is not None and terminal().isatty() and "NO_COLOR" not in os.environ

    def log_path(self, part: str) -> Path:
        """Return the log file of a part."""
        return self.logs_dir / f"{part}.log"

    def line(self, part: str, text: str, *, quiet: bool = False) -> None:
        """Take one line that a part printed.

        Args:
            part: name of the part.
            text: the line, without its end.
            quiet: keep it off the terminal.
        """
        if part not in self._files:
            self._files[part] = _LogFile(self.log_path(part))
        self._files[part].handle(logging.makeLogRecord({"msg": text}))
        if self._terminal and not quiet and (part == _OWN or not self._only_own_words):
            self._terminal.put(f"{self._prefix(part)} {text}")

    def say(self, text: str) -> None:
        """Print something in the yard's own name."""
        self.line(_OWN, text)

    def close(self) -> None:
        """Write what waits, and close the files."""
        if self._terminal:
            self._terminal.close()
        for file in self._files.values():
            file.close()

    def _prefix(self, part: str) -> str:
        prefix = f"{part:<{_PREFIX_WIDTH}} |"
        if not self._colour:
            return prefix
        colour = 1 if part == _OWN else _COLOURS[list(self._files).index(part) % len(_COLOURS)]
        return f"\x1b[{colour}m{prefix}\x1b[0m"


class _LogFile(RotatingFileHandler):
    """A log file that is opened with its first line, and gives up lines on a full disk."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES_KEPT, encoding="utf-8", delay=True
        )
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s"))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Lose the line: a full disk must not stop the parts, which wait for their output."""


class _Terminal:
    """Writes lines to a stream from a thread of its own."""

    def __init__(self, stream: Callable[[], TextIO]) -> None:
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(_QUEUED_LINES)
        self._thread = threading.Thread(target=self._write, name="terminal", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        with contextlib.suppress(queue.Full):  # the log file has it
            self._lines.put_nowait(line)

    def close(self) -> None:
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(timeout=2.0)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                stream = self._stream()
                stream.write(line + "\n")
                stream.flush()
            except (OSError, ValueError):
                return  # the terminal is gone; the yard goes on, and its log files with it

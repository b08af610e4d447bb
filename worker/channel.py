"""The two pipes of a program that works for a supervisor: events out, commands in.

Owns the process's real standard output and input. Nothing else may write to that output: what
libraries print to descriptor 1 ends in standard error, which is the job's log.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO

from pydantic import ValidationError

from shared.protocol import Assignment, Event, Stop, parse_command
from shared.reading import Read


class Channel:
    """Sends events, one JSON line each; any thread may send.

    Args:
        stream: where the lines go, unbuffered.
        on_broken: called when nobody reads any more.
    """

    def __init__(self, stream: BinaryIO, *, on_broken: Callable[[], None]) -> None:
        self._stream = stream
        self._on_broken = on_broken
        self._lock = threading.Lock()

    @classmethod
    def on_stdout(cls, *, on_broken: Callable[[], None]) -> Channel:
        """Take the real standard output, and lead descriptor 1 to standard error."""
        sys.stdout.flush()
        stream = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        return cls(stream, on_broken=on_broken)

    def send(self, event: Event) -> None:
        """Write one event."""
        try:
            with self._lock:
                self._stream.write(event.to_line().encode())
        except BrokenPipeError:
            self._on_broken()


class Commands:
    """Reads a supervisor's commands in a thread of its own.

    Args:
        stream: standard input.
        stop: set when `stop` is read.
        on_end: called when the input ends: the supervisor is gone.
    """

    def __init__(
        self, stream: BinaryIO, *, stop: threading.Event, on_end: Callable[[], None]
    ) -> None:
        self._stream = stream
        self._stop = stop
        self._on_end = on_end
        self._assignments: queue.SimpleQueue[Assignment | Read] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="commands", daemon=True).start()

    def assignment_waits(self) -> bool:
        """Whether the assignment has been read already."""
        return not self._assignments.empty()

    def wait_for_assignment(self) -> Assignment | Read:
        """Wait for the assignment."""
        return self._assignments.get()

    def _read(self) -> None:
        try:
            for line in self._stream:
                self._take(line)
        finally:
            self._on_end()

    def _take(self, line: bytes) -> None:
        try:
            command = parse_command(line)
        except ValidationError as error:
            print(f"Not a command, ignored: {error}", file=sys.stderr, flush=True)
            return
        if isinstance(command, Stop):
            self._stop.set()
        else:
            self._assignments.put(command)

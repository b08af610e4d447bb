"""One trainer as an operating-system process: start, command, listen, kill.

Owns the pipes and the process group. Knows the protocol, but nothing of SQL or of what the
events mean.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO

from pydantic import ValidationError

from shared.protocol import Command, Event, Ready, parse_event

TRAINER_COMMAND = (sys.executable, "-m", "worker.training", "--serve")
READER_COMMAND = (sys.executable, "-m", "worker.importing")
# What a program needs that reads untrusted files: how to run Python, and no credentials.
_HARMLESS = ("PATH", "HOME", "TMPDIR", "TZ", "LANG", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
_HARMLESS_BEGINNINGS = ("LC_", "PYTHON")
_MAX_BUFFERED_LOG_LINES = 1000
_KILL_WAIT_SECONDS = 10.0

log = logging.getLogger(__name__)


class TrainerProcess:
    """A running trainer.

    `events` yields what it reports, and None when it has closed its output. The pipes are read by
    threads of their own, so that a slow reader here never makes a trainer wait.

    Args:
        environment: variables added to this process's own.
        command: the program; another one in tests.
        confined: give it nothing else of this process's environment than it needs to run.
    """

    def __init__(
        self,
        environment: dict[str, str],
        command: tuple[str, ...] = TRAINER_COMMAND,
        *,
        confined: bool = False,
    ) -> None:
        self.events: queue.Queue[Event | None] = queue.Queue()
        self.ready: Ready | None = None
        self.ready_or_dead = threading.Event()
        self._log_lines: list[str] = []
        self._log_sink: Callable[[str], None] | None = None
        self._log_lock = threading.Lock()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(confined=confined) | environment,
            start_new_session=True,  # a group of its own, to be killed as one
        )
        self._readers = [
            threading.Thread(target=target, name=name, daemon=True)
            for target, name in ((self._read_events, "events"), (self._read_log, "log"))
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """The process's number, which is also its group's."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def send(self, command: Command) -> None:
        """Send a command; a trainer that has gone is noticed by its events ending."""
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):
            stdin.write(command.to_line().encode())
            stdin.flush()

    def attach_log(self, sink: Callable[[str], None]) -> None:
        """Send each log line to `sink`, beginning with those kept so far."""
        with self._log_lock:
            for line in self._log_lines:
                sink(line)
            self._log_lines.clear()
            self._log_sink = sink

    def wait(self, timeout_seconds: float | None = None) -> int | None:
        """Wait for the end; return the exit code (negative: the signal), or None if it runs."""
        try:
            code = self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return None
        self._reap_group()
        for reader in self._readers:
            reader.join(_KILL_WAIT_SECONDS)
        return code

    def kill(self) -> int | None:
        """Kill the whole group at once, and wait; return the exit code."""
        self._reap_group()
        return self.wait(_KILL_WAIT_SECONDS)

    def close(self) -> None:
        """End a trainer that has nothing to do: close its input, and kill it if it stays."""
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(OSError):
            stdin.close()
        if self.wait(1.0) is None:
            self.kill()

    def _reap_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _read_events(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        for line in stdout:
            try:
                event = parse_event(line)
            except ValidationError:
                self._take_log_line(f"not an event: {line.decode(errors='replace').rstrip()}")
                continue
            if isinstance(event, Ready):
                self.ready = event
                self.ready_or_dead.set()
            else:
                self.events.put(event)
        self.ready_or_dead.set()
        self.events.put(None)

    def _read_log(self) -> None:
        stderr: IO[bytes] | None = self._process.stderr
        assert stderr is not None
        for line in stderr:
            self._take_log_line(line.decode(errors="replace").rstrip("\n"))

    def _take_log_line(self, line: str) -> None:
        with self._log_lock:
            if self._log_sink is not None:
                self._log_sink(line)
                return
            self._log_lines.append(line)
            del self._log_lines[:-_MAX_BUFFERED_LOG_LINES]


def _environment(*, confined: bool) -> dict[str, str]:
    """Return this process's environment without the yard's settings and secrets."""
    if confined:
        return {name: value for name, value in os.environ.items() if _is_harmless(name)}
    return {name: value for name, value in os.environ.items() if not name.startswith("TRAINYARD_")}


def _is_harmless(name: str) -> bool:
    return name in _HARMLESS or name.startswith(_HARMLESS_BEGINNINGS)


def describe_exit(code: int | None) -> str:
    """Say in words how a process ended."""
    if code is None:
        return "The trainer does not end."
    if code >= 0:
        return f"The trainer ended with exit code {code} and without a result."
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    return f"The trainer was killed by signal {-code} ({name})."

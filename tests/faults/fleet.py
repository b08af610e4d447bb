"""Many workers of one yard, to be killed, frozen, stopped and started anew."""

from __future__ import annotations

import signal
import subprocess
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import psutil

from tests.worker_yard import Yard


class Fleet:
    """Workers by name; when the block ends, so have they.

    Args:
        yard: theirs.
        changes: environment variables of theirs.
    """

    def __init__(self, yard: Yard, **changes: str) -> None:
        self._yard = yard
        self._changes = changes
        self._stack = ExitStack()
        self._workers: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for name in self.running:  # all at once, or each waits for the one before
            self.signal(name, signal.SIGCONT)
            self.signal(name, signal.SIGTERM)
        self._stack.__exit__(kind, error, traceback)

    @property
    def running(self) -> list[str]:
        """Names of the workers whose process lives."""
        return [name for name, worker in self._workers.items() if worker.poll() is None]

    def start(self, name: str) -> None:
        """Start a worker; its name's last process has ended."""
        assert name not in self.running
        self._workers[name] = self._stack.enter_context(self._yard.worker(name, **self._changes))

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a worker's process."""
        self._workers[name].send_signal(number)

    def kill(self, name: str) -> None:
        """Kill a worker, and see it dead."""
        self.signal(name, signal.SIGKILL)
        self._workers[name].wait()

    def trainers(self, name: str) -> list[psutil.Process]:
        """Return a worker's trainers, those that train and those that wait."""
        return [child for child in self._children(name) if not _reads(child)]

    def readers(self, name: str) -> list[psutil.Process]:
        """Return the processes of a worker that read files to be imported."""
        return [child for child in self._children(name) if _reads(child)]

    def _children(self, name: str) -> list[psutil.Process]:
        try:
            return psutil.Process(self._workers[name].pid).children()
        except psutil.NoSuchProcess:
            return []


def _reads(child: psutil.Process) -> bool:
    try:
        return "worker.importing" in child.cmdline()
    except psutil.Error:
        return False

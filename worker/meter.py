"""Measures a process and its children: processor time and memory.

Looking for children means reading the table of all processes, so that is done more seldom than
measuring. Must not wait, and must not raise because a process has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import psutil

_LOOK_FOR_CHILDREN_SECONDS = 10.0


@dataclass
class ProcessMeter:
    """The meter of one process tree.

    Args:
        pid: its root.
        clock: seconds, monotonic.
    """

    pid: int
    clock: Callable[[], float] = time.monotonic
    _tree: list[psutil.Process] = field(default_factory=list)
    _look_at: float = field(default=0.0)
    _read_at: float | None = field(default=None)
    _cpu_seconds: dict[int, float] = field(default_factory=dict)

    def read(self) -> dict[str, float]:
        """Measure once.

        Returns:
            `cpu_percent` since the reading before (100: one core) and `memory_bytes`, resident;
            nothing at the first reading, and when every process has ended.
        """
        now, before = self.clock(), self._cpu_seconds
        self._cpu_seconds, memory_bytes = {}, 0
        for process in self._processes(now):
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    memory_bytes += process.memory_info().rss
            except psutil.Error:
                continue
            self._cpu_seconds[process.pid] = times.user + times.system
        seconds, self._read_at = now - (self._read_at or now), now
        if not self._cpu_seconds or seconds <= 0:
            return {}
        used = sum(_grown(before, self._cpu_seconds))
        return {"cpu_percent": 100 * used / seconds, "memory_bytes": memory_bytes}

    def _processes(self, now: float) -> list[psutil.Process]:
        if now >= self._look_at:
            self._look_at = now + _LOOK_FOR_CHILDREN_SECONDS
            try:
                root = psutil.Process(self.pid)
                self._tree = [root, *root.children(recursive=True)]
            except psutil.Error:
                self._tree = []
        return self._tree


def _grown(before: dict[int, float], after: dict[int, float]) -> Iterable[float]:
    """Yield by how much the processor time of each process has grown."""
    return (max(0.0, seconds - before.get(pid, 0.0)) for pid, seconds in after.items())

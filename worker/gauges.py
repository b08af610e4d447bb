"""Measures the machine while a trainer works, in a thread of its own.

A driver that answers late, or never, holds up nothing but its figures.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from shared.gauges import FIRST_SPAN_SECONDS, Point, merge
from worker.gpus import driver, read_gpus
from worker.meter import ProcessMeter

_WRITE_SECONDS = 10.0
_END_SECONDS = 1.0
# Of a span: a sample that comes a little early completes it all the same.
_TOLERANCE = 0.02

log = logging.getLogger(__name__)


@dataclass
class Averager:
    """Makes points of a wanted span from measurements.

    Args:
        attempt: number of the attempt.
        began: when it was claimed, by the clock that `take` is given.

    Attributes:
        span_seconds: the span that points shall have.
    """

    attempt: int
    began: float
    span_seconds: float = FIRST_SPAN_SECONDS
    _open: Point | None = field(default=None)
    _taken_at: float | None = field(default=None)

    def take(self, figures: dict[str, float], now: float) -> Point | None:
        """Take in what was measured between the last time and `now`; return a finished point."""
        before, self._taken_at = self._taken_at, now
        if before is None or not figures or now <= before:
            return None
        point = Point(self.attempt, round(now - self.began), now - before, **figures)  # type: ignore[arg-type]
        self._open = point if self._open is None else merge(self._open, point)
        if self._open.span_seconds < self.span_seconds * (1 - _TOLERANCE):
            return None
        return self.rest()

    def rest(self) -> Point | None:
        """Return what is not a point of the wanted span yet, and forget it."""
        point, self._open = self._open, None
        return point


class Gauges:
    """A context manager that measures until it is left.

    Args:
        pid: the trainer, whose children count as well.
        gpus: indices of the GPUs that it works on.
        averager: makes the points.
        write: is given some points every now and then, to be recorded; see `Averager.span_seconds`
            for what it may change.
        show: is given every point at once.
        sample_seconds: pause between two measurements.
    """

    def __init__(
        self,
        pid: int,
        gpus: Sequence[int],
        averager: Averager,
        *,
        write: Callable[[list[Point]], None],
        show: Callable[[Point], None],
        sample_seconds: float = FIRST_SPAN_SECONDS,
    ) -> None:
        self._meter = ProcessMeter(pid)
        self._gpus = gpus
        self._averager = averager
        self._write, self._show = write, show
        self._sample_seconds = sample_seconds
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gauges", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        try:
            if not self._gpus:
                self._measure(self._meter.read)
                return
            with driver() as present:
                gpus = self._gpus if present else ()
                self._measure(lambda: self._meter.read() | read_gpus(gpus))
        except Exception:  # nobody trains for the sake of its gauges
            log.exception("Nothing more is measured of process %d.", self._meter.pid)

    def _measure(self, read: Callable[[], dict[str, float]]) -> None:
        points: list[Point] = []
        write_at = time.monotonic() + _WRITE_SECONDS
        self._averager.take(read(), time.monotonic())
        while not self._end.wait(self._sample_seconds):
            now = time.monotonic()
            if (point := self._averager.take(read(), now)) is not None:
                points.append(point)
                self._show(point)
            if points and now >= write_at:
                self._write(points)
                points, write_at = [], now + _WRITE_SECONDS
        if (point := self._averager.rest()) is not None:
            points.append(point)
        if points:
            self._write(points)

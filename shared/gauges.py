"""Gauges: how hard the machine works for a job, as points over the time of its attempts.

Owns what a point holds, and how many a job keeps: however long it runs, some hundreds. When there
are too many, neighbours become one point of twice the span. Must not measure anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import median_low

# The span of a point until a job has too many of them.
FIRST_SPAN_SECONDS = 2.0
MAX_POINTS = 480
# How neighbours become one: load is an average, but what may run out counts at its highest.
MEANS = ("cpu_percent", "gpu_percent", "gpu_watts")
PEAKS = ("memory_bytes", "gpu_memory_bytes", "gpu_celsius")
FIGURES = (*MEANS, *PEAKS)


@dataclass(frozen=True)
class Point:
    """What was measured over a stretch of an attempt; a figure that was not measured is None.

    Attributes:
        attempt: number of the attempt.
        second: end of the stretch, in seconds since the attempt was claimed.
        span_seconds: length of the stretch.
        cpu_percent: mean use of the processor by trainer and children; 100 is one core.
        memory_bytes: most memory that they held (resident).
        gpu_percent: mean share of time in which the GPUs worked, 0 to 100.
        gpu_memory_bytes: most memory in use on the GPUs together, by whomever.
        gpu_celsius: highest temperature of a GPU.
        gpu_watts: mean power that the GPUs drew together.
    """

    attempt: int
    second: int
    span_seconds: float
    cpu_percent: float | None = None
    memory_bytes: int | None = None
    gpu_percent: float | None = None
    gpu_memory_bytes: int | None = None
    gpu_celsius: float | None = None
    gpu_watts: float | None = None


def merge(first: Point, second: Point) -> Point:
    """Return one point over the stretches of two neighbours."""
    figures: dict[str, float | None] = {name: _mean(name, first, second) for name in MEANS}
    figures |= {name: _peak(name, first, second) for name in PEAKS}
    span_seconds = first.span_seconds + second.span_seconds
    return replace(second, span_seconds=span_seconds, **figures)  # type: ignore[arg-type]


def halve(points: Sequence[Point]) -> list[Point]:
    """Merge every two neighbours of one attempt; what is left over at its end stays.

    Args:
        points: of one job, in order.
    """
    halved: list[Point] = []
    for _, group in groupby(points, key=lambda point: point.attempt):
        of_attempt = list(group)
        pairs = zip(of_attempt[::2], of_attempt[1::2], strict=False)
        halved += [merge(first, second) for first, second in pairs]
        halved += of_attempt[-1:] if len(of_attempt) % 2 else []
    return halved


def usual_span_seconds(points: Sequence[Point]) -> float:
    """Return the span that most points of a job have, whatever a busy machine did to some."""
    return median_low(point.span_seconds for point in points) if points else 0.0


def plausible(value: float) -> bool:
    """Return whether a figure can be what it says: some drivers answer with 2^64 - 1."""
    return math.isfinite(value) and 0 <= value < 2**62


def _mean(name: str, *points: Point) -> float | None:
    known = [(getattr(point, name), point.span_seconds) for point in points]
    known = [(value, seconds) for value, seconds in known if value is not None]
    total = sum(seconds for _, seconds in known)
    return sum(value * seconds for value, seconds in known) / total if total else None


def _peak(name: str, *points: Point) -> float | None:
    known = [getattr(point, name) for point in points]
    return max((value for value in known if value is not None), default=None)

"""How fast the yard starts, and what its web server needs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import httpx
import psutil

from tests.bench.figures import Figure
from tests.yard import RunningYard, start_yard, wait_for_ready

_MIB = 1024 * 1024


def start_figures(data_dir: Path, samples: int) -> Iterator[Figure]:
    """Start and stop a yard, first in an empty data folder, then again and again.

    Args:
        data_dir: an empty folder.
        samples: starts after the first one.
    """
    first, *later = [_start_seconds(data_dir) for _ in range(samples + 1)]
    yield Figure(
        "ready after `trainyard up`, median",
        median(later),
        "s",
        3.0,
        f"{samples} starts, worst {max(later):.2f} s; the first, with a new database: "
        f"{first:.2f} s",
    )


def web_figures(yard: RunningYard) -> Iterator[Figure]:
    """Measure the web server of a running yard, after it has served every page's API."""
    paths = ("/", "/api/v1/jobs", "/api/v1/workers", "/api/v1/openapi.json", "/metrics")
    for path in paths:
        httpx.get(f"{yard.url}{path}").raise_for_status()
    sizes = [process.memory_info().rss / _MIB for process in web_processes(yard)]
    yield Figure(
        "web process, resident",
        max(sizes),
        "MiB",
        150.0,
        f"the largest of {len(sizes)} processes, {sum(sizes):.0f} MiB together",
    )


def web_processes(yard: RunningYard) -> list[psutil.Process]:
    """Return the web server's processes: those that listen at the yard's address."""
    port = httpx.URL(yard.url).port
    everyone = psutil.Process(yard.process.pid).children(recursive=True)
    return [
        process
        for process in everyone
        if any(listener.laddr.port == port for listener in process.net_connections("inet"))
    ]


def _start_seconds(data_dir: Path) -> float:
    started = time.monotonic()
    yard = start_yard(data_dir, workers=1)
    try:
        wait_for_ready(yard)
        return time.monotonic() - started
    finally:
        yard.stop()

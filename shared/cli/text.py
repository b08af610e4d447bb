"""Values as short text: durations, ages, shares, rates, sparklines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

NOTHING = "-"
_BLOCKS = "▁▂▃▄▅▆▇█"


def duration(seconds: float | None) -> str:
    """Return a duration in its two largest units: `4.2s`, `3m 07s`, `2h 05m`, `3d 04h`.

    Args:
        seconds: None gives a dash.
    """
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{max(seconds, 0):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"


def age(since: str | None, now: datetime) -> str:
    """Return how long ago an ISO 8601 time was, in its largest unit: `12s`, `3m`, `5h`, `2d`."""
    if since is None:
        return NOTHING
    seconds = max((now - moment(since)).total_seconds(), 0.0)
    for whole, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= whole:
            return f"{int(seconds // whole)}{unit}"
    return f"{int(seconds)}s"


def moment(text: str) -> datetime:
    """Return an ISO 8601 time as an aware datetime in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def percent(share: float | None) -> str:
    """Return an accuracy from 0 to 1 as per cent with two decimals."""
    return NOTHING if share is None else f"{share * 100:.2f}%"


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with a few significant digits."""
    return NOTHING if value is None else f"{value:.{digits}g}"


def clean(words: object) -> str:
    """Return words from elsewhere as one line that cannot steer the terminal."""
    return "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(words)
    )


def size(count: int) -> str:
    """Return a number of bytes: `812 B`, `1.4 MB`."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def sparkline(values: Sequence[float], width: int = 8) -> str:
    """Draw values as blocks, lowest to highest; the newest `width` buckets of equal size.

    Args:
        values: finite numbers.
        width: characters at most.
    """
    values = [value for value in values if math.isfinite(value)]
    if not values:
        return ""
    thinned = [values[round(i * (len(values) - 1) / (width - 1))] for i in range(width)]
    values = thinned if len(values) > width else values
    low, high = min(values), max(values)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((value - low) * scale)] for value in values)

"""The one place where a test waits: for a condition, never for a length of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_POLL_SECONDS = 0.02

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T | None], timeout_seconds: float = 30.0, *, what: str | None = None
) -> T:
    """Wait until `condition()` is true, and return what it returned.

    Args:
        condition: asked again and again; its exceptions are the test's.
        timeout_seconds: how long it may stay untrue.
        what: what is waited for, for the failure's message; the condition's name unless given.

    Raises:
        AssertionError: it stayed untrue.
    """
    deadline = time.monotonic() + timeout_seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            name = what or getattr(condition, "__qualname__", repr(condition))
            raise AssertionError(f"Not within {timeout_seconds:g} s: {name}. Last: {result!r}.")
        time.sleep(_POLL_SECONDS)
    return result

"""Learning rate by epoch: one formula for the page that draws it and the trainer that uses it.

Pure Python, double precision, epochs counted from 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.spec.job import JobSpec
from shared.spec.optimizers import Constant, Exponential


def learning_rate(spec: JobSpec, epoch: int) -> float:
    """Return the learning rate of an epoch.

    Args:
        spec: the job's spec.
        epoch: counted from 1; may lie past the last.

    Returns:
        `spec.learning_rate` scaled by the schedule.

    Raises:
        ValueError: `epoch` is below 1.
    """
    if epoch < 1:
        raise ValueError(f"Epochs count from 1. Received: {epoch!r}.")
    return _SCHEDULES[spec.schedule.kind](spec.learning_rate, spec.schedule, epoch)


def _constant(initial: float, schedule: Constant, epoch: int) -> float:
    return initial


def _exponential(initial: float, schedule: Exponential, epoch: int) -> float:
    """Initial x rate^(epoch - 1); the tutorial's 0.001 x 0.9^epoch with epochs from 0."""
    return initial * schedule.rate ** (epoch - 1)


_SCHEDULES: dict[str, Callable[[float, Any, int], float]] = {
    "constant": _constant,
    "exponential": _exponential,
}

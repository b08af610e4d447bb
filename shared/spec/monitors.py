"""The figures of an epoch that a rule can watch, and when one of them has improved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from shared.spec.fields import spec_field

if TYPE_CHECKING:
    from shared.protocol import Epoch

Monitor = Literal["eval_accuracy", "eval_loss", "train_accuracy", "train_loss"]


def monitor_field(default: Monitor) -> Any:
    """Declare the field that names the figure to watch."""
    return spec_field(
        default,
        title="Monitor",
        description="The value to watch; accuracies should rise, losses fall.",
    )


def improvements(monitor: Monitor, min_delta: float, history: Sequence[Epoch]) -> Iterator[bool]:
    """Say of each epoch whether its figure beats the best before it by more than `min_delta`.

    The first one does.
    """
    sign = 1 if monitor.endswith("accuracy") else -1
    best: float | None = None
    for epoch in history:
        value = getattr(epoch, monitor)
        better = best is None or sign * (value - sign * min_delta) > sign * best
        if better:
            best = value
        yield better

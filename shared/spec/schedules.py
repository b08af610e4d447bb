"""Learning-rate schedules: what a job can choose, and one formula each.

The page that draws the rates and the trainer that uses them call the same function. Pure Python,
double precision, epochs counted from 1. What the tutorial and its kin change from epoch to epoch
(exponential, step, plateau) stays within an epoch; what has a smooth shape (cosine, one cycle)
changes from step to step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from shared.errors import InvalidInput
from shared.spec.fields import SpecModel, spec_field
from shared.spec.monitors import Monitor, improvements, monitor_field

if TYPE_CHECKING:
    from shared.protocol import Epoch
    from shared.spec.job import JobSpec

_POINTS = 240


class Constant(SpecModel):
    """The same learning rate in every epoch."""

    kind: Literal["constant"] = "constant"


class Exponential(SpecModel):
    """learning_rate x rate^(epoch - 1), epochs counted from 1: the tutorial's 0.001 x 0.9^epoch."""

    kind: Literal["exponential"] = "exponential"
    rate: float = spec_field(
        0.9,
        title="Rate per epoch",
        description="Factor from one epoch to the next; the tutorial has 0.9.",
        gt=0,
        le=1,
    )


class Step(SpecModel):
    """The rate falls by a factor every few epochs."""

    kind: Literal["step"] = "step"
    every: int = spec_field(
        10,
        title="Every",
        description="Epochs from one fall to the next.",
        unit="epochs",
        ge=1,
        le=10_000,
    )
    factor: float = spec_field(
        0.1, title="Factor", description="What the rate is multiplied by at each fall.", gt=0, lt=1
    )


def _final_share() -> Any:
    return spec_field(
        0.0,
        title="Share left at the end",
        description="The last rate, as a share of the learning rate.",
        ge=0,
        le=1,
    )


class Cosine(SpecModel):
    """Half a cosine from the learning rate down to a share of it (Loshchilov and Hutter, 2016)."""

    kind: Literal["cosine"] = "cosine"
    final_share: float = _final_share()


class WarmupCosine(SpecModel):
    """A straight climb to the learning rate (Goyal et al., 2017), then a cosine down."""

    kind: Literal["warmup_cosine"] = "warmup_cosine"
    warmup_epochs: float = spec_field(
        1.0,
        title="Warm-up",
        description="How long the climb takes; must be shorter than the job.",
        unit="epochs",
        gt=0,
        le=10_000,
    )
    start_share: float = spec_field(
        0.1,
        title="Share at the start",
        description="The first rate, as a share of the learning rate.",
        ge=0,
        le=1,
    )
    final_share: float = _final_share()


class OneCycle(SpecModel):
    """Up to the learning rate and down to almost nothing, both along a cosine (Smith, 2018).

    The rate only; momentum stays as it is.
    """

    kind: Literal["one_cycle"] = "one_cycle"
    rise: float = spec_field(
        0.3,
        title="Part that rises",
        description="Share of the steps before the peak.",
        gt=0,
        lt=1,
    )
    start_share: float = spec_field(
        0.04,
        title="Share at the start",
        description="The first rate, as a share of the peak.",
        gt=0,
        le=1,
    )
    final_share: float = spec_field(
        4e-6,
        title="Share left at the end",
        description="The last rate, as a share of the peak.",
        ge=0,
        le=1,
    )


class Plateau(SpecModel):
    """The rate falls by a factor whenever a figure has not improved for a number of epochs."""

    kind: Literal["plateau"] = "plateau"
    monitor: Monitor = monitor_field("eval_loss")
    factor: float = spec_field(
        0.2, title="Factor", description="What the rate is multiplied by at each fall.", gt=0, lt=1
    )
    patience: int = spec_field(
        2,
        title="Patience",
        description="Epochs without improvement before the rate falls.",
        unit="epochs",
        ge=1,
        le=1000,
    )
    min_delta: float = spec_field(
        1e-4,
        title="Smallest change",
        description="Less than this is no improvement.",
        ge=0,
        le=100,
        advanced=True,
    )
    min_rate: float = spec_field(
        0.0, title="Lowest rate", description="It does not fall below this.", ge=0, advanced=True
    )


Schedule = Annotated[
    Constant | Exponential | Step | Cosine | WarmupCosine | OneCycle | Plateau,
    Field(discriminator="kind"),
]


def learning_rate(
    spec: JobSpec, epoch: int, *, step: int = 0, steps: int = 1, history: Sequence[Epoch] = ()
) -> float:
    """Return the learning rate of a step.

    Args:
        spec: the job's spec.
        epoch: counted from 1; may lie past the last.
        step: steps of the epoch done before it.
        steps: steps an epoch.
        history: the finished epochs, which only `plateau` looks at.

    Returns:
        `spec.learning_rate` scaled by the schedule.

    Raises:
        ValueError: `epoch` is below 1.
    """
    if epoch < 1:
        raise ValueError(f"Epochs count from 1. Received: {epoch!r}.")
    schedule = spec.schedule
    if isinstance(schedule, Plateau):
        return _plateau(spec.learning_rate, schedule, history[: epoch - 1])
    if changes_within_an_epoch(spec):
        # The last step of all has reached the end of the curve.
        last = max(1, spec.epochs * steps - 1)
        done = min(1.0, ((epoch - 1) * steps + step) / last)
        return spec.learning_rate * _CURVES[schedule.kind](schedule, done, spec.epochs)
    return spec.learning_rate * _BY_EPOCH[schedule.kind](schedule, epoch)


def changes_within_an_epoch(spec: JobSpec) -> bool:
    """Whether the rate changes from step to step; else every step of an epoch has the same."""
    return spec.schedule.kind in _CURVES


def epoch_rates(spec: JobSpec) -> list[float]:
    """Return the rate of each epoch's last step: what stands for it in tables and plots.

    `plateau` never falls here: nobody knows yet when.
    """
    return [learning_rate(spec, epoch + 1, step=999, steps=1000) for epoch in range(spec.epochs)]


def rate_curve(spec: JobSpec) -> list[float]:
    """Return the rates from the first step to the last, evenly spaced, as many as can be drawn.

    What stays within an epoch becomes stairs.
    """
    steps = max(2, -(-_POINTS // spec.epochs))
    last = spec.epochs * steps - 1
    points = min(last, 2 * _POINTS)
    drawn = [round(point * last / points) for point in range(points + 1)]
    return [learning_rate(spec, at // steps + 1, step=at % steps, steps=steps) for at in drawn]


def check_schedule(spec: JobSpec) -> None:
    """Check the schedule against the length of the job.

    Raises:
        InvalidInput: naming the field.
    """
    schedule = spec.schedule
    if isinstance(schedule, WarmupCosine) and schedule.warmup_epochs >= spec.epochs:
        raise InvalidInput.of(
            "spec.schedule.warmup_epochs",
            f"Must be less than the {spec.epochs} epochs of the job.",
            schedule.warmup_epochs,
        )
    if isinstance(schedule, Plateau) and schedule.min_rate > spec.learning_rate:
        raise InvalidInput.of(
            "spec.schedule.min_rate",
            f"Must not be more than the learning rate, {spec.learning_rate:g}.",
            schedule.min_rate,
        )


def _exponential(schedule: Exponential, epoch: int) -> float:
    return schedule.rate ** (epoch - 1)


def _step(schedule: Step, epoch: int) -> float:
    return schedule.factor ** ((epoch - 1) // schedule.every)


def _cosine(schedule: Cosine, done: float, epochs: int) -> float:
    return _between(1.0, schedule.final_share, done)


def _warmup_cosine(schedule: WarmupCosine, done: float, epochs: int) -> float:
    warm = schedule.warmup_epochs / epochs
    if done < warm or warm >= 1:  # all of it climbs, the last step too
        return schedule.start_share + (1 - schedule.start_share) * done / warm
    return _between(1.0, schedule.final_share, (done - warm) / (1 - warm))


def _one_cycle(schedule: OneCycle, done: float, epochs: int) -> float:
    if done < schedule.rise:
        return _between(schedule.start_share, 1.0, done / schedule.rise)
    return _between(1.0, schedule.final_share, (done - schedule.rise) / (1 - schedule.rise))


def _between(start: float, end: float, done: float) -> float:
    """Go from `start` to `end` along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


def _plateau(initial: float, schedule: Plateau, history: Sequence[Epoch]) -> float:
    """Count as Keras does: after a fall, the epochs without improvement count anew."""
    rate, waited = initial, 0
    for improved in improvements(schedule.monitor, schedule.min_delta, history):
        waited = 0 if improved else waited + 1
        if waited == schedule.patience:
            rate, waited = max(rate * schedule.factor, schedule.min_rate), 0
    return rate


_BY_EPOCH: dict[str, Callable[[Any, int], float]] = {
    "constant": lambda schedule, epoch: 1.0,
    "exponential": _exponential,
    "step": _step,
}
_CURVES: dict[str, Callable[[Any, float, int], float]] = {
    "cosine": _cosine,
    "warmup_cosine": _warmup_cosine,
    "one_cycle": _one_cycle,
}

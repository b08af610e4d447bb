"""Which jobs a seeded yard holds: one in every state that the pages must show, and many more."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from shared.models import Outcome, Status


@dataclass(frozen=True)
class Plan:
    """One job to seed.

    Attributes:
        reach, speed: the evaluation accuracy that its curve tends to, and how fast.
        epochs_done: finished epochs; None: none.
        age_minutes: how long ago it was submitted.
        epoch_seconds: time of one epoch.
        ends: how the attempts before the last one ended.
        gauges: what was measured: `cpu`, `gpu` (and the processor), or nothing.
    """

    status: Status
    preset: str = "hello-world"
    name: str | None = None
    tags: tuple[str, ...] = ()
    reach: float = 0.98
    speed: float = 0.9
    epochs_done: int = 0
    age_minutes: float = 60.0
    epoch_seconds: float = 2.4
    changes: dict[str, Any] = field(default_factory=dict)
    failure: dict[str, str] | None = None
    detail: str | None = None
    ends: tuple[Outcome, ...] = ()
    gauges: str = ""


PLANS = {
    "running": Plan(
        Status.RUNNING,
        "deep-cnn",
        "deep-cnn-augmented",
        ("baseline", "week-48"),
        0.9932,
        0.8,
        epochs_done=6,
        age_minutes=3.2,
        epoch_seconds=21.0,
        gauges="cpu",
    ),
    "starting": Plan(Status.RUNNING, "lenet5", age_minutes=0.4, epochs_done=0),
    "queued": Plan(
        Status.QUEUED,
        "adam",
        "adam-large-batch",
        ("sweep",),
        age_minutes=1.5,
        changes={"batch_size": 512},
    ),
    "queued_next": Plan(Status.QUEUED, "mlp", age_minutes=1.1),
    "stranded": Plan(
        Status.QUEUED,
        "deep-cnn",
        "deep-cnn-wide",
        age_minutes=6,
        changes={"resources": {"queue": "gpu-large"}},
    ),
    "troubled": Plan(
        Status.RUNNING,
        "deep-cnn",
        "deep-cnn-on-spot",
        ("spot",),
        0.9936,
        0.7,
        epochs_done=9,
        age_minutes=11,
        epoch_seconds=52.0,
        ends=(Outcome.LOST, Outcome.PREEMPTED),
        gauges="gpu",
    ),
    "paused": Plan(
        Status.PAUSED,
        "lenet5",
        "lenet-for-later",
        reach=0.985,
        epochs_done=4,
        age_minutes=95,
        epoch_seconds=4.0,
    ),
    "succeeded": Plan(
        Status.SUCCEEDED,
        "hello-world",
        tags=("tutorial",),
        reach=0.9872,
        epochs_done=10,
        age_minutes=14,
        detail="All 10 epochs are done.",
    ),
    "early": Plan(
        Status.SUCCEEDED,
        "higher-learning-rate",
        "sgd-0.1",
        ("sweep", "learning-rate"),
        0.9868,
        1.4,
        epochs_done=7,
        age_minutes=42,
        detail="Stopped early: training accuracy fell below that of the epoch before.",
    ),
    "failed": Plan(
        Status.FAILED,
        "adam",
        "adam-at-1.0",
        ("learning-rate",),
        0.41,
        0.3,
        epochs_done=2,
        age_minutes=75,
        changes={"learning_rate": 1.0},
        failure={
            "kind": "diverged",
            "evidence": "The loss became NaN at epoch 3, step 214, at a learning rate of 1.0.",
            "suggestion": "Try a tenth of the learning rate, or add a warm-up.",
        },
    ),
    "cancelled": Plan(
        Status.CANCELLED,
        "deep-cnn",
        "deep-cnn-too-slow",
        reach=0.985,
        epochs_done=3,
        age_minutes=190,
        epoch_seconds=63.0,
        detail="Cancelled on request.",
    ),
    "resumed": Plan(
        Status.SUCCEEDED,
        "lenet5",
        "lenet-after-two-losses",
        ("spot", "baseline"),
        0.9905,
        0.8,
        epochs_done=10,
        age_minutes=60 * 26,
        epoch_seconds=4.2,
        ends=(Outcome.LOST, Outcome.LOST),
        gauges="gpu",
        detail="All 10 epochs are done.",
    ),
    "single": Plan(
        Status.SUCCEEDED,
        "mlp",
        "one-epoch",
        reach=0.955,
        epochs_done=1,
        age_minutes=60 * 30,
        changes={"epochs": 1},
        detail="All 1 epochs are done.",
    ),
}
_MODELS = (
    "hello-world",
    "less-data",
    "higher-learning-rate",
    "adam",
    "mlp",
    "lenet5",
    "deep-cnn",
)


def ordinary(dice: random.Random, index: int) -> Plan:
    """Return a finished job like many others."""
    preset = dice.choice(_MODELS)
    reach = {"less-data": 0.948, "mlp": 0.978, "deep-cnn": 0.9935, "lenet5": 0.989}.get(
        preset, 0.985
    )
    return Plan(
        Status.SUCCEEDED,
        preset,
        f"{preset}-{index + 1}",
        dice.choice(((), ("sweep",), ("baseline",))),
        reach=reach + dice.uniform(-0.004, 0.003),
        speed=dice.uniform(0.5, 1.3),
        epochs_done=10,
        age_minutes=60 * 31 + 97 * (60 - index),
        epoch_seconds=dice.uniform(1.5, 9),
        detail="All 10 epochs are done.",
    )

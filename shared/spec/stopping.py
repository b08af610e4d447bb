"""Rules that may end a job before its last epoch; counterpart: `worker.training.stopping`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.spec.fields import SpecModel, spec_field
from shared.spec.monitors import Monitor, monitor_field


class NoStopping(SpecModel):
    """Train every epoch."""

    kind: Literal["none"] = "none"


class AccuracyDrop(SpecModel):
    """Stop when the training accuracy falls below the previous epoch's: the tutorial's rule."""

    kind: Literal["accuracy_drop"] = "accuracy_drop"


class Patience(SpecModel):
    """Stop when the monitored value has not improved for a number of epochs."""

    kind: Literal["patience"] = "patience"
    monitor: Monitor = monitor_field("eval_accuracy")
    min_delta: float = spec_field(
        0.0, title="Smallest change", description="Less than this is no improvement.", ge=0, le=100
    )
    patience: int = spec_field(
        3,
        title="Patience",
        description="Epochs without improvement before the job stops.",
        unit="epochs",
        ge=1,
        le=1000,
    )
    start_from_epoch: int = spec_field(
        1, title="Start from", description="First epoch to watch.", unit="epoch", ge=1, le=10_000
    )
    restore_best: bool = spec_field(
        True, title="Restore the best", description="End with the weights of the best epoch."
    )


EarlyStopping = Annotated[NoStopping | AccuracyDrop | Patience, Field(discriminator="kind")]

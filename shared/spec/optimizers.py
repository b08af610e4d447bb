"""Optimizers and learning-rate schedules that a job can choose.

The learning rate itself is `JobSpec.learning_rate`; a schedule scales it.
Each `kind` has its counterpart in `worker.training.optimizers` and `worker.training.schedules`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from shared.spec.fields import SpecModel, spec_field


class Sgd(SpecModel):
    """Stochastic gradient descent, optionally with (Nesterov) momentum."""

    kind: Literal["sgd"] = "sgd"
    momentum: float = spec_field(
        0.0,
        title="Momentum",
        description="Share of the last step kept; 0 is plain SGD.",
        ge=0,
        lt=1,
    )
    nesterov: bool = spec_field(
        False, title="Nesterov", description="Look ahead along the momentum; needs momentum."
    )

    @field_validator("nesterov")
    @classmethod
    def _needs_momentum(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("momentum") == 0:
            raise ValueError("Nesterov needs a momentum above 0.")
        return value


class Adam(SpecModel):
    """Adam (Kingma and Ba, 2014)."""

    kind: Literal["adam"] = "adam"
    beta_1: float = spec_field(
        0.9,
        title="Beta 1",
        description="Decay of the gradient's running mean.",
        ge=0,
        lt=1,
        advanced=True,
    )
    beta_2: float = spec_field(
        0.999,
        title="Beta 2",
        description="Decay of the squared gradient's running mean.",
        ge=0,
        lt=1,
        advanced=True,
    )
    epsilon: float = spec_field(
        1e-7,
        title="Epsilon",
        description="Keeps the division finite.",
        gt=0,
        le=1,
        advanced=True,
    )


Optimizer = Annotated[Sgd | Adam, Field(discriminator="kind")]


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


Schedule = Annotated[Constant | Exponential, Field(discriminator="kind")]

"""The optimizers that a job can choose.

The learning rate itself is `JobSpec.learning_rate`; a schedule scales it. Each `kind` has its
counterpart in `worker.training.optimizers`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from shared.spec.fields import SpecModel, spec_field


def _weight_decay(default: float = 0.0, *, advanced: bool = True) -> Any:
    return spec_field(
        default,
        title="Weight decay",
        description="Each step shrinks every weight by learning rate x this, apart from the "
        "gradient. Biases and normalisation are left alone.",
        ge=0,
        le=1,
        advanced=advanced,
    )


def _clip_norm() -> Any:
    return spec_field(
        None,
        title="Clip gradients at",
        description="A gradient whose norm over all weights is longer is cut to this length; "
        "empty: never.",
        gt=0,
        le=1e6,
        advanced=True,
    )


def _momentum() -> Any:
    return spec_field(
        0.0, title="Momentum", description="Share of the last step kept; 0: none.", ge=0, lt=1
    )


class Sgd(SpecModel):
    """Stochastic gradient descent, optionally with (Nesterov) momentum."""

    kind: Literal["sgd"] = "sgd"
    momentum: float = _momentum()
    nesterov: bool = spec_field(
        False, title="Nesterov", description="Look ahead along the momentum; needs momentum."
    )
    weight_decay: float = _weight_decay()
    clip_norm: float | None = _clip_norm()

    @field_validator("nesterov")
    @classmethod
    def _needs_momentum(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("momentum") == 0:
            raise ValueError("Nesterov needs a momentum above 0.")
        return value


class _Moments(SpecModel):
    """What Adam and AdamW share."""

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


class Adam(_Moments):
    """Adam (Kingma and Ba, 2014): a step of its own for every weight."""

    kind: Literal["adam"] = "adam"
    weight_decay: float = _weight_decay()
    clip_norm: float | None = _clip_norm()


class AdamW(_Moments):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2017)."""

    kind: Literal["adamw"] = "adamw"
    weight_decay: float = _weight_decay(0.004, advanced=False)
    clip_norm: float | None = _clip_norm()


class RmsProp(SpecModel):
    """RMSprop (Hinton, 2012): steps divided by the gradient's running size."""

    kind: Literal["rmsprop"] = "rmsprop"
    momentum: float = _momentum()
    rho: float = spec_field(
        0.9,
        title="Rho",
        description="Decay of the squared gradient's running mean.",
        ge=0,
        lt=1,
        advanced=True,
    )
    epsilon: float = spec_field(
        1e-7,
        title="Epsilon",
        description="Added to the running mean under the root.",
        gt=0,
        le=1,
        advanced=True,
    )
    weight_decay: float = _weight_decay()
    clip_norm: float | None = _clip_norm()


Optimizer = Annotated[Sgd | Adam | AdamW | RmsProp, Field(discriminator="kind")]

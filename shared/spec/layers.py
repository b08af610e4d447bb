"""The layers that a model of the kind `layers` is a list of.

Each `kind` is a class here, a shape in `shared.spec.architecture` and a builder in
`worker.training.layer_list`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from shared.spec.fields import SpecModel, spec_field

Function = Literal["relu", "gelu", "elu", "silu", "tanh", "sigmoid"]
Units = Annotated[int, Field(ge=1, le=8192)]
Filters = Annotated[int, Field(ge=1, le=2048)]


def _activation() -> Any:
    return spec_field(
        "relu",
        title="Activation",
        description="Function of each value; none where batch normalisation comes first.",
    )


class Conv(SpecModel):
    """A convolution with square kernels."""

    kind: Literal["conv"] = "conv"
    filters: Filters = spec_field(32, title="Filters", description="Feature maps that it makes.")
    kernel_size: int = spec_field(
        3, title="Kernel", description="Width of the kernel.", unit="pixels", ge=1, le=15
    )
    stride: int = spec_field(
        1, title="Stride", description="Pixels from one place to the next.", ge=1, le=8
    )
    padding: Literal["same", "valid"] = spec_field(
        "same",
        title="Padding",
        description="same: zeros around the image keep its size. valid: it shrinks.",
    )
    activation: Literal["none", Function] = _activation()


class Pool(SpecModel):
    """The largest or the mean value of each square of pixels."""

    kind: Literal["pool"] = "pool"
    method: Literal["max", "average"] = spec_field(
        "max", title="Method", description="What stands for a square."
    )
    size: int = spec_field(
        2, title="Size", description="Width of a square.", unit="pixels", ge=2, le=16
    )


class BatchNorm(SpecModel):
    """Batch normalisation (Ioffe and Szegedy, 2015)."""

    kind: Literal["batch_norm"] = "batch_norm"


class Activation(SpecModel):
    """A function of each value by itself."""

    kind: Literal["activation"] = "activation"
    function: Function = spec_field("relu", title="Function", description="Applied to each value.")


class Dropout(SpecModel):
    """Silences values at random while training."""

    kind: Literal["dropout"] = "dropout"
    rate: float = spec_field(
        0.3, title="Rate", description="Share of the values silenced.", ge=0, lt=1
    )


class Flatten(SpecModel):
    """Lays all values of the image in one row, for dense layers."""

    kind: Literal["flatten"] = "flatten"


class GlobalPool(SpecModel):
    """One value of each feature map, in a row, for dense layers."""

    kind: Literal["global_pool"] = "global_pool"
    method: Literal["average", "max"] = spec_field(
        "average", title="Method", description="What stands for a feature map."
    )


class Dense(SpecModel):
    """Every value of the row to every unit."""

    kind: Literal["dense"] = "dense"
    units: Units = spec_field(128, title="Units", description="Values that it makes.")
    activation: Literal["none", Function] = _activation()


Layer = Annotated[
    Conv | Pool | BatchNorm | Activation | Dropout | Flatten | GlobalPool | Dense,
    Field(discriminator="kind"),
]


def in_words(layers: list[dict[str, Any]]) -> str:
    """Return a list of layers as one line: `conv 32, 3 x 3, relu > pool max, 2 x 2 > flatten`.

    Args:
        layers: as a spec has them in JSON.
    """
    return " > ".join(_in_words(layer) for layer in layers)


def _in_words(layer: dict[str, Any]) -> str:
    values = []
    for name, value in layer.items():
        if name in ("kernel_size", "size"):
            values.append(f"{value} x {value}")
        elif name == "stride":
            values += [f"stride {value}"] if value > 1 else []
        elif name == "padding":
            values += [value] if value != "same" else []
        elif name != "kind" and value != "none":
            values.append(str(value))
    words = layer["kind"].replace("_", " ")
    return f"{words} {', '.join(values)}" if values else words

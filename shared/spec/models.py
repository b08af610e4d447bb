"""The model architectures that a job can choose.

Each `kind` is a class here, a builder in `worker.training.models` and a layer count in
`shared.spec.architecture`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.spec.fields import SpecModel, spec_field
from shared.spec.layers import Conv, Dense, Filters, Flatten, Layer, Pool, Units


class ShallowCnn(SpecModel):
    """One convolution, flatten, one dense layer, softmax: the tutorial's first network."""

    kind: Literal["shallow_cnn"] = "shallow_cnn"
    filters: Filters = spec_field(
        28, title="Filters", description="Feature maps of the convolution; the tutorial has 28."
    )
    kernel_size: int = spec_field(
        3,
        title="Kernel size",
        description="Width of the square kernel.",
        unit="pixels",
        ge=1,
        le=15,
    )
    dense_units: Units = spec_field(
        128, title="Dense units", description="Width of the hidden dense layer."
    )


class DeepCnn(SpecModel):
    """Blocks of 3x3 convolutions, each block halving the image, then dense and softmax."""

    kind: Literal["deep_cnn"] = "deep_cnn"
    blocks: list[Filters] = spec_field(
        title="Blocks",
        description="Filters of each block, first to last. A block ends in 2x2 max pooling, "
        "so the image must survive that many halvings.",
        default_factory=lambda: [32, 64],
        min_length=1,
        max_length=6,
    )
    convolutions_per_block: int = spec_field(
        2, title="Convolutions a block", description="3x3 convolutions in each block.", ge=1, le=4
    )
    batch_norm: bool = spec_field(
        True,
        title="Batch normalisation",
        description="Normalise after every convolution: learns faster, costs some time.",
    )
    dense_units: Units = spec_field(
        128, title="Dense units", description="Width of the hidden dense layer."
    )
    dropout: float = spec_field(
        0.3,
        title="Dropout",
        description="Share of the hidden units silenced at random while training.",
        ge=0,
        lt=1,
    )


class Mlp(SpecModel):
    """Dense layers only: the baseline without convolutions."""

    kind: Literal["mlp"] = "mlp"
    hidden_units: list[Units] = spec_field(
        title="Hidden units",
        description="Width of each hidden layer, first to last.",
        default_factory=lambda: [256, 128],
        min_length=1,
        max_length=16,
    )
    dropout: float = spec_field(
        0.0,
        title="Dropout",
        description="Share of each hidden layer's units silenced at random while training.",
        ge=0,
        lt=1,
    )


class LeNet5(SpecModel):
    """LeNet-5 (LeCun et al., 1998), with ReLU and max pooling."""

    kind: Literal["lenet5"] = "lenet5"


class ResNet20(SpecModel):
    """ResNet-20 (He et al., 2015), the form for small images: nine blocks, 16 to 64 filters."""

    kind: Literal["resnet20"] = "resnet20"


class ResNet50(SpecModel):
    """ResNet-50 (He et al., 2015), untrained; smaller images get a frame of zeros to 32 x 32."""

    kind: Literal["resnet50"] = "resnet50"


class Vgg16(SpecModel):
    """VGG16 (Simonyan and Zisserman, 2014), untrained; smaller images get a frame to 32 x 32."""

    kind: Literal["vgg16"] = "vgg16"
    dense_units: Units = spec_field(
        512,
        title="Dense units",
        description="Width of both hidden dense layers; the paper has 4096, for larger images.",
    )
    dropout: float = spec_field(
        0.5,
        title="Dropout",
        description="Share of the hidden units silenced at random while training.",
        ge=0,
        lt=1,
    )


class LayerList(SpecModel):
    """Your own layers, first to last; the softmax over the classes follows by itself."""

    kind: Literal["layers"] = "layers"
    layers: list[Layer] = spec_field(
        title="Layers",
        description="What the images go through, in this order. It ends in a row of values.",
        default_factory=lambda: [Conv(), Pool(), Flatten(), Dense()],
        min_length=1,
        max_length=100,
    )


class Plugin(SpecModel):
    """A model of your own code, installed beside the workers; only they know its layers."""

    kind: Literal["plugin"] = "plugin"
    name: str = spec_field(
        title="Plugin",
        description="Name of its entry point in the group `trainyard.models`.",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
    )
    parameters: dict[str, str | bool | int | float] = spec_field(
        title="Parameters",
        description="What its function is called with, beside the images.",
        default_factory=dict,
        max_length=100,
    )


Model = Annotated[
    ShallowCnn | DeepCnn | Mlp | LeNet5 | ResNet20 | ResNet50 | Vgg16 | LayerList | Plugin,
    Field(discriminator="kind"),
]

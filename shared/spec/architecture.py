"""The layers of each model, worked out without TensorFlow.

Owns names, kinds, output shapes and parameter counts, and says which field is wrong when a model
does not fit the image. The builders in `worker.training.models` must build exactly these layers;
a test compares them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.errors import InvalidInput
from shared.spec.models import DeepCnn, LeNet5, Mlp, Model, ShallowCnn

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerShape:
    """One layer.

    Attributes:
        name: unique in the model.
        kind: Keras's class name.
        output_shape: without the batch axis.
        parameters: trainable and other weights together.
    """

    name: str
    kind: str
    output_shape: Shape
    parameters: int


def layers(model: Model, image_shape: tuple[int, int, int], classes: int) -> list[LayerShape]:
    """Work out a model's layers, first to last.

    Args:
        model: the model's part of a spec.
        image_shape: height, width and channels of an image, in pixels.
        classes: number of classes.

    Returns:
        The layers, to the softmax over the classes. Pixel scaling is not the model's, and
        missing here.

    Raises:
        InvalidInput: the model does not fit the image; names the field.
    """
    rows = Layers(image_shape)
    _MODELS[model.kind](rows, model)
    rows.dense("classes", classes)
    return rows.rows


class Layers:
    """A growing list of layers; each method appends the layer that its name says."""

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        self.rows: list[LayerShape] = []
        self.shape: Shape = image_shape

    def same(self, name: str, kind: str, *, parameters: int = 0) -> None:
        """Append a layer that keeps the shape."""
        self._append(name, kind, self.shape, parameters)

    def conv(
        self, name: str, filters: int, *, kernel_size: int, same_size: bool, field: str
    ) -> None:
        """Append a convolution of stride 1; `field` is to blame if the kernel is too large."""
        height, width, channels = self.shape
        if not same_size:
            if kernel_size > min(height, width):
                raise InvalidInput.of(
                    field,
                    f"The kernel of {kernel_size} x {kernel_size} must fit into the "
                    f"{height} x {width} pixels that reach it.",
                    kernel_size,
                )
            height, width = height - kernel_size + 1, width - kernel_size + 1
        parameters = (kernel_size * kernel_size * channels + 1) * filters
        self._append(name, "Conv2D", (height, width, filters), parameters)

    def halve(self, name: str, *, field: str, received: Any) -> None:
        """Append 2x2 max pooling; `field` is to blame if nothing is left to pool."""
        height, width, channels = self.shape
        if min(height, width) < 2:
            raise InvalidInput.of(
                field,
                f"The image is down to {height} x {width} pixels before {name}, "
                "too small for another halving.",
                received,
            )
        self._append(name, "MaxPooling2D", (height // 2, width // 2, channels), 0)

    def flatten(self) -> None:
        """Append a layer that lays all values in one row."""
        self._append("flatten", "Flatten", (math.prod(self.shape),), 0)

    def dense(self, name: str, units: int) -> None:
        """Append a dense layer."""
        (inputs,) = self.shape
        self._append(name, "Dense", (units,), (inputs + 1) * units)

    def _append(self, name: str, kind: str, shape: Shape, parameters: int) -> None:
        self.rows.append(LayerShape(name, kind, shape, parameters))
        self.shape = shape


def _shallow_cnn(layers: Layers, model: ShallowCnn) -> None:
    layers.conv(
        "conv",
        model.filters,
        kernel_size=model.kernel_size,
        same_size=False,
        field="spec.model.kernel_size",
    )
    layers.flatten()
    layers.dense("dense", model.dense_units)


def _deep_cnn(layers: Layers, model: DeepCnn) -> None:
    for block, filters in enumerate(model.blocks, start=1):
        for number in range(1, model.convolutions_per_block + 1):
            name = f"conv_{block}_{number}"
            layers.conv(name, filters, kernel_size=3, same_size=True, field="spec.model.blocks")
            if model.batch_norm:
                layers.same(f"norm_{block}_{number}", "BatchNormalization", parameters=4 * filters)
            layers.same(f"relu_{block}_{number}", "ReLU")
        layers.halve(f"pool_{block}", field="spec.model.blocks", received=model.blocks)
    layers.flatten()
    layers.dense("dense", model.dense_units)
    if model.dropout:
        layers.same("dropout", "Dropout")


def _mlp(layers: Layers, model: Mlp) -> None:
    layers.flatten()
    for number, units in enumerate(model.hidden_units, start=1):
        layers.dense(f"dense_{number}", units)
        if model.dropout:
            layers.same(f"dropout_{number}", "Dropout")


def _lenet5(layers: Layers, model: LeNet5) -> None:
    """C1, S2, C3, S4, C5 (as a dense layer), F6 of the paper; C1 pads 28 x 28 as it did."""
    field = "spec.model.kind"
    layers.conv("conv_1", 6, kernel_size=5, same_size=True, field=field)
    layers.halve("pool_1", field=field, received=model.kind)
    layers.conv("conv_2", 16, kernel_size=5, same_size=False, field=field)
    layers.halve("pool_2", field=field, received=model.kind)
    layers.flatten()
    layers.dense("dense_1", 120)
    layers.dense("dense_2", 84)


_MODELS: dict[str, Callable[[Layers, Any], None]] = {
    "shallow_cnn": _shallow_cnn,
    "deep_cnn": _deep_cnn,
    "mlp": _mlp,
    "lenet5": _lenet5,
}

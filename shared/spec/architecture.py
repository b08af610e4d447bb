"""The layers of each model, worked out without TensorFlow.

Owns names, kinds, output shapes and parameter counts, and says which field is wrong when a model
does not fit the image. The builders in `worker.training.models` must build exactly these layers;
a test compares them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.spec import layer_list, resnets
from shared.spec.models import DeepCnn, LeNet5, Mlp, Model, Plugin, ShallowCnn, Vgg16
from shared.spec.shapes import Layers, LayerShape

# The least height and width of an image that these models take; smaller ones are framed.
_LEAST_PIXELS = {"resnet50": 32, "vgg16": 32}
# Filters and convolutions of each block of VGG16.
_BLOCKS_VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def layers(model: Model, image_shape: tuple[int, int, int], classes: int) -> list[LayerShape]:
    """Work out a model's layers, first to last.

    Args:
        model: the model's part of a spec.
        image_shape: height, width and channels of an image, in pixels.
        classes: number of classes.

    Returns:
        The layers, to the softmax over the classes. Pixel scaling is not the model's, and
        missing here. None for a plugin, whose layers only the worker knows.

    Raises:
        InvalidInput: the model does not fit the image; names the field.
    """
    if isinstance(model, Plugin):
        return []
    rows = Layers(image_shape)
    height, width = frame(model, image_shape)
    if height or width:
        rows.pad("pad", height=height, width=width)
    _MODELS[model.kind](rows, model)
    rows.dense("classes", classes)
    return rows.rows


def frame(model: Model, image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Return how many pixels a frame must add to an image's height and width for a model."""
    least = _LEAST_PIXELS.get(model.kind, 0)
    height, width, _ = image_shape
    return max(0, least - height), max(0, least - width)


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
            layers.conv(name, filters, kernel_size=3)
            if model.batch_norm:
                layers.norm(f"norm_{block}_{number}")
            layers.same(f"relu_{block}_{number}", "ReLU")
        layers.pool(f"pool_{block}", field="spec.model.blocks", received=model.blocks)
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
    layers.conv("conv_1", 6, kernel_size=5)
    layers.pool("pool_1", field=field, received=model.kind)
    layers.conv("conv_2", 16, kernel_size=5, same_size=False, field=field)
    layers.pool("pool_2", field=field, received=model.kind)
    layers.flatten()
    layers.dense("dense_1", 120)
    layers.dense("dense_2", 84)


def _vgg16(layers: Layers, model: Vgg16) -> None:
    """The convolutions as `keras.applications` names them."""
    for block, (filters, convolutions) in enumerate(_BLOCKS_VGG16, start=1):
        for number in range(1, convolutions + 1):
            layers.conv(f"block{block}_conv{number}", filters, kernel_size=3)
        layers.pool(f"block{block}_pool")
    layers.flatten()
    for number in (1, 2):
        layers.dense(f"dense_{number}", model.dense_units)
        if model.dropout:
            layers.same(f"dropout_{number}", "Dropout")


_MODELS: dict[str, Callable[[Layers, Any], None]] = {
    "shallow_cnn": _shallow_cnn,
    "deep_cnn": _deep_cnn,
    "mlp": _mlp,
    "lenet5": _lenet5,
    "resnet20": resnets.resnet20,
    "resnet50": resnets.resnet50,
    "vgg16": _vgg16,
    "layers": layer_list.append,
}

"""The shapes of a list of layers, and which of them is wrong where they do not fit together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.errors import InvalidInput
from shared.spec import layers as kinds
from shared.spec.models import LayerList
from shared.spec.shapes import Layers

_LIST = "spec.model.layers"


def append(layers: Layers, model: LayerList) -> None:
    """Append the layers of a list, each named by its kind and its place from 1.

    Raises:
        InvalidInput: a layer does not fit what reaches it; names the layer's field.
    """
    for index, layer in enumerate(model.layers):
        _LAYERS[layer.kind](layers, layer, f"{layer.kind}_{index + 1}", f"{_LIST}.{index}")
    if len(layers.shape) > 1:
        raise InvalidInput.of(
            _LIST,
            f"Must end in a row of values, not in {_shown(layers)}: add flatten or global_pool.",
            model.layers[-1].kind,
        )


def _conv(layers: Layers, layer: kinds.Conv, name: str, field: str) -> None:
    _need_image(layers, layer, field)
    layers.conv(
        name,
        layer.filters,
        kernel_size=layer.kernel_size,
        same_size=layer.padding == "same",
        stride=layer.stride,
        field=f"{field}.kernel_size",
    )


def _pool(layers: Layers, layer: kinds.Pool, name: str, field: str) -> None:
    _need_image(layers, layer, field)
    kind = "MaxPooling2D" if layer.method == "max" else "AveragePooling2D"
    layers.pool(name, size=layer.size, kind=kind, field=f"{field}.size", received=layer.size)


def _global_pool(layers: Layers, layer: kinds.GlobalPool, name: str, field: str) -> None:
    _need_image(layers, layer, field)
    layers.global_pool(name, f"Global{layer.method.capitalize()}Pooling2D")


def _dense(layers: Layers, layer: kinds.Dense, name: str, field: str) -> None:
    if len(layers.shape) > 1:
        raise InvalidInput.of(
            f"{field}.kind",
            f"A dense layer needs a row of values, and {_shown(layers)} reaches it: "
            "put flatten or global_pool before it.",
            layer.kind,
        )
    layers.dense(name, layer.units)


def _need_image(layers: Layers, layer: kinds.Layer, field: str) -> None:
    if len(layers.shape) == 1:
        raise InvalidInput.of(
            f"{field}.kind",
            f"This layer needs an image, and {_shown(layers)} reaches it: "
            "put it before flatten, global_pool and dense.",
            layer.kind,
        )


def _shown(layers: Layers) -> str:
    if len(layers.shape) == 1:
        return f"a row of {layers.shape[0]} values"
    return "an image of " + " x ".join(map(str, layers.shape))


_LAYERS: dict[str, Callable[[Layers, Any, str, str], None]] = {
    "conv": _conv,
    "pool": _pool,
    "batch_norm": lambda layers, layer, name, field: layers.norm(name),
    "activation": lambda layers, layer, name, field: layers.same(name, "Activation"),
    "dropout": lambda layers, layer, name, field: layers.same(name, "Dropout"),
    "flatten": lambda layers, layer, name, field: layers.flatten(name),
    "global_pool": _global_pool,
    "dense": _dense,
}

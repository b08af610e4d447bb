"""A list of layers, built with Keras as `shared.spec.layer_list` works it out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import layers

from shared.spec import layers as kinds
from shared.spec.models import LayerList


def build(model: LayerList, x: Any) -> Any:
    """Lay the list's layers over `x`, float [N, H, W, C]; return what the last one puts out."""
    for place, layer in enumerate(model.layers, start=1):
        x = _LAYERS[layer.kind](layer, f"{layer.kind}_{place}")(x)
    return x


def _conv(layer: kinds.Conv, name: str) -> Any:
    return layers.Conv2D(
        layer.filters,
        layer.kernel_size,
        strides=layer.stride,
        padding=layer.padding,
        activation=_function(layer.activation),
        name=name,
    )


def _pool(layer: kinds.Pool, name: str) -> Any:
    pooling = layers.MaxPooling2D if layer.method == "max" else layers.AveragePooling2D
    return pooling(layer.size, name=name)


def _global_pool(layer: kinds.GlobalPool, name: str) -> Any:
    maximum = layer.method == "max"
    pooling = layers.GlobalMaxPooling2D if maximum else layers.GlobalAveragePooling2D
    return pooling(name=name)


def _dense(layer: kinds.Dense, name: str) -> Any:
    return layers.Dense(layer.units, activation=_function(layer.activation), name=name)


def _function(name: str) -> str | None:
    return None if name == "none" else name


_LAYERS: dict[str, Callable[[Any, str], Any]] = {
    "conv": _conv,
    "pool": _pool,
    "batch_norm": lambda layer, name: layers.BatchNormalization(name=name),
    "activation": lambda layer, name: layers.Activation(layer.function, name=name),
    "dropout": lambda layer, name: layers.Dropout(layer.rate, name=name),
    "flatten": lambda layer, name: layers.Flatten(name=name),
    "global_pool": _global_pool,
    "dense": _dense,
}

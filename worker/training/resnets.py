"""The residual networks (He et al., 2015, "Deep residual learning for image recognition").

A block's layers are named after it, `stage2_block1_conv1`, so that a summary can show it as one.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from shared.spec.models import ResNet20, ResNet50
from shared.spec.resnets import BLOCKS_20, STAGES_20


def resnet20(model: ResNet20, x: Any) -> Any:
    """Lay ResNet-20 over `x`: the paper's section 4.2 with n = 3, and its shortcuts of option A.

    Option A has no parameters: where a stage halves the image, the shortcut takes every second
    pixel, and zeros stand in for the channels that it lacks. Weights are drawn as in the paper's
    reference 13 (He normal).
    """
    x = layers.ReLU(name="relu")(_conv_norm(x, STAGES_20[0], name="{}"))
    for stage, filters in enumerate(STAGES_20, start=1):
        for number in range(1, BLOCKS_20 + 1):
            halves = stage > 1 and number == 1
            x = _block(x, filters, name=f"stage{stage}_block{number}", stride=2 if halves else 1)
    return layers.GlobalAveragePooling2D(name="pool")(x)


def resnet50(model: ResNet50, x: Any) -> Any:
    """Lay ResNet-50 over `x`, at least 32 x 32 pixels, with fresh weights."""
    network = keras.applications.ResNet50(
        include_top=False, weights=None, input_tensor=x, pooling="avg"
    )
    return network.output


def _block(x: Any, filters: int, *, name: str, stride: int) -> Any:
    inner = _conv_norm(x, filters, name=f"{name}_{{}}1", stride=stride)
    inner = layers.ReLU(name=f"{name}_relu1")(inner)
    inner = _conv_norm(inner, filters, name=f"{name}_{{}}2")
    if stride > 1:
        x = layers.MaxPooling2D(1, strides=stride, name=f"{name}_shortcut")(x)
        missing = filters - x.shape[-1]
        x = keras.ops.pad(x, [[0, 0], [0, 0], [0, 0], [missing // 2, missing - missing // 2]])
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([inner, x]))


def _conv_norm(x: Any, filters: int, *, name: str, stride: int = 1) -> Any:
    x = layers.Conv2D(
        filters,
        3,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name.format("conv"),
    )(x)
    return layers.BatchNormalization(name=name.format("norm"))(x)

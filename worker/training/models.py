"""The models, built with Keras exactly as `shared.spec.architecture` lists their layers.

A model takes pixels as they are stored, 0 to 255: scaling is its first layer, so whoever loads
the exported file need not know how it was trained. It ends in a softmax over the classes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
from keras import layers

from shared.protocol import Layer
from shared.spec.architecture import frame
from shared.spec.job import JobSpec
from shared.spec.models import DeepCnn, LeNet5, Mlp, ShallowCnn, Vgg16
from worker.training import layer_list, plugins, resnets
from worker.training.data import PixelStatistics

# The last layer and what scales the pixels compute in float32 whatever the policy: a softmax and
# a mean in bfloat16 lose what matters.
_FLOAT32 = "float32"
_BLOCK = re.compile(r"(\w+_block\d+)_")


def build(
    spec: JobSpec,
    image_shape: tuple[int, int, int],
    classes: int,
    pixels: PixelStatistics | None = None,
    scope: AbstractContextManager[Any] | None = None,
) -> Any:
    """Build a model with fresh weights, drawn from the spec's seed.

    Args:
        spec: the job's spec.
        image_shape: height, width and channels of an image.
        classes: number of classes.
        pixels: statistics of the training pixels; needed by the scale `standardize`.
        scope: where the variables are made; see `worker.training.replicas`.

    Returns:
        A `keras.Model`: images float32 [N, H, W, C], 0 to 255, to probabilities
        float32 [N, classes].
    """
    keras.utils.clear_session()  # ends any scope of TensorFlow's that it finds open
    keras.utils.set_random_seed(spec.seed)
    keras.config.set_dtype_policy(spec.precision)
    with scope or nullcontext():
        images = keras.Input(image_shape, dtype=_FLOAT32, name="images")
        values = _framed(frame(spec.model, image_shape), images)
        values = _scale(spec.preprocessing.scale, pixels, values)
        values = _MODELS[spec.model.kind](spec.model, values)
        head = layers.Dense(classes, activation="softmax", dtype=_FLOAT32, name="classes")
        return keras.Model(images, head(values), name=spec.model.kind)


def summarise(model: Any) -> list[Layer]:
    """Return the model's layers as rows of its summary, without the input.

    The layers of a residual block, which share the beginning of their names, make one row.
    """
    rows = []
    for name, members in itertools.groupby(model.layers[1:], _row_name):
        inside = list(members)
        kind = type(inside[0]).__name__ if name == inside[0].name else "ResidualBlock"
        rows.append(
            Layer(
                name=name,
                kind=kind,
                output_shape=list(keras.tree.flatten(inside[-1].output)[0].shape[1:]),
                parameters=sum(layer.count_params() for layer in inside),
            )
        )
    return rows


def _row_name(layer: Any) -> str:
    block = _BLOCK.match(layer.name)
    return str(block.group(1) if block else layer.name)


def _framed(pixels: tuple[int, int], images: Any) -> Any:
    """Add so many pixels of zeros to the images' height and width, half on each side."""
    if not any(pixels):
        return images
    sides = tuple((added // 2, added - added // 2) for added in pixels)
    return layers.ZeroPadding2D(sides, dtype=_FLOAT32, name="pad")(images)


def _scale(scale: str, pixels: PixelStatistics | None, images: Any) -> Any:
    if scale == "raw":
        return images
    if scale == "unit":
        return layers.Rescaling(1 / 255, dtype=_FLOAT32, name="scale")(images)
    if pixels is None:
        raise ValueError("The scale 'standardize' needs the statistics of the training pixels.")
    return layers.Normalization(
        mean=pixels.mean, variance=pixels.variance, dtype=_FLOAT32, name="scale"
    )(images)


def _shallow_cnn(model: ShallowCnn, x: Any) -> Any:
    x = layers.Conv2D(model.filters, model.kernel_size, activation="relu", name="conv")(x)
    x = layers.Flatten(name="flatten")(x)
    return layers.Dense(model.dense_units, activation="relu", name="dense")(x)


def _deep_cnn(model: DeepCnn, x: Any) -> Any:
    for block, filters in enumerate(model.blocks, start=1):
        for number in range(1, model.convolutions_per_block + 1):
            place = f"{block}_{number}"
            x = layers.Conv2D(filters, 3, padding="same", name=f"conv_{place}")(x)
            if model.batch_norm:
                x = layers.BatchNormalization(name=f"norm_{place}")(x)
            x = layers.ReLU(name=f"relu_{place}")(x)
        x = layers.MaxPooling2D(2, name=f"pool_{block}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(model.dense_units, activation="relu", name="dense")(x)
    return layers.Dropout(model.dropout, name="dropout")(x) if model.dropout else x


def _mlp(model: Mlp, x: Any) -> Any:
    x = layers.Flatten(name="flatten")(x)
    for number, units in enumerate(model.hidden_units, start=1):
        x = layers.Dense(units, activation="relu", name=f"dense_{number}")(x)
        if model.dropout:
            x = layers.Dropout(model.dropout, name=f"dropout_{number}")(x)
    return x


def _lenet5(model: LeNet5, x: Any) -> Any:
    """LeNet-5 (LeCun et al., 1998), with ReLU and max pooling, its C5 as a dense layer."""
    x = layers.Conv2D(6, 5, padding="same", activation="relu", name="conv_1")(x)
    x = layers.MaxPooling2D(2, name="pool_1")(x)
    x = layers.Conv2D(16, 5, activation="relu", name="conv_2")(x)
    x = layers.MaxPooling2D(2, name="pool_2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(120, activation="relu", name="dense_1")(x)
    return layers.Dense(84, activation="relu", name="dense_2")(x)


def _vgg16(model: Vgg16, x: Any) -> Any:
    """VGG16 (Simonyan and Zisserman, 2014), its dense layers as wide as asked."""
    x = keras.applications.VGG16(include_top=False, weights=None, input_tensor=x).output
    x = layers.Flatten(name="flatten")(x)
    for number in (1, 2):
        x = layers.Dense(model.dense_units, activation="relu", name=f"dense_{number}")(x)
        if model.dropout:
            x = layers.Dropout(model.dropout, name=f"dropout_{number}")(x)
    return x


_MODELS: dict[str, Callable[[Any, Any], Any]] = {
    "shallow_cnn": _shallow_cnn,
    "deep_cnn": _deep_cnn,
    "mlp": _mlp,
    "lenet5": _lenet5,
    "resnet20": resnets.resnet20,
    "resnet50": resnets.resnet50,
    "vgg16": _vgg16,
    "plugin": plugins.build,
    "layers": layer_list.build,
}

"""The models: layers as the spec's arithmetic says, weights from the seed, scaling inside."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from shared.errors import InvalidInput
from shared.spec import JobSpec
from shared.spec.architecture import layers
from shared.spec.job import Preprocessing
from shared.spec.layers import (
    Activation,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    Pool,
)
from shared.spec.models import (
    DeepCnn,
    LayerList,
    LeNet5,
    Mlp,
    Model,
    ResNet20,
    ResNet50,
    ShallowCnn,
    Vgg16,
)
from worker.training.data import PixelStatistics
from worker.training.models import build, summarise

EVERY_LAYER: list[Layer] = [
    Conv(filters=5, kernel_size=4, stride=2),
    BatchNorm(),
    Activation(function="gelu"),
    Conv(filters=6, padding="valid", stride=2, activation="none"),
    Pool(method="average"),
    Dropout(rate=0.1),
    Flatten(),
    BatchNorm(),
    Dense(units=9, activation="tanh"),
]
MODELS: list[Model] = [
    ShallowCnn(),
    ShallowCnn(filters=3, kernel_size=5, dense_units=7),
    DeepCnn(),
    DeepCnn(blocks=[4, 8, 16], convolutions_per_block=1, batch_norm=False, dropout=0.0),
    DeepCnn(blocks=[5], convolutions_per_block=4),
    Mlp(),
    Mlp(hidden_units=[9], dropout=0.5),
    LeNet5(),
    ResNet20(),
    ResNet50(),
    Vgg16(),
    Vgg16(dense_units=4096, dropout=0.0),
    LayerList(),
    LayerList(layers=EVERY_LAYER),
    LayerList(layers=[Pool(size=3), Conv(stride=3), GlobalPool()]),
    LayerList(layers=[GlobalPool(method="max"), Flatten()]),
]
SHAPES = [(28, 28, 1), (17, 32, 3), (33, 20, 4)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.kind)
def test_keras_builds_the_layers_that_the_arithmetic_lists(
    model: Model, shape: tuple[int, int, int]
) -> None:
    spec = JobSpec(model=model, preprocessing=Preprocessing(scale="raw"))
    built = build(spec, shape, 7)
    expected = layers(model, shape, 7)
    assert [
        (row.name, row.kind, tuple(row.output_shape), row.parameters) for row in summarise(built)
    ] == [(row.name, row.kind, row.output_shape, row.parameters) for row in expected]
    assert sum(row.parameters for row in expected) == built.count_params()


@pytest.mark.parametrize(
    ("model", "shape", "field"),
    [
        (ShallowCnn(kernel_size=9), (8, 28, 1), "spec.model.kernel_size"),
        (DeepCnn(blocks=[8, 8, 8, 8, 8]), (28, 28, 1), "spec.model.blocks"),
        (LeNet5(), (28, 9, 1), "spec.model.kind"),
        (LeNet5(), (11, 11, 1), "spec.model.kind"),
        (
            LayerList(layers=[Pool(), Conv(kernel_size=5, padding="valid"), Flatten()]),
            (9, 9, 1),
            "spec.model.layers.1.kernel_size",
        ),
        (
            LayerList(layers=[Pool(), Pool(size=5), Flatten()]),
            (9, 9, 1),
            "spec.model.layers.1.size",
        ),
    ],
    ids=str,
)
def test_a_model_that_does_not_fit_is_refused_here_and_by_keras(
    model: Model, shape: tuple[int, int, int], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        layers(model, shape, 10)
    assert caught.value.errors[0].field == field
    with pytest.raises(ValueError, match=r"negative|smaller than|[Dd]imension|size"):
        build(JobSpec(model=model), shape, 10)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (ShallowCnn(kernel_size=8), (8, 28, 1)),
        (DeepCnn(blocks=[8, 8, 8, 8]), (28, 28, 1)),
        (LeNet5(), (12, 12, 1)),
    ],
    ids=str,
)
def test_a_model_that_barely_fits_is_built(model: Model, shape: tuple[int, int, int]) -> None:
    assert layers(model, shape, 10)[-1].output_shape == (10,)
    assert build(JobSpec(model=model), shape, 10).output.shape == (None, 10)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    def first_weights(seed: int) -> Any:
        return build(JobSpec(seed=seed), (28, 28, 1), 10).get_weights()[0]

    first = first_weights(1)
    np.testing.assert_array_equal(first, first_weights(1))
    assert not np.array_equal(first, first_weights(2))


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("unit", lambda pixels: pixels / 255),
        ("standardize", lambda pixels: (pixels - [10.0, 20.0]) / [2.0, 3.0]),
    ],
)
def test_the_model_scales_stored_pixels_itself(scale: Any, expected: Any) -> None:
    spec = JobSpec(model=Mlp(), preprocessing=Preprocessing(scale=scale))
    model = build(spec, (4, 4, 2), 3, PixelStatistics([10.0, 20.0], [4.0, 9.0]))
    scaled = keras.Model(model.input, model.get_layer("scale").output)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 2)).astype(np.float32)
    np.testing.assert_allclose(scaled(pixels), expected(pixels), rtol=1e-5, atol=1e-6)


def test_raw_pixels_reach_the_first_layer_as_they_are() -> None:
    spec = JobSpec(preprocessing=Preprocessing(scale="raw"))
    assert summarise(build(spec, (28, 28, 1), 10))[0].name == "conv"


@pytest.mark.parametrize(
    ("model", "inner"),
    [
        (ShallowCnn(), "dense"),
        (LayerList(), "conv_1"),
        (ResNet20(), "stage3_block1_add"),
        (ResNet50(), "conv5_block1_add"),
        (Vgg16(), "block5_conv1"),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_mixed_precision_keeps_weights_and_probabilities_in_float32(
    model: Model, inner: str
) -> None:
    built = build(JobSpec(model=model, precision="mixed_bfloat16"), (28, 28, 1), 10)
    assert {weight.dtype for weight in built.trainable_variables} == {"float32"}
    assert built.get_layer(inner).compute_dtype == "bfloat16"
    assert built.get_layer(inner).output.dtype == "bfloat16"
    assert built.output.dtype == "float32"


@pytest.mark.parametrize("model", [ResNet50(), Vgg16()], ids=lambda model: model.kind)
def test_small_images_get_a_black_frame_before_they_are_scaled(model: Model) -> None:
    spec = JobSpec(model=model, preprocessing=Preprocessing(scale="unit"))
    built = build(spec, (28, 31, 1), 10)
    assert [layer.name for layer in built.layers[1:3]] == ["pad", "scale"]
    framed = keras.Model(built.input, built.get_layer("pad").output)
    pixels = np.ones((1, 28, 31, 1), np.float32)
    expected = np.pad(pixels, [(0, 0), (2, 2), (0, 1), (0, 0)])
    np.testing.assert_array_equal(framed(pixels), expected)
    assert build(spec, (32, 40, 3), 10).layers[1].name == "scale"


def test_a_shortcut_of_resnet20_has_no_parameters_and_pads_the_channels_it_lacks() -> None:
    built = build(JobSpec(model=ResNet20()), (28, 28, 1), 10)
    shortcut = keras.Model(built.input, built.get_layer("stage2_block1_add").input[1])
    before = keras.Model(built.input, built.get_layer("stage1_block3_out").output)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 28, 28, 1)).astype(np.float32)
    expected = np.pad(before(pixels)[:, ::2, ::2], [(0, 0), (0, 0), (0, 0), (8, 8)])
    np.testing.assert_array_equal(shortcut(pixels), expected)

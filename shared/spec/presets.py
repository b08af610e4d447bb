"""Named starting points: the tutorial itself, and the answers to its last chapter."""

from __future__ import annotations

from dataclasses import dataclass

from shared.spec.job import JobSpec, Preprocessing
from shared.spec.layers import Activation, BatchNorm, Conv, Dropout, GlobalPool, Pool
from shared.spec.models import (
    DeepCnn,
    LayerList,
    LeNet5,
    Mlp,
    ResNet20,
    ResNet50,
    ShallowCnn,
    Vgg16,
)
from shared.spec.optimizers import Adam, Sgd
from shared.spec.schedules import Constant, Exponential
from shared.spec.stopping import AccuracyDrop, NoStopping, Patience


@dataclass(frozen=True)
class Preset:
    """A named spec.

    Attributes:
        title: what the form shows.
        description: what to expect, in one or two sentences.
        spec: the complete spec.
    """

    title: str
    description: str
    spec: JobSpec


_TUTORIAL = JobSpec(
    preprocessing=Preprocessing(scale="raw"),
    model=ShallowCnn(filters=28, kernel_size=3, dense_units=128),
    optimizer=Sgd(),
    learning_rate=0.001,
    schedule=Exponential(rate=0.9),
    early_stopping=AccuracyDrop(),
    epochs=10,
    batch_size=100,
)


def _vary(**changes: object) -> JobSpec:
    return _TUTORIAL.model_copy(update=changes)


PRESETS: dict[str, Preset] = {
    "hello-world": Preset(
        "Hello world",
        "The tutorial, exactly: one convolution, SGD at 0.001 x 0.9^epoch, batches of 100, "
        "raw pixels; stops when the training accuracy falls.",
        _TUTORIAL,
    ),
    "less-data": Preset(
        "A tenth of the data",
        "The tutorial's network on 6,000 of the 60,000 images: how much does data matter?",
        _vary(train_fraction=0.1),
    ),
    "higher-learning-rate": Preset(
        "Higher learning rate",
        "Pixels from 0 to 1 and a rate of 0.1: what plain SGD can do when the scale fits.",
        _vary(preprocessing=Preprocessing(scale="unit"), learning_rate=0.1),
    ),
    "adam": Preset(
        "Adam",
        "The tutorial's network with Adam at a constant 0.001: fewer epochs to the same accuracy.",
        _vary(
            preprocessing=Preprocessing(scale="unit"),
            optimizer=Adam(),
            schedule=Constant(),
            early_stopping=Patience(patience=3),
        ),
    ),
    "mlp": Preset(
        "Dense layers only",
        "No convolutions: the baseline that shows what they are worth.",
        _vary(
            preprocessing=Preprocessing(scale="unit"),
            model=Mlp(),
            optimizer=Adam(),
            schedule=Exponential(rate=0.9),
            early_stopping=NoStopping(),
        ),
    ),
    "lenet5": Preset(
        "LeNet-5",
        "The classic of 1998 with Adam: small and quick.",
        _vary(
            preprocessing=Preprocessing(scale="unit"),
            model=LeNet5(),
            optimizer=Adam(),
            schedule=Exponential(rate=0.9),
            early_stopping=NoStopping(),
        ),
    ),
    "deep-cnn": Preset(
        "Deeper network",
        "Two blocks of two convolutions with batch normalisation and dropout: "
        "the most accurate of the small ones, and the slowest.",
        _vary(
            preprocessing=Preprocessing(scale="unit"),
            model=DeepCnn(),
            optimizer=Adam(),
            schedule=Exponential(rate=0.8),
            early_stopping=Patience(patience=4),
            epochs=12,
        ),
    ),
    "resnet20": Preset(
        "ResNet-20",
        "Nine residual blocks in the form for small images: deep, and few parameters.",
        _vary(
            preprocessing=Preprocessing(scale="unit"),
            model=ResNet20(),
            optimizer=Adam(),
            schedule=Exponential(rate=0.8),
            early_stopping=Patience(patience=4),
        ),
    ),
    "resnet50": Preset(
        "ResNet-50",
        "Sixteen residual blocks, 24 million parameters, from scratch: slow without a GPU.",
        _vary(
            preprocessing=Preprocessing(scale="unit"),
            model=ResNet50(),
            optimizer=Adam(),
            schedule=Exponential(rate=0.8),
            early_stopping=Patience(patience=4),
        ),
    ),
    "vgg16": Preset(
        "VGG16",
        "Thirteen convolutions in a row, from scratch: the slowest without a GPU. "
        "Without batch normalisation it needs a small learning rate.",
        _vary(
            preprocessing=Preprocessing(scale="unit"),
            model=Vgg16(),
            optimizer=Adam(),
            learning_rate=0.0001,
            schedule=Exponential(rate=0.8),
            early_stopping=Patience(patience=4),
        ),
    ),
    "layers": Preset(
        "Your own layers",
        "A list of layers to edit: two convolutions with batch normalisation, then one value "
        "of each feature map.",
        _vary(
            preprocessing=Preprocessing(scale="unit"),
            model=LayerList(
                layers=[
                    Conv(filters=32, activation="none"),
                    BatchNorm(),
                    Activation(),
                    Pool(),
                    Conv(filters=64, activation="none"),
                    BatchNorm(),
                    Activation(),
                    GlobalPool(),
                    Dropout(),
                ]
            ),
            optimizer=Adam(),
            schedule=Exponential(rate=0.9),
            early_stopping=NoStopping(),
        ),
    ),
}

"""Named starting points: the tutorial itself, and the answers to its last chapter."""

from __future__ import annotations

from dataclasses import dataclass

from shared.spec.augmentation import Shift
from shared.spec.job import JobSpec, Preprocessing
from shared.spec.layers import Activation, BatchNorm, Conv, Dropout, Flatten, Pool
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

# Where what the presets reached was measured, by `python -m tests.bench.presets`.
MEASURED_ON = "the whole of MNIST, on two cores of an Intel Xeon with AMX"


@dataclass(frozen=True)
class Reached:
    """What a preset came to, as `MEASURED_ON` says.

    Attributes:
        accuracy: best accuracy on the test images, 0 to 1.
        epochs: epochs that it trained, of the preset's own unless it is slow.
        epoch_seconds: training and scoring of one epoch.
    """

    accuracy: float
    epochs: int
    epoch_seconds: float


@dataclass(frozen=True)
class Preset:
    """A named spec.

    Attributes:
        title: what the form shows.
        description: what to expect, in one or two sentences.
        reached: what it came to when it was measured.
        spec: the complete spec.
    """

    title: str
    description: str
    reached: Reached
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
        Reached(0.9733, 10, 5.0),
        _TUTORIAL,
    ),
    "less-data": Preset(
        "A tenth of the data",
        "The tutorial's network on 6,000 of the 60,000 images: how much does data matter?",
        Reached(0.9073, 10, 0.8),
        _vary(train_fraction=0.1),
    ),
    "higher-learning-rate": Preset(
        "Higher learning rate",
        "Pixels from 0 to 1 and a rate of 0.1: what plain SGD can do when the scale fits.",
        Reached(0.9821, 10, 5.7),
        _vary(preprocessing=Preprocessing(scale="unit"), learning_rate=0.1),
    ),
    "adam": Preset(
        "Adam",
        "The tutorial's network with Adam at a constant 0.001: fewer epochs to the same accuracy.",
        Reached(0.986, 9, 6.6),
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
        Reached(0.9834, 10, 0.9),
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
        Reached(0.9913, 10, 3.4),
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
        "as accurate as ResNet-20, in half its time.",
        Reached(0.9955, 12, 16),
        _vary(
            preprocessing=Preprocessing(scale="unit"),
            model=DeepCnn(),
            optimizer=Adam(),
            schedule=Exponential(rate=0.8),
            early_stopping=Patience(patience=4),
            epochs=12,
            precision="auto",
        ),
    ),
    "resnet20": Preset(
        "ResNet-20",
        "Nine residual blocks in the form for small images, which are moved a little each time: "
        "deep, and few parameters.",
        Reached(0.995, 10, 46),
        _vary(
            preprocessing=Preprocessing(scale="unit", augmentation=Shift()),
            model=ResNet20(),
            optimizer=Adam(),
            schedule=Exponential(rate=0.8),
            early_stopping=Patience(patience=4),
            precision="auto",
        ),
    ),
    "resnet50": Preset(
        "ResNet-50",
        "Sixteen residual blocks, 24 million parameters, from scratch: slow without a GPU.",
        Reached(0.98, 3, 293),
        _vary(
            preprocessing=Preprocessing(scale="unit"),
            model=ResNet50(),
            optimizer=Adam(),
            schedule=Exponential(rate=0.8),
            early_stopping=Patience(patience=4),
            precision="auto",
        ),
    ),
    "vgg16": Preset(
        "VGG16",
        "Thirteen convolutions in a row, from scratch: slow without a GPU. "
        "Without batch normalisation it needs a small learning rate.",
        Reached(0.9776, 1, 271),
        _vary(
            preprocessing=Preprocessing(scale="unit"),
            model=Vgg16(),
            optimizer=Adam(),
            learning_rate=0.0001,
            schedule=Exponential(rate=0.8),
            early_stopping=Patience(patience=4),
            precision="auto",
        ),
    ),
    "layers": Preset(
        "Your own layers",
        "A list of layers to edit: two convolutions with batch normalisation and pooling.",
        Reached(0.9903, 10, 12),
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
                    Pool(),
                    Flatten(),
                    Dropout(),
                ]
            ),
            optimizer=Adam(),
            schedule=Exponential(rate=0.9),
            early_stopping=NoStopping(),
        ),
    ),
}

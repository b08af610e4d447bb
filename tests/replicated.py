"""Trains small models on some virtual processors together, and tells how it went.

A program, because TensorFlow must be told of virtual devices before it brings up the real ones:

    python -m tests.replicated COUNT trained [WHAT ...] > outcomes.json
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from shared.spec import JobSpec
from shared.spec.augmentation import Shift
from shared.spec.job import Preprocessing
from shared.spec.models import DeepCnn, Mlp, ShallowCnn
from shared.spec.optimizers import Adam, Sgd
from worker.training.artifacts import to_litert
from worker.training.checkpoints import Position, State
from worker.training.data import Dataset
from worker.training.graph import Totals
from worker.training.learner import Learner

# 100 images in batches of 33: no whole number a device, and a last batch of a single image.
PLAIN = JobSpec(batch_size=33, learning_rate=0.01, preprocessing=Preprocessing(scale="unit"))
CONVOLUTIONS = DeepCnn(
    blocks=[4], convolutions_per_block=1, dense_units=8, batch_norm=True, dropout=0.4
)
NORMALISED = PLAIN.model_copy(update={"model": CONVOLUTIONS, "optimizer": Adam()})
SPECS = {
    "momentum": PLAIN.model_copy(
        update={
            "model": ShallowCnn(filters=4, dense_units=8),
            "optimizer": Sgd(momentum=0.9),
            "preprocessing": Preprocessing(scale="unit", augmentation=Shift(pixels=2)),
        }
    ),
    "clipped": PLAIN.model_copy(
        update={
            "model": Mlp(hidden_units=[8]),
            "optimizer": Adam(clip_norm=0.1, weight_decay=0.01),
        }
    ),
    "float16": PLAIN.model_copy(
        update={
            "model": Mlp(hidden_units=[8]),
            "optimizer": Sgd(),
            "precision": "mixed_float16",
        }
    ),
    "normalised": NORMALISED,
}


def main(count: int, wanted: Sequence[str]) -> dict[str, Any]:
    """Return some of the outcomes of training on so many devices."""
    (processor,) = tf.config.list_physical_devices("CPU")
    virtual = [tf.config.LogicalDeviceConfiguration()] * count
    tf.config.set_logical_device_configuration(processor, virtual)
    devices = [f"CPU:{index}" for index in range(count)]
    return {name: _OUTCOMES[name](devices) for name in wanted}


def _all_trained(devices: Sequence[str]) -> dict[str, Any]:
    return {name: _trained(spec, devices) for name, spec in SPECS.items()}


def _trained(spec: JobSpec, devices: Sequence[str]) -> dict[str, Any]:
    """Train an epoch, and score it."""
    learner = Learner(spec, _images(100), devices=devices)
    before = learner.weights()
    _, totals = learner.training.run(learner.plan(1), Totals(), start=0, stop=4)
    score = learner.score_test()
    variables = [*learner._model_variables, *learner._updater.variables]
    return {
        "before": _lists(before),
        "weights": _lists(learner.weights()),
        "optimizer": _lists(learner.optimizer_state()),
        "totals": totals,
        "score": [score.loss, score.matrix.tolist()],
        "copies_differ": [variable.name for variable in variables if not _agree(variable)],
        "copies": min(len(_copies(variable)) for variable in variables),
    }


def _moving_mean(devices: Sequence[str]) -> list[float]:
    """Return the first normalisation's moving mean after one step of twelve images."""
    learner = Learner(
        NORMALISED.model_copy(update={"batch_size": 12}), _images(12), devices=devices
    )
    learner.training.run(learner.plan(1), Totals(), start=0, stop=1)
    mean: list[float] = learner.model.get_layer("norm_1_1").moving_mean.numpy().tolist()
    return mean


def _losses_of_equal_images(devices: Sequence[str]) -> dict[str, float]:
    return {
        "plain": _loss_of_equal_images(0.0, devices),
        "dropout": _loss_of_equal_images(0.5, devices),
    }


def _loss_of_equal_images(dropout: float, devices: Sequence[str]) -> float:
    """Return the loss of a batch that has the same image for each device."""
    count = len(devices)
    image, label = np.full((count, 12, 12, 1), 99, np.uint8), np.zeros(count, np.int64)
    spec = PLAIN.model_copy(
        update={"model": Mlp(hidden_units=[64], dropout=dropout), "batch_size": count}
    )
    names = [str(number) for number in range(10)]
    learner = Learner(spec, Dataset("", names, image, label, image, label), devices=devices)
    return learner.training.run(learner.plan(1), Totals(), start=0, stop=1)[1].loss


def _resumed(devices: Sequence[str]) -> list[bool]:
    """Tell whether weights, optimizer and sums are, to the bit, what they are undisturbed."""
    whole = Learner(NORMALISED, _images(100), devices=devices)
    _, undisturbed = whole.training.run(whole.plan(1), Totals(), start=0, stop=4)

    begun = Learner(NORMALISED, _images(100), devices=devices)
    _, half = begun.training.run(begun.plan(1), Totals(), start=0, stop=2)
    state = State(Position(), "float32", [], begun.weights(), begun.optimizer_state())
    resumed = Learner(NORMALISED.model_copy(update={"seed": 1}), _images(100), devices=devices)
    resumed.restore(state)
    _, totals = resumed.training.run(begun.plan(1), half, start=2, stop=4)
    return [
        resumed.weights_hash() == whole.weights_hash(),
        _bytes(resumed.weights()) == _bytes(whole.weights()),
        _bytes(resumed.optimizer_state()) == _bytes(whole.optimizer_state()),
        totals == undisturbed,
    ]


def _exported(devices: Sequence[str]) -> dict[str, Any]:
    """Return what Keras's and LiteRT's form of the model predict, and the model itself."""
    learner = Learner(NORMALISED, _images(100), devices=devices)
    learner.training.run(learner.plan(1), Totals(), start=0, stop=4)
    images = _images(1).x_train.astype(np.float32)
    plain = learner.float32_model()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        learner.model.save(path)
        loaded = keras.models.load_model(path)
    interpreter = tf.lite.Interpreter(model_content=to_litert(plain))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    return {
        "model": learner.model(images, training=False).numpy().tolist(),
        "float32": plain(images, training=False).numpy().tolist(),
        "keras": loaded(images, training=False).numpy().tolist(),
        "litert": interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tolist(),
    }


def _images(count: int) -> Dataset:
    """Return random images to train on, and as many and 7 more to score."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count + 7, 12, 12, 1), dtype=np.uint8)
    labels = random.integers(0, 10, count + 7)
    names = [str(number) for number in range(10)]
    return Dataset("", names, images[:count], labels[:count], images, labels)


def _copies(variable: Any) -> list[npt.NDArray[Any]]:
    return [copy.numpy() for copy in getattr(variable, "values", [variable])]


def _agree(variable: Any) -> bool:
    first, *others = _copies(variable)
    return all(np.array_equal(first, other) for other in others)


def _lists(arrays: Sequence[npt.NDArray[Any]]) -> list[Any]:
    return [array.tolist() for array in arrays]


def _bytes(arrays: Sequence[npt.NDArray[Any]]) -> list[bytes]:
    return [array.tobytes() for array in arrays]


_OUTCOMES: dict[str, Callable[[Sequence[str]], Any]] = {
    "trained": _all_trained,
    "moving_mean": _moving_mean,
    "losses": _losses_of_equal_images,
    "resumed": _resumed,
    "exported": _exported,
}

if __name__ == "__main__":
    json.dump(main(int(sys.argv[1]), sys.argv[2:]), sys.stdout)

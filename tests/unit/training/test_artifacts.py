"""What a finished job leaves: files that other programs read."""

from __future__ import annotations

import csv
import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from shared.protocol import Artifact, Epoch
from shared.spec import JobSpec
from shared.spec.job import Preprocessing
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
from worker.training.artifacts import (
    Publisher,
    publish_confusion_matrix,
    publish_history,
    publish_model,
    publish_summary,
    to_litert,
)
from worker.training.data import Dataset
from worker.training.learner import Learner
from worker.training.models import summarise

SHALLOW = ShallowCnn(filters=4, dense_units=16)
DEEP = DeepCnn(blocks=[4, 8], convolutions_per_block=1, dense_units=16)


@pytest.fixture
def announced() -> list[Artifact]:
    return []


@pytest.fixture
def publisher(tmp_path: Path, announced: list[Artifact]) -> Publisher:
    return Publisher(tmp_path, announced.append)


def test_a_file_is_announced_with_its_size_and_hash(
    publisher: Publisher, announced: list[Artifact], tmp_path: Path
) -> None:
    publisher.publish_json("one.json", {"a": 1}, kind="summary")
    (artifact,) = announced
    content = (tmp_path / "one.json").read_bytes()
    assert artifact.path == tmp_path / "one.json"
    assert artifact.bytes == len(content)
    assert artifact.sha256 == hashlib.sha256(content).hexdigest()


def test_history_holds_every_figure_exactly(publisher: Publisher, tmp_path: Path) -> None:
    epoch = Epoch(
        epoch=1,
        train_accuracy=1 / 3,
        train_loss=2 / 3,
        eval_accuracy=0.1,
        eval_loss=1e-7,
        learning_rate=0.001 * 0.9,
        seconds=1.25,
        images_per_second=9.5,
    )
    publish_history(publisher, [epoch])
    with (tmp_path / "history.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert {name: float(text) for name, text in row.items()} == epoch.model_dump(
        exclude={"event", "replayed"}
    )


def test_the_summary_comes_as_data_and_as_a_table(
    publisher: Publisher, tmp_path: Path, dataset: Dataset
) -> None:
    publish_summary(publisher, summarise(Learner(JobSpec(), dataset).model))
    document = json.loads((tmp_path / "summary.json").read_text())
    assert document["parameters"] == 2_424_482
    assert document["layers"][1] == {
        "name": "conv",
        "kind": "Conv2D",
        "output_shape": [26, 26, 28],
        "parameters": 280,
    }
    lines = (tmp_path / "summary.txt").read_text().splitlines()
    assert lines[0].split() == ["Layer", "Kind", "Output", "shape", "Parameters"]
    assert lines[2].split() == ["conv", "Conv2D", "26", "x", "26", "x", "28", "280"]
    assert lines[-1].split() == ["Total", "2,424,482"]
    assert len({len(line) for line in lines}) == 1


def test_the_confusion_matrix_gives_accuracy_by_class(publisher: Publisher, tmp_path: Path) -> None:
    matrix = np.array([[3, 1, 0], [0, 2, 2], [0, 0, 0]])
    publish_confusion_matrix(publisher, matrix, ["a", "b", "c"])
    document = json.loads((tmp_path / "confusion_matrix.json").read_text())
    assert document["matrix"] == matrix.tolist()
    assert document["images_by_class"] == [4, 4, 0]
    assert document["accuracy_by_class"] == [0.75, 0.5, None]
    assert document["classes"] == ["a", "b", "c"]


def litert_probabilities(content: bytes, images: Any) -> Any:
    """Let TensorFlow's LiteRT interpreter compute, as a phone would."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow 2.21 announces that it will move out
        interpreter = tf.lite.Interpreter(model_content=content)
    (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(wanted["index"])


# Keras 3.15 reads its own weight files in a way that NumPy 2.4 deprecates.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    ("model", "precision", "scale"),
    [
        (SHALLOW, "float32", "raw"),
        (SHALLOW, "mixed_bfloat16", "unit"),
        (DEEP, "float32", "unit"),
        (DEEP, "mixed_bfloat16", "standardize"),
        (Mlp(hidden_units=[16]), "float32", "standardize"),
        (LeNet5(), "float32", "unit"),
        (ResNet20(), "mixed_bfloat16", "unit"),
        (ResNet50(), "float32", "unit"),
        (Vgg16(), "float32", "standardize"),
        (LayerList(), "float32", "unit"),
    ],
    ids=lambda value: getattr(value, "kind", value),
)
def test_both_model_files_take_stored_pixels_and_agree_with_the_trained_model(
    model: Model,
    precision: Any,
    scale: Any,
    dataset: Dataset,
    publisher: Publisher,
    tmp_path: Path,
) -> None:
    spec = JobSpec(model=model, precision=precision, preprocessing=Preprocessing(scale=scale))
    learner = Learner(spec, dataset)
    images = dataset.x_test[:20].astype(np.float32)
    expected = learner.model(images, training=False).numpy()
    trained = learner.model
    publish_model(publisher, trained, learner.float32_model())

    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(loaded(images, training=False).numpy(), expected)
    found = litert_probabilities((tmp_path / "model.tflite").read_bytes(), images)
    tolerance = 1e-4 if precision == "float32" else 0.15
    np.testing.assert_allclose(found, expected, atol=tolerance)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


def test_litert_takes_any_number_of_images(dataset: Dataset) -> None:
    content = to_litert(Learner(JobSpec(model=Mlp(hidden_units=[4])), dataset).model)
    images = dataset.x_test[:7].astype(np.float32)
    for count in (1, 7):
        assert litert_probabilities(content, images[:count]).shape == (count, 10)

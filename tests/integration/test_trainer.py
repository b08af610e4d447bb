"""The trainer as a process: what it says, what it leaves, and how it ends."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.protocol import (
    Artifact,
    Checkpoint,
    Epoch,
    Failed,
    Finished,
    Progress,
    Ready,
    Started,
    Stop,
    Stopped,
)
from shared.spec.architecture import layers
from shared.spec.schedules import learning_rate
from tests.small_data import small_mnist, write_dataset
from tests.trainers import Stable, Trainer, spec_of
from worker.training import program

pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

TRAIN_IMAGES, TEST_IMAGES = 2050, 700
QUICK = spec_of("lenet5", epochs=2, batch_size=100)
# Longer than any test: only a stop, a kill or a failure ends it.
ENDLESS = spec_of("mlp", epochs=10_000, batch_size=1)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_mnist(tmp_path_factory.mktemp("digits"), train=TRAIN_IMAGES, test=TEST_IMAGES)


@dataclass(frozen=True)
class Done:
    """A job that was trained to its end."""

    trainer: Trainer
    work_dir: Path
    finished: Finished

    def artifact(self, name: str) -> Path:
        """Return the path of the artifact of this name."""
        (event,) = [event for event in self.trainer.all(Artifact) if event.name == name]
        return event.path

    def document(self, name: str) -> Any:
        """Return the content of a JSON artifact."""
        return json.loads(self.artifact(name).read_text())


@pytest.fixture(scope="module")
def done(stable: Stable, digits: Path) -> Done:
    trainer = stable.take()
    work_dir = trainer.run(QUICK, digits)
    return Done(trainer, work_dir, trainer.finish())


@pytest.fixture
def trainer(stable: Stable) -> Iterator[Trainer]:
    trainer = stable.take()
    yield trainer
    trainer.close()


# --- what it says -----------------------------------------------------------------------------


def test_a_job_is_told_from_ready_to_finished(done: Done) -> None:
    kinds = [type(event) for event in done.trainer.events if not isinstance(event, Checkpoint)]
    told = [kind for kind, after in pairwise([*kinds, None]) if kind is not after]
    assert told == [Ready, Started, *[Progress, Epoch] * QUICK.epochs, Progress, Artifact, Finished]
    assert done.trainer.noise == []


def test_the_start_tells_sizes_and_the_layers_that_the_form_showed(done: Done) -> None:
    (started,) = done.trainer.all(Started)
    assert (started.epoch, started.step, started.resumed_from) == (1, 0, None)
    assert (started.train_images, started.eval_images) == (TRAIN_IMAGES, TEST_IMAGES)
    assert started.steps_per_epoch == 21  # the last one is half a batch
    told = [(row.name, row.kind, tuple(row.output_shape), row.parameters) for row in started.layers]
    shown = layers(QUICK.model, (28, 28, 1), 10)
    assert told[1:] == [(row.name, row.kind, row.output_shape, row.parameters) for row in shown]
    assert started.parameters == sum(row.parameters for row in started.layers)


def test_progress_begins_at_the_first_step_and_reaches_the_last_of_each_epoch(done: Done) -> None:
    steps = [(p.epoch, p.step) for p in done.trainer.all(Progress) if p.phase == "train"]
    assert steps == sorted(set(steps))
    assert steps[0] == (1, 1)
    assert {(1, 21), (2, 21)} <= set(steps)


def test_an_epoch_row_agrees_with_the_last_progress_and_the_schedule(done: Done) -> None:
    for epoch in done.trainer.all(Epoch):
        (last,) = [
            progress
            for progress in done.trainer.all(Progress)
            if (progress.phase, progress.epoch, progress.step) == ("train", epoch.epoch, 21)
        ]
        assert (epoch.train_accuracy, epoch.train_loss) == (last.train_accuracy, last.train_loss)
        assert epoch.learning_rate == learning_rate(QUICK, epoch.epoch)
        assert (epoch.train_accuracy * TRAIN_IMAGES) == pytest.approx(
            round(epoch.train_accuracy * TRAIN_IMAGES)
        )


def test_each_epochs_end_is_a_checkpoint_and_two_are_kept(done: Done) -> None:
    checkpoints = done.trainer.all(Checkpoint)
    assert [(event.epoch, event.step) for event in checkpoints] == [(2, 0), (3, 0)]
    assert sorted((done.work_dir / "checkpoints").iterdir()) == [c.path for c in checkpoints]
    for event in checkpoints:
        content = event.path.read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (event.bytes, event.sha256)


def test_the_log_is_short_and_has_a_line_an_epoch(done: Done) -> None:
    lines = done.trainer.log.read_text().splitlines()
    assert [line for line in lines if line.startswith("Epoch ")][1].startswith("Epoch 2/2: ")
    assert "All 2 epochs are done." in lines
    assert len(lines) <= 12, lines


# --- what it leaves ---------------------------------------------------------------------------


def test_artifacts_are_announced_as_they_lie_on_disk(done: Done) -> None:
    announced = done.trainer.all(Artifact)
    assert {event.path for event in announced} == set((done.work_dir / "artifacts").iterdir())
    assert {event.kind for event in announced} == {
        "model",
        "litert",
        "history",
        "summary",
        "confusion_matrix",
    }
    for event in announced:
        content = event.path.read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (event.bytes, event.sha256)


def test_the_keras_model_loads_and_scores_as_told(done: Done, digits: Path) -> None:
    keras = _keras()
    model = keras.models.load_model(done.artifact("model.keras"))
    labels = np.load(digits / "y_test.npy")
    probabilities = model.predict(_test_images(digits), verbose=0)
    assert (probabilities.argmax(axis=1) == labels).mean() == done.finished.test_accuracy
    likelihood = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    assert -np.log(likelihood).mean() == pytest.approx(done.finished.test_loss, rel=1e-5)


def test_the_litert_model_gives_the_keras_models_probabilities(done: Done, digits: Path) -> None:
    images = _test_images(digits)[:50]
    model = _keras().models.load_model(done.artifact("model.keras"))
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(
        _interpret(done.artifact("model.tflite"), images), expected, atol=1e-5
    )


def test_the_history_file_has_the_epochs_to_the_last_digit(done: Done) -> None:
    with done.artifact("history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = [epoch.model_dump(exclude={"event", "replayed"}) for epoch in done.trainer.all(Epoch)]
    assert [{name: float(value) for name, value in row.items()} for row in rows] == told


def test_the_summary_file_has_the_layers(done: Done) -> None:
    (started,) = done.trainer.all(Started)
    document = done.document("summary.json")
    assert document["layers"] == [layer.model_dump() for layer in started.layers]
    assert document["parameters"] == started.parameters
    text = done.artifact("summary.txt").read_text()
    assert all(layer.name in text for layer in started.layers)


def test_the_confusion_matrix_counts_every_test_image_once(done: Done, digits: Path) -> None:
    document = done.document("confusion_matrix.json")
    matrix = np.array(document["matrix"])
    labels = np.load(digits / "y_test.npy")
    assert matrix.sum(axis=1).tolist() == np.bincount(labels, minlength=10).tolist()
    assert matrix.trace() / TEST_IMAGES == done.finished.test_accuracy
    assert document["classes"] == [str(digit) for digit in range(10)]


def test_a_run_leaves_nothing_in_the_temporary_folder(done: Done) -> None:
    assert list(done.trainer.temporary.rglob("*")) == []
    assert {path.name for path in done.work_dir.iterdir()} == {"artifacts", "checkpoints"}


# --- how it ends ------------------------------------------------------------------------------


def test_stop_saves_the_step_and_ends(trainer: Trainer, digits: Path) -> None:
    trainer.run(ENDLESS, digits)
    trainer.wait_for(Progress)
    trainer.send(Stop())
    assert trainer.wait() == program.EXIT_STOPPED, trainer.story()
    (stopped,) = trainer.all(Stopped)
    assert isinstance(trainer.events[-1], Stopped)
    newest = trainer.all(Checkpoint)[-1]
    assert (newest.epoch, newest.step) == (stopped.epoch, stopped.step) > (1, 0)
    assert newest.path.stat().st_size == newest.bytes


def test_sigterm_is_a_stop(trainer: Trainer, digits: Path) -> None:
    trainer.run(ENDLESS, digits)
    trainer.wait_for(Progress)
    trainer.process.send_signal(signal.SIGTERM)
    assert trainer.wait() == program.EXIT_STOPPED, trainer.story()
    assert isinstance(trainer.events[-1], Stopped)


def test_a_waiting_trainer_ends_when_its_supervisor_is_gone(trainer: Trainer) -> None:
    trainer.close_input()
    assert trainer.wait() == program.EXIT_ABANDONED
    assert [type(event) for event in trainer.events] == [Ready]


def test_a_training_trainer_ends_at_once_when_its_supervisor_is_gone(
    trainer: Trainer, digits: Path
) -> None:
    trainer.run(ENDLESS, digits)
    trainer.wait_for(Progress)
    trainer.close_input()
    assert trainer.wait() == program.EXIT_ABANDONED
    assert not trainer.all(Stopped)
    assert not trainer.all(Finished)


def test_what_is_no_command_is_passed_over(trainer: Trainer, digits: Path) -> None:
    trainer.write(b'{"command": "dance"}\nnot even JSON\n')
    trainer.run(QUICK.model_copy(update={"epochs": 1}), digits)
    trainer.finish()
    assert trainer.log.read_text().count("Not a command") == 2


def test_a_missing_data_folder_is_a_failure_of_the_data(trainer: Trainer, tmp_path: Path) -> None:
    trainer.run(QUICK, tmp_path / "nowhere")
    assert trainer.wait() == program.EXIT_FAILED
    (failed,) = trainer.all(Failed)
    assert failed.kind == "data"
    assert "nowhere" in failed.evidence
    assert failed.suggestion
    assert "Traceback" not in trainer.log.read_text()


def test_data_that_break_a_rule_are_named(trainer: Trainer, tmp_path: Path) -> None:
    images = np.zeros((200, 28, 28, 1), np.uint8)
    labels = np.full(200, 10)
    write_dataset(tmp_path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    trainer.run(QUICK, tmp_path)
    assert trainer.wait() == program.EXIT_FAILED
    (failed,) = trainer.all(Failed)
    assert failed.kind == "data"
    assert "Labels of the train set must lie in 0 to 9. Received: 10 to 10." in failed.evidence


def test_a_model_that_does_not_fit_the_images_is_named(trainer: Trainer, tmp_path: Path) -> None:
    images, labels = np.zeros((200, 6, 6, 1), np.uint8), np.zeros(200, np.int64)
    write_dataset(tmp_path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    trainer.run(QUICK, tmp_path)
    assert trainer.wait() == program.EXIT_FAILED
    (failed,) = trainer.all(Failed)
    assert failed.kind == "data"
    assert "5 x 5 must fit into the 3 x 3 pixels" in failed.evidence


def test_a_diverging_job_names_epoch_step_and_learning_rate(trainer: Trainer, digits: Path) -> None:
    # Twelve layers multiply what so high a rate makes of the weights: float32 overflows at once.
    model = {"kind": "mlp", "hidden_units": [64] * 12}
    spec = spec_of("hello-world", learning_rate=10.0, model=model, batch_size=50)
    trainer.run(spec, digits)
    assert trainer.wait() == program.EXIT_FAILED, trainer.story()
    (failed,) = trainer.all(Failed)
    assert failed.kind == "diverged"
    assert re.search(r"in epoch 1, step \d+, at a learning rate of 10\.", failed.evidence)
    assert "Lower the learning rate" in failed.suggestion
    assert not trainer.all(Epoch)


# --- alone ------------------------------------------------------------------------------------


def test_alone_it_trains_a_bare_spec_and_ends(done: Done, digits: Path, tmp_path: Path) -> None:
    work_dir = tmp_path / "work"
    arguments = ["--dataset-dir", str(digits), "--work-dir", str(work_dir)]
    alone = Trainer(tmp_path / "alone", arguments, text=QUICK.model_dump_json())
    finished = alone.finish()
    assert alone.noise == []
    assert finished == done.finished
    assert (work_dir / "artifacts" / "model.keras").is_file()
    assert list(alone.temporary.rglob("*")) == []
    alone.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"learning_rate": -1}', ["learning_rate", "greater than 0", "-1"]),
        ('{"optimizer": {"kind": "sgd", "momentumm": 0.9}}', ["optimizer.momentumm"]),
        ('{"model": {"kind": "oracle"}}', ["model", "oracle"]),
        ('{"dataset": {"name": "nothing"}}', ["nothing", "mnist"]),
        ("{", ["JSON"]),
        ("", ["JSON"]),
    ],
)
def test_alone_a_bad_spec_is_wrong_usage_and_names_the_field(
    text: str, words: list[str], tmp_path: Path
) -> None:
    alone = Trainer(tmp_path / "alone", ["--work-dir", str(tmp_path / "work")], text=text)
    assert alone.wait() == program.EXIT_USAGE
    assert alone.events == []
    log = alone.log.read_text()
    assert all(word in log for word in words), log
    assert "Traceback" not in log
    assert not (tmp_path / "work").exists()
    alone.close()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"precision": "mixed_float16"}, "spec.precision"),
        ({"batch_size": 5000}, "spec.batch_size"),
        (
            {"preprocessing": {"augmentation": {"kind": "shift", "pixels": 28}}},
            "spec.preprocessing.augmentation",
        ),
        ({"schedule": {"kind": "warmup_cosine"}, "epochs": 1}, "spec.schedule.warmup_epochs"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_alone_a_spec_that_does_not_fit_the_data_is_wrong_usage(
    changes: dict[str, Any], field: str, digits: Path, tmp_path: Path
) -> None:
    arguments = ["--dataset-dir", str(digits), "--work-dir", str(tmp_path / "work")]
    alone = Trainer(tmp_path / "alone", arguments, text=json.dumps(changes))
    assert alone.wait() == program.EXIT_USAGE
    assert alone.log.read_text().startswith(field)
    assert not (tmp_path / "work").exists()
    alone.close()


def test_alone_it_never_deletes_another_runs_checkpoints(digits: Path, tmp_path: Path) -> None:
    earlier = tmp_path / "work" / "checkpoints" / "epoch-00002-step-00000001.npz"
    earlier.parent.mkdir(parents=True)
    earlier.write_bytes(b"precious")
    arguments = ["--dataset-dir", str(digits), "--work-dir", str(tmp_path / "work")]
    alone = Trainer(tmp_path / "alone", arguments, text=QUICK.model_dump_json())
    assert alone.wait() == program.EXIT_USAGE
    log = alone.log.read_text()
    assert "--resume" in log
    assert "--work-dir" in log
    assert earlier.read_bytes() == b"precious"
    alone.close()


def test_alone_resume_goes_on_from_the_newest_checkpoint(
    done: Done, digits: Path, tmp_path: Path
) -> None:
    arguments = ["--resume", "--dataset-dir", str(digits), "--work-dir", str(done.work_dir)]
    alone = Trainer(tmp_path / "alone", arguments, text=QUICK.model_dump_json())
    finished = alone.finish()
    (started,) = alone.all(Started)
    assert (started.epoch, started.step) == (3, 0)
    assert [epoch.replayed for epoch in alone.all(Epoch)] == [True, True]
    assert finished == done.finished
    alone.close()


def _keras() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    return keras


def _test_images(folder: Path) -> Any:
    return np.load(folder / "x_test.npy").astype(np.float32)


def _interpret(path: Path, images: Any) -> Any:
    """Run images through a LiteRT model, one batch."""
    import warnings

    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        interpreter = tf.lite.Interpreter(str(path))
    (entry,), (exit_,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(entry["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(entry["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(exit_["index"])

"""The job's log."""

from __future__ import annotations

import pytest

from shared.protocol import Epoch, Event, Failed, Finished, Machine, Progress, Started, Stopped
from shared.spec import JobSpec
from worker.training.narration import narrate

SPEC = JobSpec(epochs=3)
EPOCH = Epoch(
    epoch=2,
    train_accuracy=0.98765,
    train_loss=0.25,
    eval_accuracy=0.5,
    eval_loss=1.5,
    learning_rate=0.0009,
    seconds=12.34,
    images_per_second=5000.0,
)
STARTED = Started(
    epoch=2,
    step=30,
    steps_per_epoch=600,
    train_images=60_000,
    eval_images=10_000,
    parameters=2_424_482,
    layers=[],
    device="CPU",
    precision="float32",
    versions={"tensorflow": "2.21.0"},
    machine=Machine(processor="AMD EPYC 9354", cores=4, intra_op_threads=2, inter_op_threads=4),
    seed=7,
    dataset_version="f84e08fcf5e2",
    resumed_from="epoch-00002-step-00000030.npz",
    rejected_checkpoints={"broken.npz": "It cannot be read."},
)


def test_a_start_tells_of_device_versions_data_model_and_where_it_goes_on() -> None:
    text = "\n".join(narrate(STARTED, SPEC))
    for words in (
        "CPU",
        "float32",
        "tensorflow 2.21.0",
        "60,000 images",
        "AMD EPYC 9354, 2 threads",
        "seed 7",
        "2,424,482 parameters",
        "broken.npz",
        "It cannot be read.",
        "Resumed from epoch-00002-step-00000030.npz: 30 steps of epoch 2",
    ):
        assert words in text


def test_an_epoch_is_one_line() -> None:
    (line,) = narrate(EPOCH, SPEC)
    assert line == (
        "Epoch 2/3: training accuracy 0.9877, loss 0.2500; evaluation accuracy 0.5000, "
        "loss 1.5000; learning rate 0.0009; 12.3 s."
    )


@pytest.mark.parametrize(
    "event",
    [
        EPOCH.model_copy(update={"replayed": True}),
        Progress(phase="train", epoch=1, step=1, steps=2),
    ],
)
def test_what_was_told_before_and_what_comes_every_second_is_not_told(event: Event) -> None:
    assert narrate(event, SPEC) == []


def test_an_end_says_why() -> None:
    finished = Finished(
        reason="early_stopped",
        detail="Training accuracy fell.",
        best_epoch=2,
        weights_epoch=3,
        weights_sha256="0" * 64,
        test_accuracy=0.97,
        test_loss=0.1,
    )
    assert narrate(finished, SPEC)[0] == "Training accuracy fell."
    assert narrate(Stopped(epoch=2, step=30), SPEC) == [
        "Stopped on request: 30 steps of epoch 2 are saved."
    ]
    failed = Failed(kind="diverged", evidence="The loss was not finite.", suggestion="Go slower.")
    assert narrate(failed, SPEC) == ["Failed (diverged): The loss was not finite.", "Go slower."]

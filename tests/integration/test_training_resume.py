"""A job that is killed anywhere ends the same, to the last bit; on the CPU.

A few jobs that tell much; `tests.faults.test_resume` has every choice that a job can make.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from shared.protocol import Checkpoint, Epoch, Event, Finished, Progress, Started, Stop, Stopped
from shared.spec import JobSpec
from shared.spec.job import Preprocessing, Resources
from shared.spec.models import DeepCnn, Mlp, ShallowCnn
from shared.spec.optimizers import Adam
from shared.spec.stopping import NoStopping, Patience
from tests.interrupted import checkpoints_of, figures, resume
from tests.small_data import small_mnist
from tests.trainers import Stable, Trainer
from tests.waiting import wait_until

pytestmark = [pytest.mark.training, pytest.mark.timeout(600)]

E = TypeVar("E", bound=Event)

# Batches of two: thousands of quick steps, so that there is always an epoch to disturb.
COMMON = JobSpec(
    batch_size=2,
    epochs=3,
    learning_rate=0.001,
    early_stopping=NoStopping(),
    preprocessing=Preprocessing(scale="unit"),
    resources=Resources(checkpoint_seconds=1),
)
SPECS = {
    "deep_cnn, adam, bfloat16, best weights": COMMON.model_copy(
        update={
            "model": DeepCnn(blocks=[4, 8], convolutions_per_block=1, dense_units=16, dropout=0.3),
            "batch_size": 8,
            "optimizer": Adam(),
            "precision": "mixed_bfloat16",
            "early_stopping": Patience(patience=3, monitor="train_loss"),
        }
    ),
    "mlp, dropout, validation": COMMON.model_copy(
        update={
            "model": Mlp(hidden_units=[64, 32], dropout=0.2),
            "optimizer": Adam(),
            "preprocessing": Preprocessing(scale="standardize"),
            "evaluate_on": "validation",
            "train_fraction": 0.9,
        }
    ),
    "shallow_cnn": COMMON.model_copy(
        update={"model": ShallowCnn(filters=4, dense_units=32), "epochs": 2}
    ),
}


@pytest.fixture(scope="module")
def dataset_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give 4,001 training images: the last batch of an epoch is a single one."""
    return small_mnist(tmp_path_factory.mktemp("digits"), train=4001, test=500)


class Undisturbed:
    """Trains a job of `SPECS` to its end, once however often it is asked for."""

    def __init__(self, stable: Stable, dataset_dir: Path) -> None:
        self._stable = stable
        self._dataset_dir = dataset_dir
        self._done: dict[str, Trainer] = {}

    def __call__(self, name: str) -> Trainer:
        """Return the trainer that did it."""
        if name not in self._done:
            trainer = self._stable.take()
            trainer.run(SPECS[name], self._dataset_dir)
            trainer.finish()
            self._done[name] = trainer
        return self._done[name]


@pytest.fixture(scope="module")
def undisturbed(stable: Stable, dataset_dir: Path) -> Undisturbed:
    """Give the runs that nothing disturbs."""
    return Undisturbed(stable, dataset_dir)


def first(trainer: Trainer, kind: type[E], which: Callable[[E], bool]) -> E:
    """Wait for the first event of a kind that fits."""
    trainer.wait_for(Started)
    return wait_until(
        lambda: next((event for event in trainer.all(kind) if which(event)), None), 120
    )


@pytest.mark.parametrize("name", SPECS)
def test_stopped_and_killed_a_job_ends_as_if_undisturbed(
    name: str, stable: Stable, dataset_dir: Path, undisturbed: Undisturbed
) -> None:
    spec = SPECS[name]
    one = stable.take()
    work_dir = one.run(spec, dataset_dir)
    one.wait_for(Progress)
    one.send(Stop())  # in the middle of an epoch
    assert one.wait() == 3
    assert not list(work_dir.rglob("*.partial"))

    two = resume(stable, spec, dataset_dir, checkpoints_of(one))
    first(two, Epoch, lambda event: event.epoch == spec.epochs - 1)
    first(two, Progress, lambda event: event.epoch == spec.epochs)
    two.kill()  # in the middle of an epoch, past the checkpoint at its start

    three = resume(stable, spec, dataset_dir, checkpoints_of(two) or checkpoints_of(one))
    three.finish()

    (stopped,), started = one.all(Stopped), two.all(Started)[0]
    assert (started.epoch, started.step) == (stopped.epoch, stopped.step)
    assert (stopped.epoch, stopped.step) > (1, 0)
    assert three.all(Started)[0].resumed_from is not None
    assert figures(one, two, three) == figures(undisturbed(name))
    assert three.all(Finished) == undisturbed(name).all(Finished)


def test_a_long_epoch_is_saved_each_checkpoint_seconds(stable: Stable, dataset_dir: Path) -> None:
    # Millions of weights, image by image: an epoch of many seconds on any machine.
    spec = COMMON.model_copy(update={"model": ShallowCnn(), "batch_size": 1})
    one = stable.take()
    one.run(spec, dataset_dir)
    saved = one.wait_for(Checkpoint, count=2)
    one.kill()
    assert saved.epoch == 1
    assert one.all(Checkpoint)[0].step < saved.step

    two = resume(stable, spec, dataset_dir, checkpoints_of(one))
    started = two.wait_for(Started)
    two.kill()
    newest = one.all(Checkpoint)[-1]
    assert (started.epoch, started.step) == (newest.epoch, newest.step)
    assert started.resumed_from == newest.path.name


def test_an_epoch_that_was_resumed_is_saved_on(stable: Stable, dataset_dir: Path) -> None:
    spec = COMMON.model_copy(update={"model": ShallowCnn(), "batch_size": 1})
    one = stable.take()
    one.run(spec, dataset_dir)
    first_saved = one.wait_for(Checkpoint)
    one.kill()

    two = resume(stable, spec, dataset_dir, checkpoints_of(one))
    saved = two.wait_for(Checkpoint)
    assert (saved.epoch, saved.step > first_saved.step) == (1, True)
    two.send(Stop())
    assert two.wait() == 3
    (stopped,) = two.all(Stopped)
    assert (stopped.epoch, stopped.step) >= (saved.epoch, saved.step)

    three = resume(stable, spec, dataset_dir, checkpoints_of(two))
    started = three.wait_for(Started)
    three.kill()
    assert (started.epoch, started.step) == (stopped.epoch, stopped.step)


def test_a_job_killed_after_its_last_epoch_only_finishes(
    stable: Stable, dataset_dir: Path, undisturbed: Undisturbed
) -> None:
    name = "shallow_cnn"
    again = resume(stable, SPECS[name], dataset_dir, checkpoints_of(undisturbed(name))[:1])
    assert again.finish() == undisturbed(name).all(Finished)[0]
    assert again.all(Started)[0].epoch == SPECS[name].epochs + 1
    assert {event.phase for event in again.all(Progress)} == {"finish"}
    assert all(epoch.replayed for epoch in again.all(Epoch))
    assert figures(again) == figures(undisturbed(name))


def test_damaged_and_foreign_checkpoints_are_told_and_passed_over(
    stable: Stable, dataset_dir: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    name = "mlp, dropout, validation"
    newest, older = checkpoints_of(undisturbed(name))
    damaged, foreign = tmp_path / "damaged.npz", tmp_path / "foreign.npz"
    content = bytearray(newest.read_bytes())
    content[len(content) // 8] ^= 1  # within the first, the largest array of the model
    damaged.write_bytes(content)
    foreign.write_bytes(checkpoints_of(undisturbed("shallow_cnn"))[0].read_bytes())

    offered = [tmp_path / "missing.npz", damaged, foreign, older]
    run = resume(stable, SPECS[name], dataset_dir, offered)
    assert run.finish() == undisturbed(name).all(Finished)[0]
    (started,) = run.all(Started)
    assert started.resumed_from == older.name
    assert set(started.rejected_checkpoints) == {"missing.npz", "damaged.npz", "foreign.npz"}
    assert "spec" in started.rejected_checkpoints["foreign.npz"]
    assert "damaged.npz is of no use" in run.log.read_text()

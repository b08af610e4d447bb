"""A whole job in one process: how it goes on elsewhere, and what it ends with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from shared.protocol import Epoch as EpochEvent
from shared.protocol import Event, Finished, Progress, Run, Started, Stopped
from shared.spec import JobSpec
from shared.spec.job import Preprocessing
from shared.spec.models import Mlp
from shared.spec.optimizers import Sgd
from tests.small_data import small_mnist
from worker.training import precision, stopping
from worker.training.session import Session


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
def test_what_auto_became_at_first_holds_wherever_the_job_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = JobSpec(model=Mlp(hidden_units=[8]), precision="auto", epochs=3)
    events: list[Event] = []

    def run(device: str) -> Session:
        monkeypatch.setattr(precision, "resolve", lambda wanted: device)
        stop = threading.Event()

        def send(event: Event) -> None:
            events.append(event)
            if device == "mixed_bfloat16" and isinstance(event, EpochEvent):
                stop.set()

        return session(tmp_path, tmp_path / "one", spec, send, stop)

    assert run("mixed_bfloat16").run()
    assert not run("float32").run()
    first, second = [event for event in events if isinstance(event, Started)]
    assert (first.precision, second.precision) == ("mixed_bfloat16", "mixed_bfloat16")
    assert (second.epoch, second.rejected_checkpoints) == (2, {})
    assert isinstance(events[-1], Finished)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
@pytest.mark.parametrize("evaluate_on", ["test", "validation"])
@pytest.mark.parametrize("phase", ["train", "finish"])
def test_a_job_that_is_stopped_ends_as_if_it_never_was(
    tmp_path: Path, evaluate_on: Literal["test", "validation"], phase: str
) -> None:
    spec = JobSpec(model=Mlp(hidden_units=[8]), epochs=2, batch_size=10, evaluate_on=evaluate_on)

    def run(work_dir: Path, *, stopped: bool) -> Event:
        events: list[Event] = []
        stop = threading.Event()

        def send(event: Event) -> None:
            events.append(event)
            if stopped and isinstance(event, Progress) and event.phase == phase:
                stop.set()

        assert session(tmp_path, work_dir, spec, send, stop).run() is stopped
        return events[-1]

    where = run(tmp_path / "one", stopped=True)
    assert isinstance(where, Stopped)
    if phase == "train":  # in the middle of an epoch
        assert (where.epoch, 0 < where.step < 16) == (1, True)
    else:
        assert (where.epoch, where.step) == (3, 0)
    assert run(tmp_path / "one", stopped=False) == run(tmp_path / "other", stopped=False)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
@pytest.mark.parametrize("kept", [1, 3])
def test_the_weights_that_a_job_ends_with_are_those_that_are_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr(stopping, "keeps_best", lambda _: True)
    monkeypatch.setattr(stopping, "epoch_to_keep", lambda _, history: min(kept, len(history)))
    spec = JobSpec(model=Mlp(hidden_units=[8]), epochs=3)
    events: list[Event] = []
    assert not session(tmp_path, tmp_path / "one", spec, events.append).run()
    epochs = [event for event in events if isinstance(event, EpochEvent)]
    assert len({epoch.eval_loss for epoch in epochs}) == 3
    finished = events[-1]
    assert isinstance(finished, Finished)
    expected = epochs[kept - 1]
    assert finished.weights_epoch == kept
    assert (finished.test_accuracy, finished.test_loss) == (
        expected.eval_accuracy,
        expected.eval_loss,
    )


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
def test_a_job_that_ends_at_chance_with_a_finite_loss_says_that_it_learned_nothing(
    tmp_path: Path,
) -> None:
    events: list[Event] = []
    good = JobSpec(model=Mlp(hidden_units=[8]), epochs=2)
    spec = JobSpec(
        preprocessing=Preprocessing(scale="raw"),
        model=Mlp(hidden_units=[8]),
        optimizer=Sgd(),
        learning_rate=10,
        epochs=2,
    )
    assert not session(tmp_path, tmp_path / "good", good, events.append).run()
    assert not session(tmp_path, tmp_path / "dead", spec, events.append).run()
    first, second = [event for event in events if isinstance(event, Finished)]
    assert first.detail == "All 2 epochs are done."
    assert second.detail.startswith(
        "All 2 epochs are done. It has learned nothing: every test image is '"
    )
    assert second.detail.endswith("for example to 1, or scale the pixels to 0 to 1.")


def session(
    tmp_path: Path,
    work_dir: Path,
    spec: JobSpec,
    send: Callable[[Event], None],
    stop: threading.Event | None = None,
) -> Session:
    """Make a session on a few digits that goes on from what `work_dir` holds."""
    folder = small_mnist(tmp_path / "digits", train=200, test=50)
    work_dir.mkdir(exist_ok=True)
    checkpoints = sorted((work_dir / "checkpoints").glob("*.npz"), reverse=True)
    run = Run(spec=spec, dataset_dir=folder, work_dir=work_dir, checkpoints=checkpoints)
    return Session(run, send, stop or threading.Event())

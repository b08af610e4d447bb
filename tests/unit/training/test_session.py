"""A job that goes on: on another kind of device, and when it was stopped at its very end."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from shared.protocol import Epoch as EpochEvent
from shared.protocol import Event, Finished, Progress, Run, Started, Stopped
from shared.spec import JobSpec
from shared.spec.models import Mlp
from tests.small_data import small_mnist
from worker.training import precision
from worker.training.session import Session


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
def test_what_auto_became_at_first_holds_wherever_the_job_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_mnist(tmp_path / "digits", train=200, test=50)
    spec = JobSpec(model=Mlp(hidden_units=[8]), precision="auto", epochs=3)
    events: list[Event] = []

    def run(device: str) -> Session:
        monkeypatch.setattr(precision, "resolve", lambda wanted: device)
        stop = threading.Event()

        def send(event: Event) -> None:
            events.append(event)
            if device == "mixed_bfloat16" and isinstance(event, EpochEvent):
                stop.set()

        checkpoints = sorted((tmp_path / "checkpoints").glob("*.npz"), reverse=True)
        assignment = Run(spec=spec, dataset_dir=folder, work_dir=tmp_path, checkpoints=checkpoints)
        return Session(assignment, send, stop)

    assert run("mixed_bfloat16").run()
    assert not run("float32").run()
    first, second = [event for event in events if isinstance(event, Started)]
    assert (first.precision, second.precision) == ("mixed_bfloat16", "mixed_bfloat16")
    assert (second.epoch, second.rejected_checkpoints) == (2, {})
    assert isinstance(events[-1], Finished)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
def test_a_job_that_is_stopped_while_its_test_set_is_scored_ends_as_if_it_never_was(
    tmp_path: Path,
) -> None:
    folder = small_mnist(tmp_path / "digits", train=200, test=50)
    spec = JobSpec(model=Mlp(hidden_units=[8]), epochs=2)

    def run(work_dir: Path, *, stopped: bool) -> Event:
        events: list[Event] = []
        stop = threading.Event()

        def send(event: Event) -> None:
            events.append(event)
            if stopped and isinstance(event, Progress) and event.phase == "finish":
                stop.set()

        work_dir.mkdir(exist_ok=True)
        checkpoints = sorted((work_dir / "checkpoints").glob("*.npz"), reverse=True)
        assignment = Run(spec=spec, dataset_dir=folder, work_dir=work_dir, checkpoints=checkpoints)
        assert Session(assignment, send, stop).run() is stopped
        return events[-1]

    assert run(tmp_path / "one", stopped=True) == Stopped(epoch=3, step=0)
    assert run(tmp_path / "one", stopped=False) == run(tmp_path / "other", stopped=False)

"""A pre-flight of small models on the CPU, and its forecasts."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from shared.protocol import Event, Measure, Measuring, Probe
from shared.spec import JobSpec, validate
from worker.training import memory, preflight, runtime
from worker.training.data import Dataset
from worker.training.preflight import _Forecast, measure

MEBIBYTE = 1 << 20


class Room:
    """Memory with a peak that is always the same."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.resets = 0

    def reset(self) -> None:
        """Count."""
        self.resets += 1

    def peak(self) -> int:
        """Return the same, always."""
        return 300 * MEBIBYTE


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_TIMED_SECONDS", 0.01)


def ask(folder: Path, tmp_path: Path, **spec: Any) -> tuple[Any, list[Event]]:
    events: list[Event] = []
    body = {"model": {"kind": "mlp", "hidden_units": [8]}, "batch_size": 40, **spec}
    assignment = Measure(spec=validate(JobSpec, body), dataset_dir=folder, work_dir=tmp_path)
    return measure(assignment, events.append), events


def test_it_tells_what_training_takes(dataset_dir: Path, tmp_path: Path) -> None:
    found, events = ask(dataset_dir, tmp_path)
    assert (found.train_images, found.eval_images, found.steps_per_epoch) == (500, 200, 13)
    assert (found.device, found.precision, found.parameters) == ("CPU", "float32", 6370)
    assert [probe.batch_size for probe in found.probes] == [10, 40, 160]
    own = found.probes[1]
    assert own.step_seconds == found.step_seconds
    assert own.images_per_second == pytest.approx(40 / own.step_seconds)
    assert found.epoch_seconds > 13 * found.step_seconds
    assert 0 < found.memory_bytes < found.memory_limit_bytes
    assert found.memory_bytes >= own.memory_bytes
    # A model of a few weights: all the images fit at once.
    assert (found.fits, found.largest_batch, found.largest_batch_by) == (True, 500, "data")
    assert found.diverged_at is None
    shares = [event.share for event in events if isinstance(event, Measuring)]
    assert shares == sorted(shares)
    assert len(shares) == 4


def test_nothing_is_tried_that_is_not_expected_to_fit(
    dataset_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "of_device", lambda: Room(limit=1000))
    found, _ = ask(dataset_dir, tmp_path)
    assert (found.fits, found.probes, found.largest_batch) == (False, [], 0)
    assert (found.epoch_seconds, found.memory_bytes, found.parameters) == (None, None, None)


def test_a_larger_batch_is_tried_only_with_ample_room(
    dataset_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(limit=500 * MEBIBYTE)
    monkeypatch.setattr(memory, "of_device", lambda: room)
    found, _ = ask(dataset_dir, tmp_path)
    assert [probe.batch_size for probe in found.probes] == [10, 40]
    assert room.resets == 2


def test_a_loss_that_is_not_finite_is_told(dataset_dir: Path, tmp_path: Path) -> None:
    found, _ = ask(
        dataset_dir,
        tmp_path,
        learning_rate=10.0,
        preprocessing={"scale": "raw"},
        # Wide enough for every seed to break in the first three steps, which are never left out;
        # how many follow is a matter of time.
        model={"kind": "mlp", "hidden_units": [256, 256, 256, 256]},
    )
    assert found.diverged_at is not None
    assert 1 <= found.diverged_at <= 3
    assert found.epoch_seconds > 0


def test_a_gpu_that_runs_out_of_memory_is_asked_for_less(
    dataset_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []
    trial = preflight._Preflight._trial

    def too_much(self: Any, batch_size: int, *arguments: Any, **options: Any) -> Any:
        tried.append(batch_size)
        if batch_size > 300:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
        return trial(self, batch_size, *arguments, **options)

    monkeypatch.setattr(preflight._Preflight, "_trial", too_much)
    monkeypatch.setattr(runtime, "has_gpu", lambda: True)
    found, _ = ask(dataset_dir, tmp_path)
    assert tried == [10, 40, 160, 500, 400, 320, 256]
    assert (found.largest_batch, found.largest_batch_by) == (256, "memory")


def _probe(batch_size: int, memory_bytes: int) -> Probe:
    return Probe(
        batch_size=batch_size, step_seconds=1, images_per_second=1, memory_bytes=memory_bytes
    )


def test_two_batches_foretell_the_others(dataset: Dataset) -> None:
    forecast = _Forecast(validate(JobSpec, {}), dataset)
    forecast.take(_probe(100, 700 * MEBIBYTE))
    forecast.take(_probe(25, 400 * MEBIBYTE))
    assert forecast.bytes(200) == 1100 * MEBIBYTE
    assert forecast.batch_for(1100 * MEBIBYTE, most=60_000) == 200
    assert forecast.batch_for(1119 * MEBIBYTE, most=60_000) == 200  # in eights
    assert forecast.batch_for(1100 * MEBIBYTE, most=150) == 150
    assert forecast.batch_for(320 * MEBIBYTE, most=150) == 5
    assert forecast.batch_for(200 * MEBIBYTE, most=150) == 0


def test_an_image_takes_at_least_what_the_layers_put_out(dataset: Dataset) -> None:
    """Two batches of the same peak do not mean that images take nothing."""
    forecast = _Forecast(validate(JobSpec, {}), dataset)
    forecast.take(_probe(25, 400 * MEBIBYTE))
    forecast.take(_probe(100, 400 * MEBIBYTE))
    # The tutorial's network: 26 x 26 x 28, twice with Flatten, then 128 and 10 values.
    each = 4 * (2 * 26 * 26 * 28 + 128 + 10)
    assert forecast.bytes(1100) == 400 * MEBIBYTE + 1000 * each


def test_the_machine_tells_the_process_s_memory() -> None:
    room = memory.of_device()
    room.reset()
    before = room.peak()
    # Of the system itself: what malloc is given back, it may keep.
    with mmap.mmap(-1, 64 * MEBIBYTE) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        with_block = room.peak()
        assert with_block - before > 48 * MEBIBYTE
    room.reset()
    assert room.peak() < with_block - 48 * MEBIBYTE
    assert room.peak() < room.limit

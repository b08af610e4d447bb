"""From measurements to points, and the thread that makes them."""

from __future__ import annotations

import os
import threading

import pytest

from shared.gauges import Point
from tests.fake_nvml import FakeNvml
from tests.waiting import wait_until
from worker.gauges import Averager, Gauges


def test_each_measurement_is_a_point_until_longer_spans_are_wanted() -> None:
    averager = Averager(attempt=2, began=100.0)
    averager.take({}, 103.0)

    assert averager.take({"cpu_percent": 80.0}, 105.0) == Point(2, 5, 2.0, cpu_percent=80.0)
    averager.span_seconds = 4.0
    assert averager.take({"cpu_percent": 10.0}, 107.0) is None
    assert averager.take({"cpu_percent": 30.0}, 109.0) == Point(2, 9, 4.0, cpu_percent=20.0)


def test_what_is_left_at_the_end_is_a_shorter_point() -> None:
    averager = Averager(attempt=1, began=0.0, span_seconds=8.0)
    for now in (0.0, 2.0, 4.0):
        averager.take({"memory_bytes": 5}, now)

    assert averager.rest() == Point(1, 4, 4.0, memory_bytes=5)
    assert averager.rest() is None


def test_nothing_measured_is_no_point() -> None:
    averager = Averager(attempt=1, began=0.0)
    averager.take({}, 1.0)
    assert averager.take({}, 3.0) is None


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the thread end its work, however long the machine lets it wait."""
    monkeypatch.setattr("worker.gauges._END_SECONDS", 60.0)


class Watched:
    """Gauges of this process, and what they have said."""

    def __init__(self, *gpus: int) -> None:
        self.shown: list[Point] = []
        self.written: list[Point] = []
        self.enough = threading.Event()
        averager = Averager(attempt=1, began=0.0, span_seconds=0.0)
        self.gauges = Gauges(
            os.getpid(),
            gpus,
            averager,
            write=self.written.extend,
            show=self.show,
            sample_seconds=0.01,
        )

    def show(self, point: Point) -> None:
        """Take one point."""
        self.shown.append(point)
        if len(self.shown) >= 3:
            self.enough.set()


def test_points_are_shown_at_once_and_all_of_them_written_at_the_end() -> None:
    watched = Watched()
    with watched.gauges:
        assert watched.enough.wait(20)

    assert watched.written == watched.shown
    assert all(point.memory_bytes and point.gpu_percent is None for point in watched.written)


def test_a_gpu_is_measured_beside_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml(["NVIDIA A"])
    monkeypatch.setattr("worker.gpus.pynvml", nvml)
    watched = Watched(0)
    with watched.gauges:
        assert watched.enough.wait(20)

    assert all(point.memory_bytes and point.gpu_percent == 87.0 for point in watched.written)
    assert nvml.depth == 0


def test_the_gpus_of_a_slot_are_measured_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.gpus.pynvml", FakeNvml(["NVIDIA A", "NVIDIA A"]))
    watched = Watched(0, 1)
    with watched.gauges:
        assert watched.enough.wait(20)

    point = watched.written[-1]
    assert (point.gpu_percent, point.gpu_memory_bytes) == (87.0, 2 * 3 * 2**30)
    assert (point.gpu_celsius, point.gpu_watts) == (61.0, 2 * 284.5)


def test_a_driver_that_vanishes_leaves_the_processors_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nvml = FakeNvml(["NVIDIA A"])
    monkeypatch.setattr("worker.gpus.pynvml", nvml)
    watched = Watched(0)
    with watched.gauges:
        nvml.lost = True
        wait_until(lambda: any(point.gpu_percent is None for point in watched.shown))

    assert watched.written[-1].memory_bytes
    assert watched.written[-1].gpu_percent is None


def test_without_a_driver_the_processors_figures_are_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.gpus.pynvml", FakeNvml([], missing=True))
    watched = Watched(0)
    with watched.gauges:
        assert watched.enough.wait(20)

    assert watched.written[-1].memory_bytes


def test_an_error_while_measuring_is_told_and_goes_no_further(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: object) -> None:
        raise OSError("no table of processes")

    monkeypatch.setattr("worker.meter.ProcessMeter.read", broken)
    watched = Watched()
    with watched.gauges:
        pass

    assert watched.written == []
    assert "Nothing more is measured" in caplog.text

"""What the driver says of GPUs, and that its silence harms nothing."""

from __future__ import annotations

import pytest

from tests.fake_nvml import FakeNvml
from worker.gpus import Gpu, driver, find_gpus, free_memory_bytes, read_gpu


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml(["NVIDIA A", "NVIDIA B"])
    monkeypatch.setattr("worker.gpus.pynvml", fake)
    return fake


def test_gpus_are_found_by_index(nvml: FakeNvml) -> None:
    assert find_gpus() == [Gpu(0, "NVIDIA A", "GPU-0000"), Gpu(1, "NVIDIA B", "GPU-0001")]
    assert nvml.depth == 0


def test_a_machine_without_driver_has_no_gpus(nvml: FakeNvml) -> None:
    nvml.missing = True
    assert find_gpus() == []
    with driver() as present:
        assert not present


def test_the_real_library_is_asked_without_harm() -> None:
    assert isinstance(find_gpus(), list)


def test_a_lost_gpu_makes_no_list_and_no_figures(nvml: FakeNvml) -> None:
    nvml.lost = True
    assert find_gpus() == []
    assert read_gpu(1) == {}


def test_use_memory_temperature_and_power_are_read_in_our_units(nvml: FakeNvml) -> None:
    assert read_gpu(1) == {
        "gpu_percent": 87.0,
        "gpu_memory_bytes": 3 * 2**30,
        "gpu_celsius": 61.0,
        "gpu_watts": 284.5,
    }


def test_free_memory_is_told_if_the_driver_can(nvml: FakeNvml) -> None:
    assert free_memory_bytes(1) == 77 * 2**30
    nvml.unsupported = {"nvmlDeviceGetMemoryInfo"}
    assert free_memory_bytes(1) is None
    nvml.missing = True
    assert free_memory_bytes(1) is None
    assert nvml.depth == 0


def test_what_a_gpu_does_not_know_is_left_out(nvml: FakeNvml) -> None:
    nvml.unsupported = {"nvmlDeviceGetPowerUsage", "nvmlDeviceGetUtilizationRates"}
    assert set(read_gpu(0)) == {"gpu_memory_bytes", "gpu_celsius"}


def test_a_figure_that_cannot_be_is_left_out(nvml: FakeNvml) -> None:
    nvml.memory_bytes = 2**64 - 1  # NVML's word for "not available"
    assert "gpu_memory_bytes" not in read_gpu(0)

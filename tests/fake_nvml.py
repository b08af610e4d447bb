"""NVIDIA's driver library for machines without a GPU: NVML's calls, with answers made up.

Stands in for `pynvml` as `worker.gpus` uses it; the errors are the real ones.
"""

# ruff: noqa: N802  the calls have the names of NVML

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

from pynvml import (
    NVML_ERROR_GPU_IS_LOST,
    NVML_ERROR_LIBRARY_NOT_FOUND,
    NVML_ERROR_NOT_SUPPORTED,
    NVMLError,
)


@dataclass
class FakeNvml:
    """A machine's GPUs.

    Attributes:
        names: models of the GPUs.
        missing: whether there is no driver.
        lost: whether every GPU has fallen off the bus.
        unsupported: calls that these GPUs do not know.
        memory_bytes: memory in use on each, of 80 GiB.
        depth: how often it was loaded and not unloaded again.
    """

    names: list[str]
    missing: bool = False
    lost: bool = False
    unsupported: set[str] = field(default_factory=set)
    memory_bytes: int = 3 * 2**30
    depth: int = 0

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0

    def nvmlInit(self) -> None:
        """Load the driver."""
        if self.missing:
            raise NVMLError(NVML_ERROR_LIBRARY_NOT_FOUND)
        self.depth += 1

    def nvmlShutdown(self) -> None:
        """Unload the driver."""
        self.depth -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        """Return the driver's version."""
        return "580.95.05"

    def nvmlDeviceGetCount(self) -> int:
        """Return the number of GPUs."""
        return len(self.names)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        """Return what the other calls know a GPU by."""
        self._check("nvmlDeviceGetHandleByIndex")
        return index

    def nvmlDeviceGetName(self, handle: int) -> str:
        """Return the model."""
        return self.names[handle]

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        """Return the number in the world."""
        return f"GPU-{handle:04}"

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:
        """Return the shares of time, in per cent."""
        self._check("nvmlDeviceGetUtilizationRates")
        return SimpleNamespace(gpu=87, memory=40)

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        """Return bytes in use, and free ones."""
        self._check("nvmlDeviceGetMemoryInfo")
        return SimpleNamespace(used=self.memory_bytes, free=80 * 2**30 - self.memory_bytes)

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        """Return degrees Celsius."""
        self._check("nvmlDeviceGetTemperature")
        return 61

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        """Return milliwatts."""
        self._check("nvmlDeviceGetPowerUsage")
        return 284_500

    def _check(self, call: str) -> None:
        if self.lost:
            raise NVMLError(NVML_ERROR_GPU_IS_LOST)
        if call in self.unsupported:
            raise NVMLError(NVML_ERROR_NOT_SUPPORTED)

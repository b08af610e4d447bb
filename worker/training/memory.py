"""How much memory this process holds and may hold, on the machine or on its GPU.

Linux tells all of it; elsewhere the peak is the whole process's life long.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Protocol

import tensorflow as tf

from worker.devices import usable_gpus
from worker.gpus import free_memory_bytes
from worker.machine_memory import free_bytes
from worker.training.runtime import has_gpu

_STATUS = Path("/proc/self/status")
_CLEAR_REFERENCES = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
_KIB = 1024
# What others on the machine may need meanwhile, and what the forecast may be wrong by. A GPU's
# memory is counted by TensorFlow itself, and what was foretold is tried out there.
_SHARE_OF_A_MACHINE = 0.8
_SHARE_OF_A_GPU = 0.95
_GPU = "GPU:0"  # as TensorFlow calls the first that it sees


class Memory(Protocol):
    """The memory of the device that trains."""

    limit: int

    def reset(self) -> None:
        """Forget the peak so far."""

    def peak(self) -> int:
        """Return the most bytes held since the last reset."""


class MachineMemory:
    """The process's own memory, resident.

    Attributes:
        limit: bytes that the process may hold in all, a reserve left for others.
    """

    def __init__(self) -> None:
        self.limit = int((free_bytes() + _resident_bytes()) * _SHARE_OF_A_MACHINE)

    def reset(self) -> None:
        """Forget the peak so far, where the system can."""
        try:
            _CLEAR_REFERENCES.write_text(_RESET_PEAK)
        except OSError:  # not Linux, or not allowed: the peak stays, and can only be too high
            return

    def peak(self) -> int:
        """Return the most bytes held since the last reset."""
        return _status_bytes("VmHWM") or _life_peak_bytes()


class GpuMemory:
    """What TensorFlow has taken of the first GPU: of several, the images lie there too.

    Attributes:
        limit: bytes that the process may hold in all.
    """

    def __init__(self) -> None:
        held = int(tf.config.experimental.get_memory_info(_GPU)["current"])
        free = sum(free_memory_bytes(gpu.index) or 0 for gpu in usable_gpus()[:1])
        self.limit = int((free + held) * _SHARE_OF_A_GPU)

    def reset(self) -> None:
        """Forget the peak so far."""
        tf.config.experimental.reset_memory_stats(_GPU)

    def peak(self) -> int:
        """Return the most bytes held since the last reset."""
        return int(tf.config.experimental.get_memory_info(_GPU)["peak"])


def of_device() -> Memory:
    """Return the memory of the device that trains."""
    return GpuMemory() if has_gpu() else MachineMemory()


def _resident_bytes() -> int:
    return _status_bytes("VmRSS") or _life_peak_bytes()


def _status_bytes(name: str) -> int | None:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:  # not Linux
        return None
    return next((int(line.split()[1]) * _KIB for line in lines if line.startswith(name)), None)


def _life_peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * _KIB

"""NVIDIA's driver, asked through NVML: which GPUs there are, and how hard one of them works.

Touches no device memory. Nothing here raises because a driver is missing, old or broken: training
does not depend on what it says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pynvml

from shared.gauges import plausible

_MILLIWATTS = 1000.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gpu:
    """A GPU of this machine.

    Attributes:
        index: its place in the order of the PCI bus, as `nvidia-smi` counts.
        name: its model.
        uuid: its number in the world, `GPU-...`.
    """

    index: int
    name: str
    uuid: str = ""


@contextmanager
def driver() -> Iterator[bool]:
    """Load the driver's library while the block lasts, and tell whether there is one."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        log.debug("No NVIDIA driver: %s", error)
        yield False
        return
    try:
        yield True
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def find_gpus() -> list[Gpu]:
    """Return the GPUs of this machine, by index; none if the driver cannot tell."""
    with driver() as present:
        if not present:
            return []
        try:
            return [_describe(index) for index in range(pynvml.nvmlDeviceGetCount())]
        except pynvml.NVMLError as error:
            log.warning("The driver cannot list its GPUs: %s", error)
            return []


def driver_version() -> str | None:
    """Return the driver's version; None without a driver."""
    with driver() as present:
        if not present:
            return None
        try:
            return str(pynvml.nvmlSystemGetDriverVersion())
        except pynvml.NVMLError:
            return None


def free_memory_bytes(index: int) -> int | None:
    """Return the memory of a GPU that nobody has taken; None if the driver cannot tell.

    Args:
        index: see `Gpu`.
    """
    with driver() as present:
        if not present:
            return None
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            return int(pynvml.nvmlDeviceGetMemoryInfo(handle).free)
        except pynvml.NVMLError:
            return None


def read_gpu(index: int) -> dict[str, float]:
    """Measure a GPU once, within `driver()`.

    Args:
        index: see `Gpu`.

    Returns:
        Those of `gpu_percent`, `gpu_memory_bytes`, `gpu_celsius` and `gpu_watts` that the driver
        knows.
    """
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError:
        return {}
    answers = {name: _answer(ask, handle) for name, ask in _QUESTIONS.items()}
    return {
        name: value for name, value in answers.items() if value is not None and plausible(value)
    }


def read_gpus(indices: Sequence[int]) -> dict[str, float]:
    """Measure some GPUs once, within `driver()`, as if they were one.

    Args:
        indices: see `Gpu`.

    Returns:
        What `read_gpu` does: mean use, memory and power altogether, and the highest temperature.
        A figure that one of them does not give is left out, for the others' would mislead.
    """
    each = [read_gpu(index) for index in indices]
    return {
        name: together([figures[name] for figures in each])
        for name, together in _TOGETHER.items()
        if each and all(name in figures for figures in each)
    }


def _describe(index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    return Gpu(index, pynvml.nvmlDeviceGetName(handle), pynvml.nvmlDeviceGetUUID(handle))


def _answer(ask: Callable[[Any], float], handle: Any) -> float | None:
    try:
        return ask(handle)
    except pynvml.NVMLError:  # not every GPU knows everything, and a lost one knows nothing
        return None


def _celsius(handle: Any) -> float:
    return float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))


_TOGETHER: dict[str, Callable[[Sequence[float]], float]] = {
    "gpu_percent": fmean,
    "gpu_memory_bytes": sum,
    "gpu_celsius": max,
    "gpu_watts": sum,
}

_QUESTIONS: dict[str, Callable[[Any], float]] = {
    "gpu_percent": lambda handle: float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu),
    "gpu_memory_bytes": lambda handle: int(pynvml.nvmlDeviceGetMemoryInfo(handle).used),
    "gpu_celsius": _celsius,
    "gpu_watts": lambda handle: pynvml.nvmlDeviceGetPowerUsage(handle) / _MILLIWATTS,
}

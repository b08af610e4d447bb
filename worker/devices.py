"""What a slot's trainers run on, and how they are confined to it.

Importing TensorFlow to look for GPUs would take device memory, so the driver is asked.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import ConfigurationError
from worker.gpus import Gpu, find_gpus


@dataclass(frozen=True)
class Device:
    """Where a slot's trainers run.

    Attributes:
        name: what pages show, such as `CPU` or `GPU 0: NVIDIA H100`.
        environment: variables that confine a process to it; set before TensorFlow is imported.
        gpu_indices: indices of its GPUs, as the driver counts.
    """

    name: str
    environment: dict[str, str]
    gpu_indices: tuple[int, ...] = ()

    @property
    def gpus(self) -> int:
        """GPUs that it has."""
        return len(self.gpu_indices)


def devices(
    slots: int,
    *,
    slots_per_gpu: int = 1,
    gpus_per_slot: int = 1,
    gpus: Sequence[Gpu] | None = None,
    cores: int | None = None,
) -> list[Device]:
    """Return one device a slot.

    Args:
        slots: slots wanted; 0: as many as the GPUs give, or a single one for the CPU.
        slots_per_gpu: slots that share a GPU, when `slots` is 0.
        gpus_per_slot: GPUs of one slot; what is left over makes a smaller last one.
        gpus: the GPUs to use; those of `usable_gpus` unless given.
        cores: processor cores to share; counted unless given.

    Raises:
        ConfigurationError: a GPU cannot be shared and be one of several at the same time.
    """
    if slots_per_gpu > 1 and gpus_per_slot > 1:
        raise ConfigurationError(
            "Either slots share a GPU or a slot has several: one of TRAINYARD_SLOTS_PER_GPU and "
            f"TRAINYARD_GPUS_PER_SLOT must be 1. Received: {slots_per_gpu} and {gpus_per_slot}."
        )
    found = usable_gpus() if gpus is None else gpus
    if found:
        firsts = range(0, len(found), gpus_per_slot)
        groups = [found[first : first + gpus_per_slot] for first in firsts]
        count = slots or len(groups) * slots_per_gpu
        return [_gpu_slot(index, count, groups) for index in range(count)]
    count = slots or 1
    threads = max(1, (cores or os.cpu_count() or 1) // count)
    return [_cpu(index, count, threads) for index in range(count)]


def usable_gpus() -> list[Gpu]:
    """Return this machine's GPUs, but only those that the worker's own environment lets it see."""
    return visible(find_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES"))


def visible(gpus: Sequence[Gpu], wanted: str | None) -> list[Gpu]:
    """Return the GPUs that `CUDA_VISIBLE_DEVICES` names, in its order.

    As CUDA does, it takes an index or the beginning of a UUID, and reads no further than the
    first name that fits no GPU.

    Args:
        gpus: all GPUs.
        wanted: the variable's value; None: not set, so that all are visible.
    """
    if wanted is None:
        return list(gpus)
    chosen: list[Gpu] = []
    for name in (part.strip() for part in wanted.split(",")):
        fits = [gpu for gpu in gpus if name and (name == str(gpu.index) or _is_uuid(name, gpu))]
        if len(fits) != 1:
            break
        chosen += fits
    return chosen


def _is_uuid(name: str, gpu: Gpu) -> bool:
    return name.startswith("GPU-") and gpu.uuid.startswith(name)


def _gpu_slot(index: int, count: int, groups: Sequence[Sequence[Gpu]]) -> Device:
    """Slot `index` of `count`; slots go round the groups of GPUs in turn."""
    group = groups[index % len(groups)]
    shares = len(range(index % len(groups), count, len(groups)))
    indices = tuple(gpu.index for gpu in group)
    environment = {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as the driver counts
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, indices)),
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # or the first trainer takes all of its memory
    }
    share = f", share {index // len(groups) + 1} of {shares}" if shares > 1 else ""
    return Device(f"{_named(group)}{share}", environment, indices)


def _named(group: Sequence[Gpu]) -> str:
    kind = "GPU" if len(group) == 1 else "GPUs"
    models = dict.fromkeys(gpu.name for gpu in group)
    return f"{kind} {', '.join(str(gpu.index) for gpu in group)}: {', '.join(models)}"


def _cpu(index: int, count: int, threads: int) -> Device:
    environment = {"CUDA_VISIBLE_DEVICES": "-1"}
    if count > 1:  # several trainers on one processor must not fight over its cores
        environment |= {"TF_NUM_INTRAOP_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    return Device("CPU" if count == 1 else f"CPU, share {index + 1} of {count}", environment)

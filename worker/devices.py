"""Which devices this machine has, and how a trainer is confined to one of them.

Asks the driver's own tool: importing TensorFlow for it would take device memory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass

_QUERY_TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class Device:
    """Where a slot's trainers run.

    Attributes:
        name: what pages show, such as `CPU` or `GPU 0: NVIDIA H100`.
        environment: variables that confine a process to it; set before TensorFlow is imported.
        gpus: GPUs that it has, 0 or 1.
    """

    name: str
    environment: dict[str, str]
    gpus: int


def find_gpus() -> list[str]:
    """Return the names of the NVIDIA GPUs that this process may use, by index."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, "--query-gpu=name", "--format=csv,noheader"]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=_QUERY_TIMEOUT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in result.stdout.splitlines() if line.strip()]


def devices(slots: int, gpus: list[str] | None = None, cores: int | None = None) -> list[Device]:
    """Return one device a slot.

    Args:
        slots: slots wanted; 0: one a GPU, or a single one for the CPU.
        gpus: names of the GPUs; asked of the driver unless given.
        cores: processor cores to share; counted unless given.
    """
    names = find_gpus() if gpus is None else gpus
    if names:
        return [_gpu(index % len(names), names) for index in range(slots or len(names))]
    count = slots or 1
    threads = max(1, (cores or os.cpu_count() or 1) // count)
    return [_cpu(index, count, threads) for index in range(count)]


def _gpu(index: int, names: list[str]) -> Device:
    environment = {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": str(index),
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    return Device(f"GPU {index}: {names[index]}", environment, gpus=1)


def _cpu(index: int, count: int, threads: int) -> Device:
    environment = {"CUDA_VISIBLE_DEVICES": "-1"}
    if count > 1:  # several trainers on one processor must not fight over its cores
        environment |= {"TF_NUM_INTRAOP_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    return Device("CPU" if count == 1 else f"CPU, share {index + 1} of {count}", environment, 0)

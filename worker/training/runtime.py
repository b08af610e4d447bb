"""How TensorFlow is brought up, and what it says of itself.

Owns the environment that must stand before the import, and keeps TensorFlow's greetings out of
the job's log.
"""

from __future__ import annotations

import functools
import gc
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.protocol import Machine
from shared.version import code_version
from worker import processor
from worker.gpus import driver_version
from worker.training.failures import JobFailure

_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "2",  # errors and warnings
    "KERAS_BACKEND": "tensorflow",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # others may share the device
}


def import_tensorflow() -> None:
    """Import TensorFlow and Keras and find the devices, without touching a device's memory."""
    os.environ.update(_ENVIRONMENT)
    with _held_back_errors(), _no_garbage(), _hidden("pandas"):
        import keras  # noqa: F401 - for whoever needs it next
        import tensorflow as tf

        tf.config.list_physical_devices("GPU")


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Do not look for garbage among what the block makes: it stays for good.

    Hundreds of thousands of objects, which would be looked through again and again: for half a
    second while they come, and for a quarter whenever Keras collects garbage, before each model.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
    gc.freeze()


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Let the block find that `module` is not installed, unless somebody has imported it.

    Keras and TensorFlow import pandas, a third of a second, only to take its tables for data.
    """
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # Python's own way to say so
    try:
        yield
    finally:
        del sys.modules[module]


@contextmanager
def _held_back_errors() -> Iterator[None]:
    """Show what the block writes to standard error only if it fails.

    TensorFlow 2.21 greets with several lines, some of them alarming on a machine without GPU,
    before any log level counts.
    """
    sys.stderr.flush()
    standard_error = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except BaseException:
            held_back.seek(0)
            os.write(standard_error, held_back.read())
            raise
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Lead this process's temporary files into a folder that is gone after the block.

    TensorFlow leaves the removal of its own, such as those of autograph, to the end of the
    interpreter, which a trainer that leaves by `os._exit` never reaches.

    Args:
        folder: made; what a killed process left in it goes first.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    before = tempfile.tempdir
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions that decide a run's numbers; those of CUDA where there is a GPU."""
    import keras
    import numpy as np
    import tensorflow as tf

    found = {
        "trainyard": code_version(),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }
    return found | (_gpu_versions() if has_gpu() else {})


def _gpu_versions() -> dict[str, str]:
    """Return what TensorFlow was built with, and the driver that it finds here."""
    import tensorflow as tf

    build = tf.sysconfig.get_build_info()
    found = {
        "cuda": build.get("cuda_version"),
        "cudnn": build.get("cudnn_version"),
        "driver": driver_version(),
    }
    return {name: str(value) for name, value in found.items() if value}


def machine(*, xla: bool) -> Machine:
    """Return what a run's numbers depend on beside spec and versions.

    Args:
        xla: whether XLA compiles part of the step.
    """
    import tensorflow as tf

    cores, threading = processor.cores(), tf.config.threading
    return Machine(
        processor=processor.model(),
        cores=cores,
        intra_op_threads=_threads(
            threading.get_intra_op_parallelism_threads(), "TF_NUM_INTRAOP_THREADS", cores
        ),
        inter_op_threads=_threads(
            threading.get_inter_op_parallelism_threads(), "TF_NUM_INTEROP_THREADS", cores
        ),
        xla=xla,
    )


def _threads(configured: int, variable: str, cores: int) -> int:
    """Return the number that holds: TensorFlow takes 0 and nonsense as "one a core"."""
    wanted = os.environ.get(variable, "")
    return configured or (int(wanted) if wanted.isdecimal() else 0) or cores


def has_gpu() -> bool:
    """Whether models train on GPUs here."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def training_devices(gpus: int) -> list[str]:
    """Return the names of the devices that a job trains on, such as `GPU:0`.

    Args:
        gpus: GPUs that the job asks for; 0: one if there is one.

    Raises:
        JobFailure: TensorFlow finds fewer.
    """
    import tensorflow as tf

    found = len(tf.config.list_physical_devices("GPU"))
    if gpus > found:
        raise JobFailure(
            "internal",
            evidence=f"The job needs {_gpus(gpus)}; TensorFlow finds {_gpus(found)} here.",
            suggestion="Check driver and CUDA on the worker, or ask for fewer (resources.gpus).",
        )
    return [f"GPU:{index}" for index in range(min(max(gpus, 1), found))] or ["CPU:0"]


def device(gpus: int) -> str:
    """Return the name of what trains, such as `2 GPUs: NVIDIA H100`; brings the devices up.

    Args:
        gpus: GPUs that the job asks for.
    """
    import tensorflow as tf

    used = tf.config.list_physical_devices("GPU")[: max(gpus, 1)]
    if not used:
        return "CPU"
    names = [_model_of(gpu) for gpu in used]
    kind = "GPU" if len(used) == 1 else f"{len(used)} GPUs"
    return f"{kind}: {', '.join(dict.fromkeys(names))}"


def _model_of(gpu: Any) -> str:
    import tensorflow as tf

    return str(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name))


def _gpus(count: int) -> str:
    return {0: "no GPU", 1: "1 GPU"}.get(count, f"{count} GPUs")

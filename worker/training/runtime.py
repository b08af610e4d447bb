"""How TensorFlow is brought up, and what it says of itself.

Owns the environment that must stand before the import, and keeps TensorFlow's greetings out of
the job's log.
"""

from __future__ import annotations

import functools
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.protocol import Machine
from shared.version import code_version
from worker import processor
from worker.gpus import driver_version

_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "2",  # errors and warnings
    "KERAS_BACKEND": "tensorflow",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # others may share the device
}


def import_tensorflow() -> None:
    """Import TensorFlow and Keras and find the devices, without touching a device's memory."""
    os.environ.update(_ENVIRONMENT)
    with _held_back_errors():
        import tensorflow as tf

        tf.config.list_physical_devices("GPU")


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
    return found | (_gpu_versions() if tf.config.list_physical_devices("GPU") else {})


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


def machine() -> Machine:
    """Return what a run's numbers depend on beside spec and versions."""
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
    )


def _threads(configured: int, variable: str, cores: int) -> int:
    """Return the number that holds: TensorFlow takes 0 and nonsense as "one a core"."""
    wanted = os.environ.get(variable, "")
    return configured or (int(wanted) if wanted.isdecimal() else 0) or cores


def device() -> str:
    """Return the name of the device that trains; brings the device up."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "CPU"
    details = tf.config.experimental.get_device_details(gpus[0])
    return f"GPU: {details.get('device_name', gpus[0].name)}"

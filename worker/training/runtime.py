"""How TensorFlow is brought up, and what it says of itself.

Owns the environment that must stand before the import, and keeps TensorFlow's greetings out of
the job's log.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


def versions() -> dict[str, str]:
    """Return the versions that decide a run's numbers."""
    import keras
    import numpy as np
    import tensorflow as tf

    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }


def device() -> str:
    """Return the name of the device that trains; brings the device up."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "CPU"
    details = tf.config.experimental.get_device_details(gpus[0])
    return f"GPU: {details.get('device_name', gpus[0].name)}"

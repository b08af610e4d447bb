"""What the trainer does to its process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import tensorflow as tf

from worker.training import runtime
from worker.training.failures import JobFailure
from worker.training.runtime import temporary_files_in


def test_temporary_files_go_with_the_block_also_when_it_fails(tmp_path: Path) -> None:
    before = tempfile.gettempdir()
    folder = tmp_path / "work" / "tmp"

    def leave_a_file_and_fail() -> None:
        with temporary_files_in(folder), tempfile.NamedTemporaryFile(delete=False) as file:
            assert Path(file.name).parent == folder
            raise KeyError

    with pytest.raises(KeyError):
        leave_a_file_and_fail()
    assert not folder.exists()
    assert tempfile.gettempdir() == before


def test_what_a_killed_process_left_goes_first(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "left").touch()
    with temporary_files_in(tmp_path / "tmp"):
        assert not list((tmp_path / "tmp").iterdir())


def test_tensorflow_comes_without_pandas_which_whoever_needs_it_can_still_import() -> None:
    program = (
        "import gc, sys;"
        "from worker.training import runtime;"
        "runtime.import_tensorflow();"
        "assert 'pandas' not in sys.modules, 'it was imported';"
        "assert gc.isenabled() and gc.get_freeze_count() > 100_000, gc.get_freeze_count();"
        "import pandas;"
        "print(pandas.DataFrame({'label': [7]}).label.sum())"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"7\n"), done.stderr.decode()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the models of this machine's GPUs, to be filled."""
    models: list[str] = []

    def found(_: str) -> list[tf.config.PhysicalDevice]:
        return [tf.config.PhysicalDevice(model, "GPU") for model in models]

    monkeypatch.setattr(tf.config, "list_physical_devices", found)
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda gpu: {"device_name": gpu.name}
    )
    return models


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [(0, ["GPU:0"]), (1, ["GPU:0"]), (2, ["GPU:0", "GPU:1"]), (3, ["GPU:0", "GPU:1", "GPU:2"])],
)
def test_a_job_trains_on_the_gpus_it_asks_for_and_on_one_if_it_does_not_care(
    gpus: int, expected: list[str], machine: list[str]
) -> None:
    machine += ["NVIDIA H100"] * 3
    assert runtime.training_devices(gpus) == expected


def test_without_a_gpu_the_processor_trains(machine: list[str]) -> None:
    assert runtime.training_devices(0) == ["CPU:0"]
    assert runtime.device(0) == "CPU"


@pytest.mark.parametrize(
    ("there", "evidence"),
    [
        (1, "The job needs 2 GPUs; TensorFlow finds 1 GPU here."),
        (0, "The job needs 2 GPUs; TensorFlow finds no GPU here."),
    ],
)
def test_fewer_gpus_than_asked_for_are_a_failure_in_words(
    there: int, evidence: str, machine: list[str]
) -> None:
    machine += ["NVIDIA H100"] * there
    with pytest.raises(JobFailure) as raised:
        runtime.training_devices(2)
    assert raised.value.evidence == evidence


@pytest.mark.parametrize(
    ("gpus", "name"),
    [(0, "GPU: NVIDIA H100"), (2, "2 GPUs: NVIDIA H100"), (3, "3 GPUs: NVIDIA H100, NVIDIA L4")],
)
def test_the_device_names_how_many_and_which(gpus: int, name: str, machine: list[str]) -> None:
    machine += ["NVIDIA H100", "NVIDIA H100", "NVIDIA L4"]
    assert runtime.device(gpus) == name

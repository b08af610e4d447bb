"""Models of one's own code: an installed package builds and trains, and trouble is named."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from shared.spec import JobSpec
from shared.spec.models import Plugin
from tests.plugins import install_example
from worker.training.data import Dataset
from worker.training.failures import JobFailure, describe
from worker.training.graph import Totals
from worker.training.learner import Learner
from worker.training.models import build, summarise

SHAPE = (28, 28, 1)


@pytest.fixture(scope="module")
def installed_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the example package into a folder of its own."""
    return install_example(tmp_path_factory.mktemp("installed"))


@pytest.fixture
def example(installed_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process find the example package."""
    monkeypatch.syspath_prepend(installed_dir)


def spec_of(name: str, **parameters: Any) -> JobSpec:
    return JobSpec(model=Plugin(name=name, parameters=parameters), batch_size=100)


def write_plugin(folder: Path, body: str) -> None:
    """Write an installed package with the entry point `mine`, a function with this body."""
    (folder / "mine.py").write_text(f"def model(images):\n    {body}\n")
    about = folder / "mine-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[trainyard.models]\nmine = mine:model\n")


def test_an_installed_model_is_built_with_its_parameters(example: None) -> None:
    rows = summarise(build(spec_of("mixed-kernels", filters=3, largest=7), SHAPE, 10))
    kernels = [row for row in rows if row.name.startswith("kernel_")]
    assert [row.name for row in kernels] == ["kernel_1", "kernel_3", "kernel_5", "kernel_7"]
    assert {tuple(row.output_shape) for row in kernels} == {(28, 28, 3)}
    assert rows[-1].name == "classes"
    assert rows[-1].parameters == (4 * 3 + 1) * 10


def test_an_installed_model_trains(example: None, dataset: Dataset) -> None:
    learner = Learner(spec_of("mixed-kernels"), dataset)
    steps, totals = learner.training.run(learner.plan(1), Totals(), start=0, stop=2)
    assert (steps, totals.images) == (2, 200)


def test_a_missing_model_is_named_with_the_installed_ones(example: None) -> None:
    with pytest.raises(JobFailure) as found:
        build(spec_of("gone"), SHAPE, 10)
    failed = describe(found.value)
    assert failed.kind == "model"
    assert "'gone'" in failed.evidence
    assert "Installed: mixed-kernels." in failed.evidence


def test_parameters_that_the_model_does_not_take_are_named(example: None) -> None:
    with pytest.raises(JobFailure, match=r"TypeError.*depth"):
        build(spec_of("mixed-kernels", depth=3), SHAPE, 10)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise RuntimeError('of its own')", "'mine' failed: RuntimeError: of its own"),
        ("return images", r"must return a tensor of the shape \[N, F\].*28, 28, 1"),
        ("return 3", "Received: int"),
    ],
)
def test_a_model_that_cannot_be_used_says_what_is_wrong(
    body: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_plugin(tmp_path, body)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    with pytest.raises(JobFailure, match=words):
        build(spec_of("mine"), SHAPE, 10)
    assert ("mine.py" in capsys.readouterr().err) == ("raise" in body)

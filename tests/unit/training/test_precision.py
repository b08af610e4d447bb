"""What `auto` becomes, and the loss scale of float16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from shared.spec import JobSpec
from shared.spec.job import Preprocessing
from shared.spec.models import Mlp
from shared.spec.optimizers import Adam, Sgd
from worker.training import precision
from worker.training.data import Dataset
from worker.training.graph import Totals
from worker.training.learner import Learner
from worker.training.optimizers import make
from worker.training.precision import ScaledUpdater, cpu_flags, resolve

GPU = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")


@pytest.mark.parametrize("fixed", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_what_is_asked_for_is_taken(fixed: str) -> None:
    assert resolve(fixed) == fixed


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx2 avx512f", "float32"),
        ("fpu avx512f avx512_bf16", "mixed_bfloat16"),
        ("fpu amx_bf16", "mixed_bfloat16"),
    ],
)
def test_auto_on_a_processor_asks_what_it_can_do(
    flags: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: amx_bf16_of_old\n")
    found = cpu_flags(info)
    monkeypatch.setattr(precision, "cpu_flags", lambda: found)
    assert resolve("auto") == expected


def test_a_processor_that_does_not_tell_computes_in_float32(tmp_path: Path) -> None:
    assert cpu_flags(tmp_path / "missing") == set()


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"compute_capability": (9, 0)}, "mixed_bfloat16"),
        ({"compute_capability": (8, 0)}, "mixed_bfloat16"),
        ({"compute_capability": (7, 5)}, "mixed_float16"),
        ({"compute_capability": (6, 1)}, "float32"),
        ({}, "float32"),
    ],
    ids=str,
)
def test_auto_on_a_gpu_goes_by_its_generation(
    details: dict[str, Any], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [GPU])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: details)
    assert resolve("auto") == expected


def _apply(updater: ScaledUpdater, gradient: list[float]) -> None:
    """Do one step with the gradient that float16 would have given of the scaled loss."""
    scale = updater.scale(tf.constant(1.0))
    step = tf.function(lambda value: updater.apply([value * scale], tf.constant(1.0)))
    step(tf.constant(gradient))


def test_the_scale_changes_no_step() -> None:
    weight = tf.Variable([0.0, 0.0])
    updater = ScaledUpdater(make(Sgd(), [weight]))
    _apply(updater, [1.0, -2.0])
    np.testing.assert_array_equal(weight.numpy(), [-1.0, 2.0])


def test_a_step_that_is_not_finite_is_left_out_and_halves_the_scale() -> None:
    weight = tf.Variable([0.0, 0.0])
    updater = ScaledUpdater(make(Adam(), [weight]))
    before = [variable.numpy() for variable in updater.variables]
    _apply(updater, [1.0, float("inf")])
    np.testing.assert_array_equal(weight.numpy(), [0.0, 0.0])
    *state, scale, good = [variable.numpy() for variable in updater.variables]
    for now, then in zip(state, before, strict=False):
        np.testing.assert_array_equal(now, then)
    assert (scale, good) == (2.0**14, 0)


def test_many_good_steps_double_the_scale() -> None:
    updater = ScaledUpdater(make(Sgd(), [tf.Variable([0.0])]))
    *_, scale, good = updater.variables
    good.assign(1999)
    _apply(updater, [1.0])
    assert (scale.numpy(), good.numpy()) == (2.0**16, 0)
    _apply(updater, [1.0])
    assert (scale.numpy(), good.numpy()) == (2.0**16, 1)


def test_a_job_in_float16_learns_like_one_in_float32(dataset: Dataset) -> None:
    def losses(chosen: str) -> list[float]:
        spec = JobSpec(
            model=Mlp(hidden_units=[32]),
            optimizer=Adam(),
            learning_rate=0.01,
            batch_size=50,
            preprocessing=Preprocessing(scale="unit"),
        ).model_copy(update={"precision": chosen})
        learner = Learner(spec, dataset)
        found = []
        for epoch in (1, 2, 3):
            _, totals = learner.training.run(learner.plan(epoch), Totals(), start=0, stop=10)
            found.append(totals.loss / totals.images)
        assert learner.model.weights[0].dtype == "float32"
        return found

    half, whole = losses("mixed_float16"), losses("float32")
    assert half == pytest.approx(whole, rel=0.05)
    assert half[-1] < half[0] / 2

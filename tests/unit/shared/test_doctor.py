"""What the failure doctor prescribes."""

from __future__ import annotations

from typing import Any

import pytest

from shared.doctor import TITLES, correct
from shared.spec import JobSpec, validate
from shared.spec.job import merge
from shared.spec.schedules import check_schedule


def spec(**changes: Any) -> dict[str, Any]:
    return merge(JobSpec().model_dump(mode="json"), changes)


def test_out_of_memory_halves_the_batch_until_there_is_nothing_to_halve() -> None:
    correction = correct("out_of_memory", spec(batch_size=101))
    assert correction is not None
    assert correction.changes == {"batch_size": 50}
    assert correct("out_of_memory", spec(batch_size=1)) is None


def test_divergence_takes_a_tenth_of_the_learning_rate() -> None:
    correction = correct("diverged", spec(learning_rate=0.3))
    assert correction is not None
    assert correction.changes == {"learning_rate": 0.03}
    assert "0.03" in correction.label


def test_a_smaller_batch_leaves_every_gpu_an_image() -> None:
    correction = correct("out_of_memory", spec(batch_size=6, resources={"gpus": 3}))
    assert correction is not None
    assert correction.changes == {"batch_size": 3}
    assert correct("out_of_memory", spec(batch_size=5, resources={"gpus": 3})) is None


def test_a_plateaus_least_rate_goes_down_with_the_rate() -> None:
    ill = spec(learning_rate=0.01, schedule={"kind": "plateau", "min_rate": 0.005})
    correction = correct("diverged", ill)
    assert correction is not None
    assert correction.changes["schedule"]["min_rate"] == 0.001
    check_schedule(validate(JobSpec, merge(ill, correction.changes)))


def test_a_time_limit_is_doubled() -> None:
    limited = spec(resources={"max_runtime_seconds": 90})
    correction = correct("timeout", limited)
    assert correction is not None
    assert correction.changes == {"resources": {"max_runtime_seconds": 180}}


def test_a_time_limit_is_told_in_digits_and_never_more_than_allowed() -> None:
    correction = correct("timeout", spec(resources={"max_runtime_seconds": 15_000_000}))
    assert correction is not None
    assert correction.label.endswith(" 30,000,000 s")
    assert correct("timeout", spec(resources={"max_runtime_seconds": 30_000_000})) is None


def test_bad_data_need_a_person() -> None:
    assert correct("data", spec()) is None


@pytest.mark.parametrize("kind", list(TITLES))
def test_every_prescription_is_a_valid_spec(kind: str) -> None:
    ill = spec(resources={"max_runtime_seconds": 90})
    correction = correct(kind, ill)
    if correction is not None:
        validate(JobSpec, merge(ill, correction.changes))
    else:
        assert kind in ("data", "model")

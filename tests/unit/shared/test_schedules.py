"""Learning rates by epoch."""

from __future__ import annotations

import pytest

from shared.spec import JobSpec
from shared.spec.optimizers import Constant, Exponential
from shared.spec.presets import PRESETS
from shared.spec.schedules import learning_rate


def test_hello_world_has_exactly_the_rates_of_the_tutorial() -> None:
    spec = PRESETS["hello-world"].spec
    tutorial = [0.001 * 0.9**epoch for epoch in range(20)]
    assert [learning_rate(spec, epoch) for epoch in range(1, 21)] == tutorial


def test_constant_stays() -> None:
    spec = JobSpec(learning_rate=0.02, schedule=Constant())
    assert {learning_rate(spec, epoch) for epoch in (1, 2, 1000)} == {0.02}


def test_exponential_goes_on_past_the_last_epoch() -> None:
    spec = JobSpec(learning_rate=1.0, schedule=Exponential(rate=0.5), epochs=2)
    assert learning_rate(spec, 4) == 0.125


def test_epochs_count_from_one() -> None:
    with pytest.raises(ValueError, match="Received: 0"):
        learning_rate(JobSpec(), 0)

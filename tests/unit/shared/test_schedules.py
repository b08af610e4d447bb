"""Learning rates: each schedule by its own formula, and the plateau against Keras's."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shared.errors import InvalidInput
from shared.protocol import Epoch
from shared.spec import JobSpec
from shared.spec.presets import PRESETS
from shared.spec.schedules import (
    Constant,
    Cosine,
    Exponential,
    OneCycle,
    Plateau,
    Schedule,
    Step,
    WarmupCosine,
    check_schedule,
    epoch_rates,
    learning_rate,
    rate_curve,
)

STEPS = 5


def spec_of(schedule: Schedule, **changes: Any) -> JobSpec:
    return JobSpec(**{"learning_rate": 0.02, "epochs": 10, "schedule": schedule} | changes)


def by_step(spec: JobSpec) -> list[float]:
    """Return the rate of every step of the job."""
    return [
        learning_rate(spec, epoch + 1, step=step, steps=STEPS)
        for epoch in range(spec.epochs)
        for step in range(STEPS)
    ]


def epoch_of(number: int, **figures: float) -> Epoch:
    epoch = Epoch(
        epoch=number,
        train_accuracy=0.5,
        train_loss=0.5,
        eval_accuracy=0.5,
        eval_loss=0.5,
        learning_rate=0.1,
        seconds=1,
        images_per_second=1,
    )
    return epoch.model_copy(update=figures)


def test_hello_world_has_exactly_the_rates_of_the_tutorial() -> None:
    spec = PRESETS["hello-world"].spec
    tutorial = [0.001 * 0.9**epoch for epoch in range(20)]
    assert [learning_rate(spec, epoch) for epoch in range(1, 21)] == tutorial


def test_constant_stays() -> None:
    spec = spec_of(Constant())
    assert {learning_rate(spec, epoch) for epoch in (1, 2, 1000)} == {0.02}


def test_exponential_goes_on_past_the_last_epoch() -> None:
    spec = spec_of(Exponential(rate=0.5), learning_rate=1.0, epochs=2)
    assert learning_rate(spec, 4) == 0.125


def test_step_falls_every_few_epochs() -> None:
    spec = spec_of(Step(every=3, factor=0.5), learning_rate=1.0)
    assert epoch_rates(spec) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]


@pytest.mark.parametrize("schedule", [Constant(), Exponential(), Step(every=2)], ids=str)
def test_a_schedule_by_epochs_is_the_same_all_through_an_epoch(schedule: Any) -> None:
    spec = spec_of(schedule)
    rates = np.reshape(by_step(spec), (10, STEPS))
    np.testing.assert_array_equal(rates, np.repeat(rates[:, :1], STEPS, axis=1))


def test_cosine_is_half_a_cosine_over_all_steps() -> None:
    done = np.linspace(0, 1, 10 * STEPS)
    expected = 0.02 * (0.1 + 0.9 * (1 + np.cos(np.pi * done)) / 2)
    np.testing.assert_allclose(by_step(spec_of(Cosine(final_share=0.1))), expected, rtol=1e-12)


def test_warmup_climbs_straight_then_falls_along_a_cosine() -> None:
    rates = by_step(spec_of(WarmupCosine(warmup_epochs=2, start_share=0.5, final_share=0.0)))
    done = np.linspace(0, 1, 10 * STEPS)
    climb = 0.5 + 0.5 * done / 0.2
    fall = (1 + np.cos(np.pi * (done - 0.2) / 0.8)) / 2
    np.testing.assert_allclose(rates, 0.02 * np.where(done < 0.2, climb, fall), atol=1e-12)
    assert rates[0] == 0.01
    assert rates[-1] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("warmup_epochs", "reached"), [(1, 1.0), (2, 0.55)])
def test_a_job_no_longer_than_its_warmup_only_climbs(warmup_epochs: float, reached: float) -> None:
    schedule = WarmupCosine(warmup_epochs=warmup_epochs, start_share=0.1)
    rates = by_step(spec_of(schedule, epochs=1))
    done = np.linspace(0, 1, STEPS)
    np.testing.assert_allclose(rates, 0.02 * (0.1 + (reached - 0.1) * done), rtol=1e-12)


def test_one_cycle_rises_to_the_rate_and_falls_to_almost_nothing() -> None:
    rates = by_step(spec_of(OneCycle(rise=0.3, start_share=0.04, final_share=0.001)))
    done = np.linspace(0, 1, 10 * STEPS)
    rise = 1 + (0.04 - 1) * (1 + np.cos(np.pi * done / 0.3)) / 2
    fall = 0.001 + (1 - 0.001) * (1 + np.cos(np.pi * (done - 0.3) / 0.7)) / 2
    np.testing.assert_allclose(rates, 0.02 * np.where(done < 0.3, rise, fall), rtol=1e-12)
    assert max(rates) == pytest.approx(0.02, rel=0.01)


def test_a_smooth_schedule_past_its_end_stays_there() -> None:
    spec = spec_of(Cosine(final_share=0.25), learning_rate=1.0)
    assert learning_rate(spec, 99) == 0.25


def test_a_job_of_one_step_has_a_rate() -> None:
    assert learning_rate(spec_of(Cosine(), epochs=1), 1) == 0.02


@pytest.mark.parametrize("monitor", ["eval_loss", "train_loss", "eval_accuracy"])
@pytest.mark.parametrize("patience", [1, 3])
def test_plateau_falls_when_keras_would(monitor: Any, patience: int) -> None:
    keras = pytest.importorskip("keras")
    schedule = Plateau(
        monitor=monitor, factor=0.5, patience=patience, min_delta=0.05, min_rate=0.02
    )
    spec = spec_of(schedule, learning_rate=1.0, epochs=60)
    values = np.random.default_rng(patience).uniform(0.2, 1.0, 60).round(3)
    callback = keras.callbacks.ReduceLROnPlateau(
        monitor="figure",
        factor=0.5,
        patience=patience,
        min_delta=0.05,
        min_lr=0.02,
        mode="max" if monitor.endswith("accuracy") else "min",
    )
    rate = SimpleNamespace(learning_rate=1.0)
    callback._model = SimpleNamespace(optimizer=rate)
    callback.on_train_begin()
    history: list[Epoch] = []
    rates = set()
    for number, value in enumerate(values, start=1):
        assert learning_rate(spec, number, history=history) == pytest.approx(rate.learning_rate)
        rates.add(rate.learning_rate)
        history.append(epoch_of(number, **{monitor: float(value)}))
        callback.on_epoch_end(number - 1, {"figure": float(value)})
    assert len(rates) > 2


def test_plateau_knows_only_the_epochs_before() -> None:
    spec = spec_of(Plateau(patience=1, factor=0.5), learning_rate=1.0)
    history = [epoch_of(number) for number in range(1, 5)]
    assert learning_rate(spec, 1, history=history) == 1.0
    assert learning_rate(spec, 2, history=history) == 1.0
    assert learning_rate(spec, 3, history=history) == 0.5


def test_the_curve_to_draw_shows_what_a_rate_an_epoch_would_not() -> None:
    spec = spec_of(OneCycle(rise=0.05), epochs=4, learning_rate=1.0)
    assert len(epoch_rates(spec)) == 4
    assert max(epoch_rates(spec)) < 0.95
    assert max(rate_curve(spec)) > 0.99
    assert rate_curve(spec)[-1] == pytest.approx(4e-6)


def test_the_curve_to_draw_has_no_more_points_than_can_be_drawn() -> None:
    curve = rate_curve(spec_of(Cosine(), epochs=10_000, learning_rate=1.0))
    assert len(curve) < 500
    assert curve[0] == 1.0
    assert curve[-1] == pytest.approx(0)
    assert curve == sorted(curve, reverse=True)


@pytest.mark.parametrize("schedule", [Step(every=2, factor=0.1), Exponential(rate=0.5)], ids=str)
def test_what_stays_within_an_epoch_is_drawn_as_stairs(schedule: Any) -> None:
    spec = spec_of(schedule, epochs=4, learning_rate=1.0)
    curve = rate_curve(spec)
    stairs = np.repeat(epoch_rates(spec), len(curve) // 4)
    np.testing.assert_array_equal(curve, stairs)


def test_rates_never_leave_the_range_that_the_spec_names() -> None:
    for schedule in (Cosine(), WarmupCosine(warmup_epochs=0.5), OneCycle()):
        rates = by_step(spec_of(schedule, epochs=1))
        assert all(0 <= rate <= 0.02 and math.isfinite(rate) for rate in rates)


@pytest.mark.parametrize(
    ("schedule", "field", "received"),
    [
        (WarmupCosine(warmup_epochs=10), "spec.schedule.warmup_epochs", 10),
        (Plateau(min_rate=0.5), "spec.schedule.min_rate", 0.5),
    ],
    ids=str,
)
def test_a_schedule_that_does_not_fit_the_job_is_refused(
    schedule: Any, field: str, received: float
) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_schedule(spec_of(schedule))
    assert [(error.field, error.received) for error in caught.value.errors] == [(field, received)]


def test_epochs_count_from_one() -> None:
    with pytest.raises(ValueError, match="Received: 0"):
        learning_rate(JobSpec(), 0)

"""Which images, in which order: pure functions of the seed."""

from __future__ import annotations

import numpy as np
import pytest

from shared.spec import JobSpec
from worker.training.sampling import draw_balanced, shuffled, split

ROWS = np.arange(1000, dtype=np.int32)
LABELS = np.repeat(np.arange(4), [100, 200, 300, 400])


def test_an_order_holds_every_row_once() -> None:
    order = shuffled(ROWS, seed=1, epoch=1)
    assert order.dtype == np.int32
    assert sorted(order) == list(range(1000))


def test_an_order_is_a_function_of_seed_and_epoch() -> None:
    orders = {
        (seed, epoch): shuffled(ROWS, seed=seed, epoch=epoch).tobytes()
        for seed in (0, 1, 2_147_483_647)
        for epoch in (1, 2, 3)
    }
    assert len(set(orders.values())) == len(orders)
    assert shuffled(ROWS, seed=1, epoch=2).tobytes() == orders[1, 2]


def test_an_order_is_the_same_on_every_machine() -> None:
    # Fixed for ever: a job may be resumed by another version of NumPy.
    expected = [1, 6, 3, 4, 5, 9, 2, 8, 0, 7]
    assert shuffled(np.arange(10, dtype=np.int32), seed=42, epoch=3).tolist() == expected


def test_rows_come_in_every_place_about_equally_often() -> None:
    places = np.zeros((5, 5))
    for epoch in range(2000):
        places[np.arange(5), shuffled(np.arange(5, dtype=np.int32), seed=7, epoch=epoch)] += 1
    np.testing.assert_allclose(places, 400, atol=80)  # four standard deviations


def test_a_draw_keeps_the_shares_of_the_classes() -> None:
    drawn, rest = draw_balanced(ROWS, LABELS, 100, seed=0, stream=9)
    assert np.bincount(LABELS[drawn]).tolist() == [10, 20, 30, 40]
    assert sorted([*drawn, *rest]) == list(range(1000))
    assert np.all(np.diff(drawn) > 0)
    assert np.all(np.diff(rest) > 0)


@pytest.mark.parametrize("count", [0, 1, 7, 333, 999, 1000])
def test_a_draw_has_exactly_the_size_asked_for(count: int) -> None:
    drawn, rest = draw_balanced(ROWS, LABELS, count, seed=0, stream=9)
    assert (len(drawn), len(rest)) == (count, 1000 - count)
    shares = np.bincount(LABELS[drawn], minlength=4) - count * np.array([0.1, 0.2, 0.3, 0.4])
    assert np.all(np.abs(shares) < 1)


def test_a_class_without_images_does_not_disturb_a_draw() -> None:
    labels = np.array([0, 0, 2, 2])
    drawn, _ = draw_balanced(np.arange(4, dtype=np.int32), labels, 2, seed=0, stream=1)
    assert labels[drawn].tolist() == [0, 2]


def test_other_seeds_draw_other_rows() -> None:
    first, _ = draw_balanced(ROWS, LABELS, 100, seed=0, stream=9)
    second, _ = draw_balanced(ROWS, LABELS, 100, seed=1, stream=9)
    assert set(first) != set(second)


def test_training_and_validation_rows_do_not_meet() -> None:
    spec = JobSpec(evaluate_on="validation", validation_fraction=0.2, train_fraction=0.5)
    train, held_out = split(spec, LABELS)
    assert (len(train), len(held_out)) == (400, 200)
    assert not set(train) & set(held_out)


def test_jobs_of_different_training_fractions_are_scored_on_the_same_images() -> None:
    whole = JobSpec(evaluate_on="validation", validation_fraction=0.2)
    part = whole.model_copy(update={"train_fraction": 0.3})
    np.testing.assert_array_equal(split(whole, LABELS)[1], split(part, LABELS)[1])


def test_everything_is_trained_on_in_the_plain_case() -> None:
    train, held_out = split(JobSpec(), LABELS)
    np.testing.assert_array_equal(train, ROWS)
    assert len(held_out) == 0

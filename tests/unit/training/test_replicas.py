"""Several devices train what one trains; virtual processors, see `tests.replicated`."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.compose import ROOT

_WANTED = {
    1: ["trained", "moving_mean", "losses"],
    2: ["trained", "moving_mean", "losses", "resumed", "exported"],
    3: ["trained"],
}

# Whichever test comes first trains for three of them.
pytestmark = pytest.mark.timeout(600)

several = pytest.mark.parametrize("count", [2, 3])


@functools.cache
def outcomes(count: int) -> dict[str, Any]:
    """Train on so many devices, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.replicated", str(count), *_WANTED[count]],
        cwd=ROOT,
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def flat(arrays: list[Any]) -> npt.NDArray[np.float64]:
    return np.concatenate([np.ravel(np.asarray(array, np.float64)) for array in arrays])


@several
@pytest.mark.parametrize(
    # Sums over a batch are added up in another order, and rounded as the gradients are: to
    # 6e-8 in float32, to 5e-4 in float16. Steps build on each other, so a little more.
    ("name", "tolerance"),
    [("momentum", 1e-5), ("clipped", 1e-5), ("float16", 2e-3)],
)
def test_an_epoch_is_that_of_one_device_but_for_rounding(
    name: str, tolerance: float, count: int
) -> None:
    one, theirs = outcomes(1)["trained"][name], outcomes(count)["trained"][name]

    assert theirs["copies"] == count
    assert theirs["before"] == one["before"]
    for part in ("weights", "optimizer"):
        # Against the change, not the weights: what was not trained at all would be near these.
        begun = flat(one["before"]) if part == "weights" else 0.0
        change = flat(one[part]) - begun
        apart = flat(theirs[part]) - flat(one[part])
        assert np.linalg.norm(apart) <= tolerance * np.linalg.norm(change)
    loss, correct, images = theirs["totals"]
    assert (correct, images) == (one["totals"][1], 100)
    assert loss == pytest.approx(one["totals"][0], rel=tolerance)


@several
@pytest.mark.parametrize("name", ["momentum", "clipped", "float16"])
def test_a_score_is_that_of_one_device_padding_left_out(name: str, count: int) -> None:
    one, theirs = outcomes(1)["trained"][name], outcomes(count)["trained"][name]

    assert theirs["score"][1] == one["score"][1]
    assert np.sum(theirs["score"][1]) == 107
    assert theirs["score"][0] == pytest.approx(one["score"][0], rel=1e-5)


@several
@pytest.mark.parametrize("name", ["momentum", "clipped", "float16", "normalised"])
def test_all_copies_are_equal_to_the_bit_after_an_epoch(name: str, count: int) -> None:
    assert outcomes(count)["trained"][name]["copies_differ"] == []


def test_moving_statistics_are_means_over_the_devices() -> None:
    """Equal shares: the mean of their means is the batch's."""
    np.testing.assert_allclose(
        outcomes(2)["moving_mean"], outcomes(1)["moving_mean"], rtol=1e-4, atol=1e-8
    )


def test_each_device_drops_out_other_units() -> None:
    """The same image on each: the losses are equal, unless the units left out are others."""
    one, two = outcomes(1)["losses"], outcomes(2)["losses"]

    assert two["plain"] == pytest.approx(2 * one["plain"], rel=1e-5)
    assert two["dropout"] != pytest.approx(2 * one["dropout"], rel=1e-3)


def test_a_job_resumed_within_an_epoch_goes_on_to_the_same_bits() -> None:
    assert outcomes(2)["resumed"] == [True] * 4


def test_the_exported_model_predicts_what_the_copies_do() -> None:
    predicted = outcomes(2)["exported"]

    for form in ("float32", "keras", "litert"):
        np.testing.assert_allclose(predicted[form], predicted["model"], rtol=1e-5)

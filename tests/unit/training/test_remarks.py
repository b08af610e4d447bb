"""What a job that ended well is still told."""

from __future__ import annotations

import numpy as np
import pytest

from shared.spec import JobSpec
from shared.spec.job import Preprocessing
from worker.training.remarks import nothing_learned

CLASSES = ["cat", "dog", "hen"]
SPEC = JobSpec(preprocessing=Preprocessing(scale="unit"), learning_rate=0.5)


def test_one_answer_to_every_image_is_named_with_a_lower_rate() -> None:
    remark = nothing_learned(SPEC, np.array([[0, 5, 0], [0, 4, 0], [0, 0, 0]]), CLASSES)
    assert remark == (
        "It has learned nothing: every test image is 'dog' to it. "
        "Lower the learning rate, for example to 0.05."
    )


def test_pixels_that_are_not_scaled_may_be_the_reason() -> None:
    raw = SPEC.model_copy(update={"preprocessing": Preprocessing(scale="raw")})
    remark = nothing_learned(raw, np.array([[7, 0, 0], [2, 0, 0], [1, 0, 0]]), CLASSES)
    assert remark is not None
    assert remark.endswith("for example to 0.05, or scale the pixels to 0 to 1.")


@pytest.mark.parametrize(
    "matrix",
    [
        [[0, 5, 0], [0, 4, 0], [0, 0, 1]],  # two answers
        [[0, 0, 0], [0, 9, 0], [0, 0, 0]],  # one, and the only one that is right
        [[0, 0, 0], [3, 0, 0], [0, 0, 0]],  # only one label: too little to say
    ],
)
def test_nothing_is_said_of_a_model_that_may_have_learned(matrix: list[list[int]]) -> None:
    assert nothing_learned(SPEC, np.array(matrix), CLASSES) is None

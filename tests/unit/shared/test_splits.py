"""How many images a spec trains on and holds back."""

from __future__ import annotations

import pytest

from shared.errors import InvalidInput
from shared.spec import JobSpec
from shared.spec.splits import SplitSizes, split_sizes


def test_everything_is_trained_on_unless_asked_otherwise() -> None:
    assert split_sizes(JobSpec(), 60_000) == SplitSizes(train=60_000, validation=0)


def test_the_hold_out_does_not_depend_on_the_training_fraction() -> None:
    whole = JobSpec(evaluate_on="validation", validation_fraction=0.1)
    tenth = whole.model_copy(update={"train_fraction": 0.1})
    assert split_sizes(whole, 60_000) == SplitSizes(train=54_000, validation=6_000)
    assert split_sizes(tenth, 60_000) == SplitSizes(train=5_400, validation=6_000)


@pytest.mark.parametrize(
    ("spec", "images", "field"),
    [
        (JobSpec(train_fraction=0.001, batch_size=1), 100, "spec.train_fraction"),
        (JobSpec(batch_size=101), 100, "spec.batch_size"),
        (
            JobSpec(evaluate_on="validation", validation_fraction=0.001),
            100,
            "spec.validation_fraction",
        ),
        (
            JobSpec(evaluate_on="validation", validation_fraction=0.999),
            100,
            "spec.validation_fraction",
        ),
    ],
)
def test_a_split_that_leaves_nothing_names_its_field(
    spec: JobSpec, images: int, field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        split_sizes(spec, images)
    assert caught.value.errors[0].field == field

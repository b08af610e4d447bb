"""How many images a spec trains on and evaluates on; no arrays, so the web can say it too."""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import InvalidInput
from shared.spec.job import JobSpec


@dataclass(frozen=True)
class SplitSizes:
    """Numbers of images.

    Attributes:
        train: images trained on.
        validation: training images held back; 0 when evaluating on the test set.
    """

    train: int
    validation: int


def split_sizes(spec: JobSpec, train_images: int) -> SplitSizes:
    """Return how many of the data set's training images a spec uses, and for what.

    Args:
        spec: the job's spec.
        train_images: training images that the data set has.

    Raises:
        InvalidInput: nothing is left to train on or to validate with, or a batch is larger than
            what is left; names the field.
    """
    validation = 0
    if spec.evaluate_on == "validation":
        validation = round(train_images * spec.validation_fraction)
        if not 0 < validation < train_images:
            raise InvalidInput.of(
                "spec.validation_fraction",
                f"Must leave images on both sides of {train_images:,} training images.",
                spec.validation_fraction,
            )
    train = round((train_images - validation) * spec.train_fraction)
    if train < 1:
        raise InvalidInput.of(
            "spec.train_fraction",
            f"Must leave at least one of {train_images - validation:,} images.",
            spec.train_fraction,
        )
    if spec.batch_size > train:
        raise InvalidInput.of(
            "spec.batch_size",
            f"Must not be more than the {train:,} images trained on.",
            spec.batch_size,
        )
    return SplitSizes(train, validation)

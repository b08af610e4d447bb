"""Whether a spec's parts fit each other and the data: what no field can tell alone."""

from __future__ import annotations

from shared.errors import InvalidInput
from shared.spec.architecture import layers
from shared.spec.augmentation import check_augmentation
from shared.spec.job import JobSpec
from shared.spec.schedules import check_schedule
from shared.spec.splits import split_sizes


def check(
    spec: JobSpec, image_shape: tuple[int, int, int], *, classes: int, train_images: int
) -> None:
    """Check a spec against data.

    Args:
        spec: the job's spec.
        image_shape: height, width and channels of an image.
        classes: how many classes there are.
        train_images: training images that there are.

    Raises:
        InvalidInput: naming the field.
    """
    layers(spec.model, image_shape, classes)
    check_schedule(spec)
    check_augmentation(spec.preprocessing.augmentation, image_shape[0], image_shape[1])
    if spec.precision == "mixed_float16" and not spec.resources.gpus:
        rule = "float16 needs a GPU: ask for one (resources.gpus), or take auto or mixed_bfloat16."
        raise InvalidInput.of("spec.precision", rule, spec.precision)
    if spec.batch_size < spec.resources.gpus:
        rule = f"Must give each of the {spec.resources.gpus} GPUs an image (resources.gpus)."
        raise InvalidInput.of("spec.batch_size", rule, spec.batch_size)
    images = split_sizes(spec, train_images).train
    if images < classes:
        rule = (
            f"Must leave at least one training image a class; of {train_images:,} images "
            f"{images:,} are left for {classes:,} classes."
        )
        raise InvalidInput.of("spec.train_fraction", rule, spec.train_fraction)

"""Random changes to the training images; counterpart: `worker.training.augmentation`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from shared.errors import InvalidInput
from shared.spec.fields import SpecModel, spec_field


def _pixels() -> Any:
    return spec_field(
        2,
        title="Shift by up to",
        description="Both ways and up and down; what moves in from outside is black.",
        unit="pixels",
        ge=0,
        le=112,
    )


class NoAugmentation(SpecModel):
    """Every epoch sees the images as they are."""

    kind: Literal["none"] = "none"


class Shift(SpecModel):
    """Each image is moved by whole pixels, anew in every epoch."""

    kind: Literal["shift"] = "shift"
    pixels: int = _pixels()


class Affine(SpecModel):
    """Each image is turned, zoomed and moved about its centre, anew in every epoch."""

    kind: Literal["affine"] = "affine"
    degrees: float = spec_field(
        10.0,
        title="Turn by up to",
        description="Clockwise or counter-clockwise.",
        unit="degrees",
        ge=0,
        le=180,
    )
    zoom: float = spec_field(
        0.1,
        title="Zoom by up to",
        description="0.1: between nine tenths and eleven tenths of the size.",
        ge=0,
        lt=1,
    )
    pixels: int = _pixels()
    flip: bool = spec_field(
        False,
        title="Mirror half of them",
        description="Left to right: right for photographs, wrong for digits.",
    )


Augmentation = Annotated[NoAugmentation | Shift | Affine, Field(discriminator="kind")]


def check_augmentation(augmentation: Augmentation, height: int, width: int) -> None:
    """Check that something of each image is left in view.

    Raises:
        InvalidInput: naming the field.
    """
    pixels = getattr(augmentation, "pixels", 0)
    if pixels >= min(height, width):
        raise InvalidInput.of(
            "spec.preprocessing.augmentation.pixels",
            f"Must be less than the image's {height} x {width} pixels.",
            pixels,
        )

"""What a survey of a data set found, as JSON: for the API, the pages and the terminal.

Owns the shape and the words. Needs no NumPy; `shared.datasets.survey` fills it in.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Part = Literal["train", "test"]
Level = Literal["ok", "note", "warning"]

_EQUAL_RATIO = 1.005


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassCount(_Facts):
    """How often a class occurs."""

    name: str
    train: int
    test: int


class PartFacts(_Facts):
    """The images of one part."""

    images: int
    mean: float = Field(description="Mean of all pixels, 0 to 255.")
    deviation: float = Field(description="Standard deviation of all pixels.")
    darkest: int
    brightest: int
    zero_share: float = Field(description="Share of the pixels that are 0.")
    histogram: list[int] = Field(description="Pixels in each of 32 ranges of brightness.")
    near_empty: int = Field(description="Images whose pixels hardly differ from each other.")
    near_empty_rows: list[int] = Field(description="The first of them.")


class Twins(_Facts):
    """Two rows with the same pixels; rows count from 0."""

    part: Part
    row: int
    label: int
    of_part: Part
    of_row: int
    of_label: int


class Repeats(_Facts):
    """Images that occur more than once, pixel by pixel."""

    train: int = Field(description="Training images that repeat an earlier one.")
    test: int = Field(description="Test images that repeat an earlier one.")
    leaked: int = Field(description="Test images that are training images too.")
    contradicting: int = Field(description="Images that occur with different labels.")
    examples: list[Twins]


class Balance(_Facts):
    """How evenly the training images are spread over the classes."""

    verdict: Literal["balanced", "uneven", "imbalanced"]
    ratio: float = Field(description="Images of the largest class over those of the smallest.")
    largest: str
    smallest: str
    baseline: float = Field(
        description="Share of the test images that one gets right by always answering the class "
        "with the most training images."
    )

    @property
    def equal(self) -> bool:
        """Whether the largest class and the smallest differ too little to be told."""
        return self.ratio < _EQUAL_RATIO


class Finding(_Facts):
    """One thing to know before training."""

    level: Level
    sentence: str


class Report(_Facts):
    """Everything that a survey found."""

    classes: list[ClassCount]
    train: PartFacts
    test: PartFacts
    repeats: Repeats
    balance: Balance
    findings: list[Finding]
    notes: list[str] = Field(
        default_factory=list,
        description="How the files were read, where they did not say.",
    )

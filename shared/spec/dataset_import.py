"""What a person says when files are to become a data set; also the fields of the form.

Everything has a default that suits the usual files: formats, label column, shape, parts and
classes are found out from what is there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from shared.spec.fields import SpecModel, spec_field

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
# The page of a data set called so would be the form of a new one.
RESERVED_NAMES = ("new",)
SMALLEST_SIDE = 8
LARGEST_SIDE = 224

ClassName = Annotated[str, Field(min_length=1, max_length=100)]


class ImportOptions(SpecModel):
    """How files are read, where they do not say so themselves."""

    format: Literal["auto", "csv", "npz", "idx", "images", "cifar"] = spec_field(
        "auto",
        title="Format",
        description="csv: a row an image, a label and its pixels. npz: NumPy arrays. idx: as MNIST "
        "comes. images: a zip of PNG, JPEG or WebP, a folder a class. cifar: CIFAR-10's binary "
        "files. auto: what the files look like.",
    )
    label_column: str | None = spec_field(
        None,
        title="Label column",
        description="Of a CSV: its name, or its number from 1; found by name, or else the first.",
        max_length=200,
    )
    header: Literal["auto", "present", "absent"] = spec_field(
        "auto",
        title="Header",
        description="Of a CSV: whether its first line names the columns.",
        advanced=True,
    )
    test_fraction: float = spec_field(
        0.2,
        title="Test share",
        description="Share of the images held back for testing if the files have no test part; "
        "every class in its share.",
        gt=0,
        lt=1,
    )
    seed: int = spec_field(
        0,
        title="Seed",
        description="Decides which images are held back.",
        ge=0,
        le=2_147_483_647,
        advanced=True,
    )
    height: int | None = spec_field(
        None,
        title="Height",
        description="Of an image. CSV and npz: if it is not square. Pictures: they are brought to "
        "this size.",
        unit="pixels",
        ge=SMALLEST_SIDE,
        le=LARGEST_SIDE,
        advanced=True,
    )
    width: int | None = spec_field(
        None,
        title="Width",
        description="Of an image, as the height.",
        unit="pixels",
        ge=SMALLEST_SIDE,
        le=LARGEST_SIDE,
        advanced=True,
    )
    colour: Literal["auto", "grey", "rgb"] = spec_field(
        "auto",
        title="Colour",
        description="grey: one channel. rgb: three. auto: what the files have.",
        advanced=True,
    )
    pixel_range: Literal["auto", "byte", "unit"] = spec_field(
        "auto",
        title="Pixel range",
        description="byte: 0 to 255. unit: 0 to 1, as in files that were scaled already.",
        advanced=True,
    )
    channels_first: bool = spec_field(
        default=False,
        title="Channels first",
        description="Colour images lie as three planes, red, green and blue, not pixel by pixel.",
        advanced=True,
    )
    transpose: bool = spec_field(
        default=False,
        title="Transpose",
        description="Rows and columns are exchanged, as in EMNIST.",
        advanced=True,
    )
    member_words: list[Annotated[str, Field(min_length=1, max_length=50)]] = spec_field(
        title="Files of the archive",
        description="Words that a table's or IDX file's name in a zip must have; empty: all are "
        "read.",
        default_factory=list,
        max_length=5,
        advanced=True,
    )
    class_names: list[ClassName] = spec_field(
        title="Class names",
        description="In the order of the labels; the labels themselves unless given.",
        default_factory=list,
        max_length=100_000,
        advanced=True,
    )

    @field_validator("label_column", mode="before")
    @classmethod
    def _number_as_text(cls, value: Any) -> Any:
        return str(value) if type(value) is int else value


class DatasetImport(SpecModel):
    """The body of `POST /api/v1/datasets`."""

    name: str = spec_field(
        title="Name",
        description="What jobs call it; a data set of this name gets a new version.",
        pattern=NAME_PATTERN,
    )
    title: Annotated[str, Field(min_length=1, max_length=200)] | None = spec_field(
        None, title="Title", description="What people call it; the name unless given."
    )
    description: str = spec_field(
        "", title="Description", description="What it holds.", max_length=2000
    )
    attribution: str = spec_field(
        "",
        title="Attribution",
        description="Authors and licence.",
        max_length=500,
        advanced=True,
    )
    known: str | None = spec_field(
        None,
        title="Known set",
        description="A public data set whose files, classes and authors are known; it is fetched "
        "unless its files are sent.",
        max_length=63,
    )
    options: ImportOptions = Field(default_factory=ImportOptions, title="Options")

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name in RESERVED_NAMES:
            raise ValueError(f"Must not be {name!r}: its page is the form of a new data set")
        return name

"""What an import may take: the bounds on what people send, checked while it is read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from shared.settings import Settings


class Limits(BaseModel):
    """The settings of the same names, for a process that reads no settings.

    Attributes:
        dataset_bytes: bytes of pixels.
        dataset_images: images, or rows of a table.
        dataset_columns: columns of a table.
        dataset_classes: classes.
        picture_pixels: pixels of a picture before it is made small.
        archive_members: files in an archive.
        archive_ratio: unpacked bytes over packed ones.
        memory_bytes: memory of the reading process.
        seconds: time of the reading process.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset_bytes: int
    dataset_images: int
    dataset_columns: int
    dataset_classes: int
    picture_pixels: int
    archive_members: int
    archive_ratio: int
    memory_bytes: int
    seconds: float

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return the limits that the settings say."""
        return cls(
            dataset_bytes=settings.max_dataset_bytes,
            dataset_images=settings.max_dataset_images,
            dataset_columns=settings.max_dataset_columns,
            dataset_classes=settings.max_dataset_classes,
            picture_pixels=settings.max_picture_pixels,
            archive_members=settings.max_archive_members,
            archive_ratio=settings.max_archive_ratio,
            memory_bytes=settings.import_memory_bytes,
            seconds=settings.import_seconds,
        )

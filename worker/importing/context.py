"""What every reader needs beside the files."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.limits import Limits
from shared.spec.dataset_import import ImportOptions
from worker.importing.labels import LabelBook


@dataclass(frozen=True)
class Context:
    """One reading.

    Attributes:
        options: how to read the files.
        limits: what they may take.
        book: gives the labels their codes.
        notes: takes what was decided that the files did not say, as sentences.
    """

    options: ImportOptions
    limits: Limits
    book: LabelBook
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, options: ImportOptions, limits: Limits) -> Context:
        """Begin a reading."""
        return cls(options, limits, LabelBook(limits.dataset_classes))

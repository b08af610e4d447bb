"""What every reader needs beside the files."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.limits import Limits
from shared.spec.dataset_import import ImportOptions
from worker.importing.labels import LabelBook

MOST_NOTES = 50


class Notes(list[str]):
    """Sentences: the first, and how many more there were; an archive may give millions."""

    left_out = 0

    def append(self, note: str) -> None:
        """Take a sentence, or count it."""
        if len(self) < MOST_NOTES:
            super().append(note)
        else:
            self.left_out += 1
            self[MOST_NOTES:] = [f"And {self.left_out:,} more."]


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
    notes: list[str] = field(default_factory=Notes)

    @classmethod
    def of(cls, options: ImportOptions, limits: Limits) -> Context:
        """Begin a reading."""
        return cls(options, limits, LabelBook(limits.dataset_classes))

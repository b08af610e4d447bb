"""What is wrong with a file, as the error that ends its reading."""

from __future__ import annotations

from typing import Any

from shared.reading import Fault, Refused

_SHOWN_CHARACTERS = 80


class BadFile(Exception):
    """The files cannot become a data set.

    Args:
        faults: what is wrong, the first thing first.
    """

    def __init__(self, *faults: Fault) -> None:
        super().__init__(" ".join(str(fault) for fault in faults))
        self.faults = list(faults)

    def event(self) -> Refused:
        """Return the event that tells it."""
        return Refused(faults=self.faults)


def bad(
    file: str,
    rule: str,
    value: Any = None,
    *,
    row: int | None = None,
    column: str | int | None = None,
) -> BadFile:
    """Build the error of a single fault.

    Args:
        file: its name.
        rule: what is allowed, as a sentence.
        value: what stands there; shown shortened.
        row: of a table from 1, the header not counted; of an array from 0.
        column: its name, or its number from 1.
    """
    return BadFile(
        Fault(
            file=shown(file),
            row=row,
            column=None if column is None else shown(column),
            value=None if value is None else shown(value),
            rule=rule,
        )
    )


def shown(value: Any) -> str:
    """Return a value as text that can be shown: short, and without control characters."""
    text = str(value)
    text = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"

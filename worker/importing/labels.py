"""Labels to classes: numbers or names, as they come, become 0 to n - 1."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from worker.importing.faults import BadFile, bad

_INTEGER = re.compile(r"[+-]?\d{1,18}(\.0+)?")
_LONGEST_NAME = 100

Codes = npt.NDArray[np.int64]


class LabelBook:
    """The labels seen so far, each with a code in order of appearance.

    Args:
        most_classes: limit on their number.
    """

    def __init__(self, most_classes: int) -> None:
        self._most_classes = most_classes
        self._codes: dict[str, int] = {}

    def encode(
        self,
        labels: npt.NDArray[Any],
        *,
        file: str | Sequence[str],
        column: str | None = None,
        first_row: int = 1,
    ) -> Codes:
        """Return the codes of some labels.

        Args:
            labels: whole numbers, or texts (dtype object or str).
            file: for errors; several: that of each label, which has no rows.
            column: for errors.
            first_row: number of the first of them, for errors.

        Raises:
            BadFile: one of them is no label, or there are too many different ones.
        """
        places, values = pd.factorize(labels)

        def wrong(index: int, rule: str, value: Any) -> BadFile:
            first = int(np.flatnonzero(places == index)[0])
            if isinstance(file, str):
                return bad(file, rule, value, row=first_row + first, column=column)
            return bad(file[first], rule, value)

        codes = np.empty(len(values), dtype=np.int64)
        for index, value in enumerate(values):
            name = spelling(value)
            if name is None or len(name) > _LONGEST_NAME or not name.isprintable():
                rule = f"A label must be a whole number or a name of 1 to {_LONGEST_NAME} letters."
                shown = "nothing" if name is None and not str(value).strip() else value
                raise wrong(index, rule, shown)
            if name not in self._codes and len(self._codes) == self._most_classes:
                doubt = "" if column is None else "; is this the column of the labels?"
                rule = f"There may be at most {self._most_classes:,} classes{doubt or '.'}"
                raise wrong(index, rule, f"one more: {name}")
            codes[index] = self._codes.setdefault(name, len(self._codes))
        if (places < 0).any():
            raise wrong(-1, "Every image needs a label.", "nothing")
        return codes[places]

    def classes(self, names: Sequence[str], *, file: str) -> tuple[list[str], Codes]:
        """Return the classes in order, and the class of each code.

        Labels that are all numbers are ordered as such, names by the alphabet.

        Args:
            names: what the classes are called, in that order; none: as their labels.
            file: for errors.

        Raises:
            BadFile: there is only one class, or another number of names.
        """
        labels = list(self._codes)
        if all(_INTEGER.fullmatch(label) for label in labels):
            labels.sort(key=int)
        else:
            labels.sort()
        if len(labels) < 2:
            raise bad(file, "There must be at least two classes.", ", ".join(labels) or "none")
        if names and (len(names) != len(labels) or len(set(names)) != len(names)):
            rule = f"The class names must be {len(labels)} different ones, one a class."
            raise bad(file, rule, f"{len(names)}: {', '.join(names)}")
        order = np.empty(len(labels), dtype=np.int64)
        for place, label in enumerate(labels):
            order[self._codes[label]] = place
        return list(names) or labels, order


def spelling(value: Any) -> str | None:
    """Return a label's one spelling: 3, "3", 3.0 and " 3 " are the same; None: it is no label."""
    if isinstance(value, float | np.floating):
        return str(int(value)) if np.isfinite(value) and value == int(value) else None
    text = str(value).strip()
    if _INTEGER.fullmatch(text):
        return str(int(text.split(".")[0]))
    return text or None

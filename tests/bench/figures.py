"""What a bench reports: a figure, its limit, what was measured, and one table of all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        what: what was measured, and how often.
        value: the measured value that the limit holds for.
        unit: its unit; empty for a ratio.
        limit: the value must stay below it; None: reported without a promise.
        detail: what else the run tells.
    """

    what: str
    value: float
    unit: str
    limit: float | None
    detail: str = ""

    @property
    def held(self) -> bool:
        """Whether the promise is kept."""
        return self.limit is None or self.value < self.limit


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of all values do not exceed.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("A percentile needs at least one value. Received: [].")
    rank = max(1, math.ceil(len(values) * percent / 100))
    return sorted(values)[rank - 1]


def print_table(figures: Iterable[Figure], console: Console) -> None:
    """Print all figures as one table."""
    table = Table(title="Measured against the figures to hold", title_justify="left")
    for heading in ("figure", "measured", "to hold", "held"):
        table.add_column(heading, no_wrap=heading != "figure")
    table.add_column("detail", overflow="fold")
    for figure in figures:
        limit = "" if figure.limit is None else f"< {_number(figure.limit)} {figure.unit}".rstrip()
        verdict = "" if figure.limit is None else ("yes" if figure.held else "[bold red]NO[/]")
        measured = f"{_number(figure.value)} {figure.unit}".rstrip()
        table.add_row(figure.what, measured, limit, verdict, figure.detail)
    console.print(table)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"

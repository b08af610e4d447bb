"""A curve in the terminal, drawn with braille characters: each holds 2 x 4 dots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]

_BRAILLE = 0x2800
# Bit of each dot of a cell, by column and row (Unicode, block "Braille Patterns").
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_COLUMNS, _ROWS = 2, 4


@dataclass(frozen=True)
class Series:
    """One line of the drawing.

    Attributes:
        points: x and y, ascending in x.
        style: colour, in rich's words.
    """

    points: Sequence[Point]
    style: str


@dataclass(frozen=True)
class Cell:
    """One character of the drawing and its colour; `style` is empty where nothing is drawn."""

    character: str
    style: str


@dataclass(frozen=True)
class Drawing:
    """A finished curve.

    Attributes:
        rows: cells, top row first, all rows equally long.
        low, high: values at the bottom and at the top.
    """

    rows: list[list[Cell]]
    low: float
    high: float


def draw(series: Sequence[Series], *, width: int, height: int, last_x: float) -> Drawing:
    """Draw several series over the same axes; where they meet, the later one's colour shows.

    Args:
        series: the lines; those without points are left out.
        width, height: characters.
        last_x: right end of the axis, which begins at 1 (epochs count from 1).
    """
    values = [y for line in series for _, y in line.points]
    low, high = _range(values)
    bits = [[0] * width for _ in range(height)]
    styles = [[""] * width for _ in range(height)]
    across, down = width * _COLUMNS - 1, height * _ROWS - 1
    for line in series:
        dots = [
            (
                round((x - 1) / max(last_x - 1, 1) * across),
                round((high - y) / (high - low) * down),
            )
            for x, y in line.points
        ]
        for column, row in _connected(dots):
            bits[row // _ROWS][column // _COLUMNS] |= _DOTS[column % _COLUMNS][row % _ROWS]
            styles[row // _ROWS][column // _COLUMNS] = line.style
    rows = [
        [Cell(chr(_BRAILLE + bit) if bit else " ", style) for bit, style in zip(*pair, strict=True)]
        for pair in zip(bits, styles, strict=True)
    ]
    return Drawing(rows, low, high)


def _range(values: list[float]) -> tuple[float, float]:
    """Return bounds that are never equal."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.005, high + 0.005)


def _connected(dots: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the dots and those on the straight lines between neighbours."""
    drawn = dots[:1]
    for (x0, y0), (x1, y1) in pairwise(dots):
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        drawn += [
            (round(x0 + (x1 - x0) * i / steps), round(y0 + (y1 - y0) * i / steps))
            for i in range(1, steps + 1)
        ]
    return drawn

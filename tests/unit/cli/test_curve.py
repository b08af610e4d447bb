"""The curve in the terminal."""

from __future__ import annotations

from shared.cli.curve import Drawing, Series, draw


def _lines(drawing: Drawing) -> list[str]:
    return ["".join(cell.character for cell in row) for row in drawing.rows]


def _dots(drawing: Drawing) -> set[tuple[int, int]]:
    """Return (column, row) of each dot, from Unicode's own numbering of the dots."""
    places = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]
    return {
        (x * 2 + places[bit][0], y * 4 + places[bit][1])
        for y, line in enumerate(_lines(drawing))
        for x, character in enumerate(line)
        for bit in range(8)
        if character != " " and (ord(character) - 0x2800) >> bit & 1
    }


def test_a_rising_line_goes_from_bottom_left_to_top_right() -> None:
    drawing = draw([Series([(1, 0.0), (2, 1.0)], "blue")], width=2, height=1, last_x=2)
    assert _dots(drawing) == {(0, 3), (1, 2), (2, 1), (3, 0)}
    assert (drawing.low, drawing.high) == (0.0, 1.0)


def test_a_drawing_has_the_size_asked_for_and_leaves_epochs_to_come_empty() -> None:
    drawing = draw([Series([(1, 0.2), (5, 0.4)], "blue")], width=20, height=4, last_x=9)
    assert [len(line) for line in _lines(drawing)] == [20] * 4
    assert max(x for x, _ in _dots(drawing)) == 20  # epoch 5 of 9 lies in the middle of 40 dots


def test_the_later_series_colours_the_cells_that_both_touch() -> None:
    points = [(1.0, 0.0), (2.0, 1.0)]
    drawing = draw(
        [Series(points, "blue"), Series([(1.0, 0.0)], "green")], width=2, height=1, last_x=2
    )
    assert [cell.style for cell in drawing.rows[0]] == ["green", "blue"]


def test_equal_values_and_no_values_are_drawn_without_a_division_by_zero() -> None:
    flat = draw([Series([(1, 0.5), (2, 0.5)], "blue")], width=4, height=2, last_x=2)
    assert flat.low < 0.5 < flat.high
    assert len({y for _, y in _dots(flat)}) == 1
    assert _dots(draw([Series([], "blue")], width=4, height=2, last_x=1)) == set()

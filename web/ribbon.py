"""The ribbon under the curve: every attempt at a job, where it is drawn in time.

Owns the layout, in percentages of the ribbon's width: long breaks are drawn short, and short
attempts long enough to be pointed at. What a break is and costs, `web.breaks` knows. Must not
read SQL or the clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from web.breaks import Break, Row, Span, breaks, headline, last_sign, life, moment

# A break is never drawn longer than this share of all attempts together.
_LONGEST_GAP = 0.12
# An attempt is never drawn shorter than this share.
_SHORTEST = 0.03


@dataclass(frozen=True)
class Piece:
    """A part of the ribbon.

    Attributes:
        kind: `starting`, `trained`, `repeated`, `waiting` or `paused`.
        x, width: percentages of the ribbon's width.
    """

    kind: str
    x: float
    width: float


@dataclass(frozen=True)
class Segment:
    """One attempt.

    Attributes:
        attempt: its row.
        x, width: percentages of the ribbon's width.
        pieces: what it did, in order.
        word: how it ended, or "running".
        ended_at: its last sign of life, ISO 8601; None while it runs.
        broken: the break after it, if there is one.
        room: percentage of the width from its end to the next one's.
    """

    attempt: Row
    x: float
    width: float
    pieces: tuple[Piece, ...]
    word: str
    ended_at: str | None
    broken: Break | None
    room: float

    @property
    def end(self) -> float:
        """Where it ends, as a percentage."""
        return _round(self.x + self.width)


@dataclass(frozen=True)
class Ribbon:
    """All attempts at a job.

    Attributes:
        segments: attempts, in order.
        gaps: what lies between them.
        headline: the same in a sentence.
    """

    segments: tuple[Segment, ...]
    gaps: tuple[Piece, ...]
    headline: str

    @classmethod
    def lay_out(
        cls, job: Row, attempts: list[Row], events: list[Row], now: datetime
    ) -> Ribbon | None:
        """Lay out a job's attempts; see `web.breaks.breaks` for the arguments.

        Returns:
            None before the first attempt.
        """
        if not attempts:
            return None
        lives = [life(attempt, now) for attempt in attempts]
        found = breaks(job, attempts, events, now)
        places = _places(_lengths(lives, _end(job, lives, now)))
        ends = [x + width for x, width in places[::2]]
        rooms = [following - end for end, following in zip(ends, [*ends[1:], 100.0], strict=True)]
        rows = zip(attempts, lives, found, places[::2], rooms, strict=True)
        return cls(
            segments=tuple(_segment(*row) for row in rows),
            gaps=tuple(_gaps(found, places[1::2])),
            headline=headline(job, attempts, found),
        )

    @property
    def slim(self) -> bool:
        """Whether there is nothing to tell: one attempt, untroubled."""
        return len(self.segments) == 1 and self.segments[0].broken is None

    @property
    def kinds(self) -> set[str]:
        """The kinds of pieces and breaks that a legend must explain."""
        pieces = [piece for segment in self.segments for piece in segment.pieces]
        marks = {segment.broken.kind for segment in self.segments if segment.broken}
        return {piece.kind for piece in [*pieces, *self.gaps]} | marks


def _end(job: Row, lives: list[Span], now: datetime) -> datetime:
    """Return up to when the ribbon goes: to the present as long as the job is on its way."""
    return now if job["finished_at"] is None else lives[-1].ended


def _lengths(lives: list[Span], until: datetime) -> list[float]:
    """Return how long to draw attempts and the gaps after them, in turn, in seconds."""
    trained = sum(span.seconds for span in lives) or 1.0
    shortest = trained * min(_SHORTEST, 0.5 / len(lives))
    begins = [span.began for span in lives[1:]] + [until]
    lengths = []
    for span, following in zip(lives, begins, strict=True):
        gap = Span(span.ended, following).seconds
        lengths += [max(span.seconds, shortest), min(gap, trained * _LONGEST_GAP)]
    return lengths


def _places(lengths: list[float]) -> list[tuple[float, float]]:
    scale, at, places = 100.0 / sum(lengths), 0.0, []
    for length in lengths:
        places.append((at, length * scale))
        at += length * scale
    return places


def _gaps(found: list[Break | None], places: list[tuple[float, float]]) -> Iterator[Piece]:
    for broken, (x, width) in zip(found, places, strict=True):
        if width > 0:
            by_hand = broken is not None and broken.paused_seconds > broken.idle_seconds / 2
            yield Piece("paused" if by_hand else "waiting", _round(x), _round(width))


def _segment(
    attempt: Row, span: Span, broken: Break | None, place: tuple[float, float], room: float
) -> Segment:
    return Segment(
        attempt=attempt,
        x=_round(place[0]),
        width=_round(place[1]),
        pieces=tuple(_pieces(attempt, span, *place)),
        word=broken.kind if broken else attempt["outcome"] or "running",
        ended_at=last_sign(attempt),
        broken=broken,
        room=_round(room),
    )


def _pieces(attempt: Row, span: Span, x: float, width: float) -> Iterator[Piece]:
    first_step_at = attempt["first_step_at"]
    starting = repeated = 0.0
    if first_step_at is None:
        starting = 1.0
    elif span.seconds:
        starting = min(1.0, Span(span.began, moment(first_step_at)).seconds / span.seconds)
        repeated = min(attempt["lost_seconds"] / span.seconds, 1.0 - starting)
    shares = {"starting": starting, "trained": 1.0 - starting - repeated, "repeated": repeated}
    for kind, share in shares.items():
        if _round(width * share) > 0:
            yield Piece(kind, _round(x), _round(width * share))
        x += width * share


def _round(value: float) -> float:
    return round(value, 2)

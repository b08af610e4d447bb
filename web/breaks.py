"""What interrupted a job, and what that cost.

The cost of a break: the work that had to be repeated, and the time from the attempt's last sign
of life until the job trained again. A time for which a person had paused it is told, but is no
cost. Pure functions of JSON-compatible rows. Must not read SQL or the clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from web.present import duration

_NOUNS = {"lost": "loss", "preempted": "preemption", "crashed": "crash"}
_PLURALS = {"loss": "losses", "crash": "crashes"}

Row = dict[str, Any]


@dataclass(frozen=True)
class Span:
    """A span of time."""

    began: datetime
    ended: datetime

    @property
    def seconds(self) -> float:
        """Its length; of one that ends before it begins, none."""
        return max(0.0, (self.ended - self.began).total_seconds())

    def shared(self, other: Span) -> float:
        """Return the seconds that it has in common with another."""
        return Span(max(self.began, other.began), min(self.ended, other.ended)).seconds


@dataclass(frozen=True)
class Break:
    """Where an attempt ended and the job was not done.

    Attributes:
        kind: `lost`, `preempted`, `crashed` or `paused`.
        repeated_seconds: work that had to be done again.
        idle_seconds: from the attempt's last sign of life until the job trained again.
        paused_seconds: of this, as long as a person had paused it.
        over: whether the job has trained since, or is over.
    """

    kind: str
    repeated_seconds: float
    idle_seconds: float
    paused_seconds: float
    over: bool

    @property
    def restart_seconds(self) -> float:
        """The time until it trained again, without a pause that a person wanted."""
        return max(0.0, self.idle_seconds - self.paused_seconds)

    @property
    def cost_seconds(self) -> float:
        """All that it cost."""
        return self.repeated_seconds + self.restart_seconds


def moment(text: str) -> datetime:
    """Return an ISO 8601 time."""
    return datetime.fromisoformat(text)


def last_sign(attempt: Row) -> str | None:
    """Return when an attempt was last heard of, ISO 8601; None while it runs.

    That an attempt is lost is found out later than it happens.
    """
    heard_at: str | None = attempt["ended_at"]
    if heard_at is not None and attempt["outcome"] == "lost":
        heard_at = min(heard_at, attempt["heartbeat_at"], key=moment)
    return heard_at


def life(attempt: Row, now: datetime) -> Span:
    """Return an attempt's span, from its claim to its last sign of life."""
    began, ended = moment(attempt["claimed_at"]), last_sign(attempt)
    return Span(began, max(began, moment(ended) if ended else now))


def pauses(events: list[Row], now: datetime) -> list[Span]:
    """Return the spans for which people had paused a job, from its events in any order."""
    found: list[Span] = []
    began: datetime | None = None
    for event in sorted(events, key=lambda row: row["id"]):
        if event["kind"] == "paused" and began is None:
            began = moment(event["at"])
        elif event["kind"] in ("queued", "cancelled") and began is not None:
            found.append(Span(began, moment(event["at"])))
            began = None
    return found if began is None else [*found, Span(began, now)]


def breaks(job: Row, attempts: list[Row], events: list[Row], now: datetime) -> list[Break | None]:
    """Return the break after each attempt; None after one that runs or ended the job.

    Args:
        job: its row.
        attempts: their rows, in order.
        events: the job's; pauses are read from them.
        now: the present.
    """
    paused = pauses(events, now)
    found: list[Break | None] = []
    for attempt, following in zip(attempts, [*attempts[1:], None], strict=True):
        kind = _kind(job, attempt, following)
        idle = Span(life(attempt, now).ended, _trains_again(job, attempt, following, now))
        broken = Break(
            kind=kind,
            repeated_seconds=attempt["lost_seconds"],
            idle_seconds=idle.seconds,
            paused_seconds=sum(idle.shared(pause) for pause in paused),
            over=following is not None or job["finished_at"] is not None,
        )
        found.append(broken if kind else None)
    return found


def _kind(job: Row, attempt: Row, following: Row | None) -> str:
    outcome: str | None = attempt["outcome"]
    if outcome == "failed":
        ended_the_job = following is None and job["finished_at"] is not None
        return "" if ended_the_job else "crashed"
    return outcome if outcome in ("lost", "preempted", "paused") else ""


def _trains_again(job: Row, attempt: Row, following: Row | None, now: datetime) -> datetime:
    """Return when the break after an attempt was over."""
    if following is None:
        # For a job that is over nobody waited any more.
        return life(attempt, now).ended if job["finished_at"] else now
    first_step_at = following["first_step_at"]
    return moment(first_step_at) if first_step_at else life(following, now).ended


def headline(job: Row, attempts: list[Row], found: list[Break | None]) -> str:
    """Return such as "One curve, 3 attempts: 2 losses cost 41 s."."""
    subject = _count(len(attempts), "attempt")
    if job["epochs_done"] > 0 and len(attempts) > 1:
        subject = f"One curve, {subject}"
    told = [broken for broken in found if broken]
    parts = [words for words in (_costs(told), _paused(job, told)) if words]
    return f"{subject}: {'; '.join(parts)}." if parts else f"{subject}."


def _costs(found: list[Break]) -> str:
    costly = [broken for broken in found if broken.kind in _NOUNS]
    if not costly:
        return ""
    nouns = [_NOUNS[broken.kind] for broken in costly]
    counted = [_count(nouns.count(noun), noun) for noun in dict.fromkeys(nouns)]
    words = " and ".join([", ".join(counted[:-1]), counted[-1]] if counted[1:] else counted)
    seconds = duration(sum(broken.cost_seconds for broken in costly))
    return f"{words} cost {seconds}{'' if costly[-1].over else ' so far'}"


def _paused(job: Row, found: list[Break]) -> str:
    if job["status"] == "paused":
        return "paused now"
    seconds = sum(broken.paused_seconds for broken in found)
    return f"paused for {duration(seconds)}" if seconds else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun if number == 1 else _PLURALS.get(noun, f'{noun}s')}"

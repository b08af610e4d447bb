"""The ribbon of attempts: what a break costs, and where everything is drawn."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.records import iso
from web.breaks import Break, breaks
from web.ribbon import Piece, Ribbon

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def job(status: str = "succeeded", *, finished: float | None = 300.0, **changes: Any) -> Any:
    finished_at = None if finished is None else iso(at(finished))
    return {"status": status, "finished_at": finished_at, "epochs_done": 4} | changes


def attempt(
    claimed: float,
    ended: float | None,
    outcome: str | None,
    *,
    steps: bool = True,
    heard: float | None = None,
    lost_seconds: float = 0.0,
) -> dict[str, Any]:
    """Return an attempt that takes a second to its first step, if it gets there."""
    heard = heard if heard is not None else ended
    return {
        "claimed_at": iso(at(claimed)),
        "first_step_at": iso(at(claimed + 1)) if steps else None,
        "heartbeat_at": iso(at(claimed if heard is None else heard)),
        "ended_at": None if ended is None else iso(at(ended)),
        "outcome": outcome,
        "lost_seconds": lost_seconds,
    }


def event(number: int, kind: str, seconds: float) -> dict[str, Any]:
    return {"id": number, "kind": kind, "at": iso(at(seconds))}


def lay_out(
    attempts: list[Any], events: list[Any] | None = None, now: float = 300.0, **changes: Any
) -> Ribbon:
    ribbon = Ribbon.lay_out(job(**changes), attempts, events or [], at(now))
    assert ribbon is not None
    return ribbon


def found(
    attempts: list[Any], events: list[Any] | None = None, now: float = 300.0, **changes: Any
) -> list[Break | None]:
    return breaks(job(**changes), attempts, events or [], at(now))


LOST = attempt(0, 120, "lost", heard=100, lost_seconds=7)
LAST = attempt(123, 300, "succeeded")


def test_before_the_first_attempt_there_is_no_ribbon() -> None:
    assert Ribbon.lay_out(job("queued", finished=None), [], [], at(0)) is None


def test_one_untroubled_attempt_is_slim() -> None:
    ribbon = lay_out([attempt(0, 300, "succeeded")])
    assert ribbon.slim
    assert ribbon.headline == "1 attempt."
    assert [piece.kind for piece in ribbon.segments[0].pieces] == ["starting", "trained"]


def test_a_loss_costs_what_is_repeated_and_the_time_from_the_last_heartbeat_to_the_next_step() -> (
    None
):
    broken = found([LOST, LAST])[0]
    assert broken == Break("lost", repeated_seconds=7, idle_seconds=24, paused_seconds=0, over=True)
    assert broken.cost_seconds == 31
    ribbon = lay_out([LOST, LAST])
    assert ribbon.headline == "One curve, 2 attempts: 1 loss cost 31 s."
    assert not ribbon.slim


def test_breaks_of_each_kind_are_counted_apart() -> None:
    attempts = [
        attempt(0, 50, "lost", heard=40, lost_seconds=5),  # 5 + 61 - 40 = 26
        attempt(60, 100, "lost", heard=90, lost_seconds=2),  # 2 + 111 - 90 = 23
        attempt(110, 150, "preempted"),  # 161 - 150 = 11
        attempt(160, 200, "failed"),  # 203 - 200 = 3
        attempt(202, 300, "succeeded"),
    ]
    text = "One curve, 5 attempts: 2 losses, 1 preemption and 1 crash cost 1 min 3 s."
    assert lay_out(attempts).headline == text


def test_a_pause_is_told_but_only_its_restart_costs() -> None:
    events = [event(2, "queued", 700), event(1, "paused", 100)]
    attempts = [attempt(0, 100, "paused"), attempt(703, 800, "succeeded")]
    broken = found(attempts, events, finished=800)[0]
    assert broken is not None
    assert (broken.paused_seconds, broken.cost_seconds) == (600, 4)
    ribbon = lay_out(attempts, events, finished=800)
    assert ribbon.headline == "One curve, 2 attempts: paused for 10 min."
    assert [gap.kind for gap in ribbon.gaps] == ["paused"]


def test_a_pause_after_a_loss_is_not_part_of_its_cost() -> None:
    events = [event(1, "paused", 130), event(2, "queued", 730)]
    attempts = [LOST, attempt(733, 800, "succeeded")]
    broken = found(attempts, events, finished=800)[0]
    assert broken is not None
    assert broken.cost_seconds == 7 + 634 - 600


def test_what_still_goes_on_is_counted_up_to_now() -> None:
    waits: Any = {"status": "queued", "finished": None}
    assert lay_out([LOST], now=110, **waits).headline == "1 attempt: 1 loss cost 17 s so far."
    begun = attempt(123, None, None, steps=False)
    running: Any = {"status": "running", "finished": None}
    ribbon = lay_out([LOST, begun], now=130, **running)
    assert ribbon.headline == "One curve, 2 attempts: 1 loss cost 37 s."
    assert [segment.word for segment in ribbon.segments] == ["lost", "running"]
    paused: Any = {"status": "paused", "finished": None}
    ended = [attempt(0, 100, "paused")]
    assert lay_out(ended, [event(1, "paused", 100)], **paused).headline == "1 attempt: paused now."


def test_an_attempt_that_never_trained_belongs_to_the_break_before_it() -> None:
    stillborn = attempt(110, 130, "failed", steps=False)
    one, two, none = found([attempt(0, 100, "lost"), stillborn, attempt(140, 300, "succeeded")])
    assert one is not None
    assert two is not None
    assert (one.idle_seconds, two.idle_seconds, none) == (30, 11, None)


@pytest.mark.parametrize("outcome", ["lost", "failed"])
def test_nobody_waits_for_a_job_that_is_over(outcome: str) -> None:
    last = attempt(0, 100, outcome, lost_seconds=9)
    broken = found([last], status="failed", finished=100, now=9_000)[0]
    assert broken is None if outcome == "failed" else broken.cost_seconds == 9  # type: ignore[union-attr]


def test_the_parts_fill_the_ribbon_without_a_gap() -> None:
    ribbon = lay_out([LOST, LAST])
    pieces = [piece for segment in ribbon.segments for piece in segment.pieces] + [*ribbon.gaps]
    pieces.sort(key=lambda piece: piece.x)
    assert [piece.kind for piece in pieces] == [
        "starting",
        "trained",
        "repeated",
        "waiting",
        "starting",
        "trained",
    ]
    for one, following in itertools.pairwise(pieces):
        assert one.x + one.width == pytest.approx(following.x, abs=0.02)
    assert pieces[-1].x + pieces[-1].width == pytest.approx(100, abs=0.02)
    # Drawn in proportion: a second here is as wide as a second there.
    assert pieces[2].width / 7 == pytest.approx(pieces[3].width / 23, rel=0.02)


def test_a_long_break_is_drawn_short_and_a_short_attempt_can_be_pointed_at() -> None:
    attempts = [
        attempt(0, 1000, "preempted"),
        attempt(90_000, 90_002, "preempted"),
        attempt(90_010, 91_000, "succeeded"),
    ]
    ribbon = lay_out(attempts, finished=91_000)
    assert max(gap.width for gap in ribbon.gaps) < 12
    assert min(segment.width for segment in ribbon.segments) > 2


def test_a_hundred_attempts_still_fit() -> None:
    attempts = [attempt(10 * index, 10 * index + 9, "preempted") for index in range(100)]
    attempts.append(attempt(1000, 1010, "succeeded"))
    ribbon = lay_out(attempts, finished=1010)
    assert ribbon.segments[-1].end == pytest.approx(100, abs=0.02)
    assert min(segment.width for segment in ribbon.segments) > 0.4


def test_the_legend_names_only_what_is_there() -> None:
    assert lay_out([LOST, LAST]).kinds == {"starting", "trained", "repeated", "waiting", "lost"}
    assert Piece("paused", 0, 1) not in lay_out([LOST, LAST]).gaps

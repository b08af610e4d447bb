"""A viewer's mailbox: bounded, in order, and honest about what it lost."""

from __future__ import annotations

from itertools import islice

from web.streams import SYNC, Letter, ListStream, Mailbox
from web.wire import HEARTBEAT


def letter(number: int) -> Letter:
    return Letter(f"{number}".encode())


def stream(heartbeat_seconds: float = 30.0) -> ListStream:
    return ListStream(lambda _stream: None, heartbeat_seconds=heartbeat_seconds)


def test_letters_come_in_order() -> None:
    box = Mailbox()
    box.put([letter(1), letter(2)])
    box.put([letter(3)])
    assert [box.take(0), box.take(0), box.take(0), box.take(0)] == [
        letter(1), letter(2), letter(3), None,
    ]  # fmt: skip


def test_a_full_mailbox_keeps_only_the_news_that_it_was_full() -> None:
    box = Mailbox(max_letters=3)
    for number in range(10):
        box.put([letter(number)])
    left = []
    while (one := box.take(0)) is not None:
        left.append(one)
    assert len(left) <= 3
    assert left[0] not in [letter(number) for number in range(10)]


def test_a_viewer_that_fell_behind_is_told_to_look_again() -> None:
    viewer = stream()
    for number in range(1000):
        viewer.mailbox.put([letter(number)])
    viewer.end()
    frames = list(viewer.frames())
    assert SYNC.frame in frames
    assert len(frames) < 300


def test_silence_is_broken_by_heartbeats() -> None:
    frames = stream(heartbeat_seconds=0.001).frames()
    assert list(islice(frames, 1, 4)) == [HEARTBEAT] * 3


def test_a_stream_ends_when_it_is_told_to() -> None:
    viewer = stream()
    viewer.mailbox.put([letter(1)])
    viewer.end()
    viewer.mailbox.put([letter(2)])
    assert list(viewer.frames())[1:] == [b"1"]

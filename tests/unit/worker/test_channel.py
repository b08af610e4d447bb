"""The trainer's pipes."""

from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path

import pytest

from shared.protocol import Run, Stop, Stopped, parse_event
from shared.spec import JobSpec
from tests.waiting import wait_until
from worker.channel import Channel, Commands

RUN = Run(spec=JobSpec(), dataset_dir=Path("data"), work_dir=Path("work"))


def test_events_from_many_threads_never_mix() -> None:
    stream = io.BytesIO()
    channel = Channel(stream, on_broken=pytest.fail)

    def send(number: int) -> None:
        for step in range(200):
            channel.send(Stopped(epoch=number, step=step))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = [parse_event(line) for line in stream.getvalue().splitlines()]
    assert len(events) == 800


def test_a_reader_that_went_away_is_noticed() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    broken = threading.Event()
    with os.fdopen(writing, "wb", buffering=0) as stream:
        Channel(stream, on_broken=broken.set).send(Stopped(epoch=1, step=1))
    assert broken.is_set()


def commands_from(lines: bytes) -> tuple[Commands, threading.Event, threading.Event]:
    stop, end = threading.Event(), threading.Event()
    return Commands(io.BytesIO(lines), stop=stop, on_end=end.set), stop, end


def test_the_assignment_is_read_and_a_stop_sets_the_flag() -> None:
    commands, stop, end = commands_from((RUN.to_line() + Stop().to_line()).encode())
    assert commands.wait_for_assignment() == RUN
    wait_until(end.is_set)
    assert stop.is_set()


def test_the_end_of_the_input_is_told() -> None:
    _, stop, end = commands_from(b"")
    wait_until(end.is_set)
    assert not stop.is_set()


def test_a_line_that_is_no_command_is_told_and_passed_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    odd = json.dumps({"command": "dance"}).encode()
    commands, _, end = commands_from(b"\xff\n" + odd + b"\n" + RUN.to_line().encode())
    assert commands.wait_for_assignment() == RUN
    wait_until(end.is_set)
    assert "dance" in capsys.readouterr().err

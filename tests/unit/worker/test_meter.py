"""Processor time and memory of real processes, by a clock that the test moves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass

import psutil
import pytest

from worker.meter import ProcessMeter

_BUSY = (
    "import sys, time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\nsys.stdin.read()"
)


@dataclass
class Clock:
    """A clock that stands still until it is set."""

    now: float = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def burn(seconds: float) -> None:
    """Use this much of the processor's time."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_the_first_reading_is_only_a_beginning() -> None:
    assert ProcessMeter(os.getpid(), Clock()).read() == {}


def test_a_core_at_work_half_of_the_time_is_fifty_percent() -> None:
    clock = Clock()
    meter = ProcessMeter(os.getpid(), clock)
    meter.read()
    burn(0.5)
    clock.now += 1.0
    figures = meter.read()

    assert figures["cpu_percent"] == pytest.approx(50, abs=15)
    me = psutil.Process()
    everybody = sum(one.memory_info().rss for one in [me, *me.children(recursive=True)])
    assert figures["memory_bytes"] == pytest.approx(everybody, rel=0.2)


def test_children_count_and_one_that_has_ended_takes_nothing_away() -> None:
    clock = Clock()
    meter = ProcessMeter(os.getpid(), clock)
    meter.read()
    child = subprocess.Popen(
        [sys.executable, "-c", _BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout
        child.stdout.readline()
        clock.now += 10.0  # long enough to look for children
        figures = meter.read()
        child.communicate()
    clock.now += 1.0

    assert figures["cpu_percent"] > 100 * 0.3 / 10 * 0.9
    assert meter.read()["cpu_percent"] >= 0


def test_a_process_that_is_gone_has_no_figures() -> None:
    clock = Clock()
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    meter = ProcessMeter(child.pid, clock)
    meter.read()
    clock.now += 1.0
    assert meter.read() == {}

"""Processes that the yard keeps running: start, print, restart, end.

Each runs in a process group of its own inside the wrapper `shared.yard.child`, so that nothing
outlives the supervisor, however the supervisor ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared.yard.output import Output

_CHILD = Path(__file__).with_name("child.py")
_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 30.0
_STEADY_SECONDS = 60.0
_LAST_LINES_SECONDS = 1.0
_RECENT_LINES = 20
_LONGEST_LINE_BYTES = 65536


@dataclass(frozen=True)
class Part:
    """A process of the yard.

    Attributes:
        name: prefix of its lines and name of its log file.
        command: program and arguments.
        environment: its whole environment.
        stop_seconds: time it has to end after SIGTERM, before its group is killed.
        quiet: whether its lines go to the log file only.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    stop_seconds: float
    quiet: bool = False


@dataclass
class Lifeline:
    """The pipe by which a wrapper notices that nobody needs its process any more.

    Attributes:
        watched: read end, for the part's own wrapper.
        held: write end, for the supervisor and for the wrappers of parts that need this one.
    """

    watched: int = field(init=False)
    held: int = field(init=False)

    def __post_init__(self) -> None:
        self.watched, self.held = os.pipe()

    def close(self) -> None:
        """Close both ends."""
        os.close(self.watched)
        os.close(self.held)


class Process:
    """One run of a part. Made by `start`."""

    def __init__(self, part: Part, output: Output, wrapper: asyncio.subprocess.Process) -> None:
        self.part = part
        self.recent: deque[str] = deque(maxlen=_RECENT_LINES)
        self._output = output
        self._wrapper = wrapper
        self._pump: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls, part: Part, output: Output, lifeline: Lifeline, held: Sequence[int] = ()
    ) -> Process:
        """Start the part.

        Args:
            part: what to start.
            output: takes its lines.
            lifeline: of this part.
            held: descriptors that its wrapper keeps open as long as it lives: the lifelines of
                the parts that it needs, the lock of the data folder.
        """
        reading, writing = os.pipe()
        try:
            wrapper = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_CHILD)),
                *(str(lifeline.watched), str(reading)),
                *(str(output.log_path(part.name)), str(part.stop_seconds)),
                *part.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                env=part.environment,
                pass_fds=(lifeline.watched, reading, *held),
                start_new_session=True,
            )
        finally:
            os.close(writing)
        process = cls(part, output, wrapper)
        process._pump = asyncio.create_task(process._print(reading))
        return process

    @property
    def group(self) -> int:
        """Id of its process group."""
        return self._wrapper.pid

    async def wait(self) -> int:
        """Wait for its end, sweep up what it left behind, and return its exit status."""
        status = await self._wrapper.wait()
        self.kill()
        if self._pump:  # bounded: a process outside the group may hold the pipe open
            await asyncio.wait({self._pump}, timeout=_LAST_LINES_SECONDS)
            self._pump.cancel()
        return status

    async def stop(self, grace_seconds: float) -> None:
        """Ask it to end, and make it end when the grace is over."""
        with contextlib.suppress(ProcessLookupError):
            self._wrapper.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._wrapper.wait(), grace_seconds)
        except TimeoutError:
            self._output.say(f"{self.part.name} did not end in {grace_seconds:g} s: killed")
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill what is left of its process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.group, signal.SIGKILL)

    async def _print(self, reading: int) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb")
        )
        rest = b""
        while chunk := await reader.read(_LONGEST_LINE_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(line)
            if len(rest) >= _LONGEST_LINE_BYTES:
                self._take(rest)
                rest = b""
        if rest:
            self._take(rest)
        transport.close()

    def _take(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        self.recent.append(text)
        self._output.line(self.part.name, text, quiet=self.part.quiet)


async def run_once(part: Part, output: Output, held: Sequence[int] = ()) -> tuple[int, list[str]]:
    """Run a part that ends by itself; when cancelled, it is killed.

    Args:
        part, output, held: see `Process.start`.

    Returns:
        Its exit status and its last lines.
    """
    lifeline = Lifeline()
    try:
        process = await Process.start(part, output, lifeline, held)
        try:
            return await process.wait(), list(process.recent)
        finally:
            process.kill()
    finally:
        lifeline.close()


class Keeper:
    """Keeps a part running until it is told to stop; restarts are announced.

    Args:
        part: what to keep running.
        output: takes its lines.
        held: see `Process.start`.
    """

    def __init__(self, part: Part, output: Output, held: Sequence[int] = ()) -> None:
        self.part = part
        self.lifeline = Lifeline()
        self.failures = 0
        self.process: Process | None = None
        self._output = output
        self._held = held
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the part, and go on keeping it."""
        self._task = asyncio.create_task(self._keep(), name=self.part.name)

    async def stop(self, hurry: asyncio.Event | None = None) -> None:
        """End the part and do not start it again.

        Args:
            hurry: when set, the rest of the grace is skipped.
        """
        self._stopping.set()
        if self.process:
            stopping = asyncio.create_task(self.process.stop(self.part.stop_seconds))
            await _unless(stopping, hurry)
        if self._task:
            await self._task

    async def _keep(self) -> None:
        while not self._stopping.is_set():
            started = time.monotonic()
            self.process = await Process.start(self.part, self._output, self.lifeline, self._held)
            if self._stopping.is_set():  # told while it was being started
                self.process.kill()
            status = await self.process.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - started >= _STEADY_SECONDS:
                self.failures = 0
            self.failures += 1
            await self._pause(status)

    async def _pause(self, status: int) -> None:
        delay = restart_delay_seconds(self.failures)
        self._output.say(
            f"{self.part.name} {describe_status(status)}; starting it again in {delay:g} s"
        )
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay)


def restart_delay_seconds(failures: int) -> float:
    """Return how long to wait before the next start: 0.5 s, doubled each time, at most 30 s.

    Args:
        failures: ends in a row without a steady minute between them, from 1.
    """
    return min(_FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 16), _LONGEST_DELAY_SECONDS)


def describe_status(status: int) -> str:
    """Say how a process ended.

    Args:
        status: exit status; above 128 or below 0: ended by a signal.
    """
    number = -status if status < 0 else status - 128
    try:
        return f"was ended by {signal.Signals(number).name}"
    except ValueError:
        return f"ended with status {status}"


async def _unless(stopping: asyncio.Task[None], hurry: asyncio.Event | None) -> None:
    """Wait for `stopping`, or cut it short once `hurry` is set."""
    hurried = asyncio.create_task(hurry.wait() if hurry else asyncio.Event().wait())
    await asyncio.wait({stopping, hurried}, return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    stopping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await stopping

"""`python -m worker.importing`: reads files for an importer, within bounds, and ends.

Owns what the process is: its limits, what it reports, its exit codes. The importer's `Read` comes
on standard input; the end of input means that the importer is gone.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

from shared.protocol import Event, Failed
from shared.reading import Read, ReadDone, Reading
from worker.channel import Channel, Commands

EXIT_DONE = 0
EXIT_REFUSED = 1
EXIT_ABANDONED = 4

_REPORT_SECONDS = 0.2
_NICENESS = 10


def main() -> NoReturn:
    """Carry out one `Read`."""
    channel = Channel.on_stdout(on_broken=_abandon)
    commands = Commands(sys.stdin.buffer, stop=threading.Event(), on_end=_abandon)
    command = commands.wait_for_assignment()
    code = EXIT_REFUSED
    if isinstance(command, Read):
        bound(command)
        answer = carry_out(command, channel)
        channel.send(answer)
        code = EXIT_DONE if answer.event == "read_done" else EXIT_REFUSED
    sys.stderr.flush()
    os._exit(code)


def bound(command: Read) -> None:
    """Bound the process's memory and processor time, and stand back behind training."""
    os.nice(_NICENESS)
    memory, seconds = command.limits.memory_bytes, round(command.limits.seconds) + 1
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def carry_out(command: Read, channel: Channel) -> Event:
    """Read the files; return the event that says what came of it."""
    from worker.importing.faults import BadFile

    due = 0.0

    def report(doing: str, share: float) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + _REPORT_SECONDS
            channel.send(Reading(doing=doing, share=min(share, 1.0)))

    try:
        return _read(command, report)
    except BadFile as error:
        return error.event()
    except Exception as error:  # noqa: BLE001  whatever it is, the person is told
        if not isinstance(error, MemoryError | OSError):
            traceback.print_exc()
        return _describe(error, command)


def _read(command: Read, report: Callable[[str, float], None]) -> ReadDone:
    from worker.importing.build import Builder
    from worker.importing.context import Context
    from worker.importing.formats import read

    context = Context.of(command.options, command.limits)
    report("Reading", 0.0)
    with (
        Builder(command.out_dir, context, report) as builder,
        contextlib.closing(read(command.files, context)) as chunks,
    ):
        for chunk in chunks:
            builder.add(chunk)
        return builder.finish()


def _describe(error: Exception, command: Read) -> Failed:
    """Say what is wrong that is no fault of the files, or none that was looked for."""
    if isinstance(error, MemoryError):
        return Failed(
            kind="out_of_memory",
            evidence=f"Reading took more than the {command.limits.memory_bytes:,} bytes that it "
            "may.",
            suggestion="Send the data as .npz or IDX, or raise TRAINYARD_IMPORT_MEMORY_BYTES.",
        )
    if isinstance(error, OSError):
        return Failed(
            kind="internal",
            evidence=f"The worker could not write the data: {error}.",
            suggestion="Look at its disk.",
        )
    return Failed(
        kind="internal",
        evidence=f"{type(error).__name__}: {error}",
        suggestion="The files may be damaged. If they are not, this is a bug: the worker's log "
        "has the rest.",
    )


def _abandon() -> NoReturn:
    os._exit(EXIT_ABANDONED)

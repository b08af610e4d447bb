"""The wrapper around each part of the yard: ends the part when the supervisor is gone.

The supervisor starts it in a process group of its own as

    python -I -S child.py LIFELINE OUTPUT LOG GRACE_SECONDS PROGRAM [ARGUMENT ...]

It runs the program, hands signals on to it, and ends with its exit status (128 + n for signal
n). Meanwhile it watches the lifeline: a pipe whose write end the supervisor holds. End of file
there means that the supervisor died without a word. Then the wrapper ends the program itself:
SIGTERM, a grace, SIGKILL to the whole group. That works the same on Linux and macOS.

OUTPUT is the read end of the pipe that the program's output goes into. As long as the
supervisor lives, it reads there; afterwards the wrapper does and appends to LOG, so that a
program that prints while it ends is neither killed by the broken pipe nor stuck on a full one.

Standard library only, and little of it: it starts in about 10 ms and stays small.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_READ_BYTES = 65536
_POLL_SECONDS = 0.05


def main(arguments: list[str]) -> int:
    """Run the program to its end, or to the supervisor's.

    Args:
        arguments: see the module's docstring.

    Returns:
        The exit status for this process.
    """
    lifeline, output = int(arguments[0]), int(arguments[1])
    log_path, grace_seconds = arguments[2], float(arguments[3])
    signals: list[int] = []
    woken = _collect_signals(signals)
    program = subprocess.Popen(arguments[4:], stdin=subprocess.DEVNULL)
    while program.poll() is None:
        readable, _, _ = select.select([woken, lifeline], [], [])
        if lifeline in readable:
            _end(program, output, log_path, grace_seconds)
        if woken in readable:
            os.read(woken, _READ_BYTES)
        while signals:
            program.send_signal(signals.pop(0))
    return program.returncode if program.returncode >= 0 else 128 - program.returncode


def _collect_signals(signals: list[int]) -> int:
    """Append each signal to `signals`; return a descriptor that is readable after one came."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in _FORWARDED:
        signal.signal(number, lambda received, _frame: signals.append(received))
    signal.signal(signal.SIGCHLD, lambda *_: None)  # only to wake up
    return woken


def _end(
    program: subprocess.Popen[bytes], output: int, log_path: str, grace_seconds: float
) -> None:
    """End the program and everything in this process group, this process included."""
    program.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    while program.poll() is None and time.monotonic() < deadline:
        readable, _, _ = select.select([output], [], [], _POLL_SECONDS)
        if readable:
            os.write(log, os.read(output, _READ_BYTES))
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

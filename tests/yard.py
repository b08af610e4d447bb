"""A whole yard for tests: `trainyard up` on a free port, as a user starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.services import free_port
from tests.waiting import wait_until

_ROOT = Path(__file__).parents[1]
_READY_SECONDS = 60.0
_STOP_SECONDS = 45.0
_COMMAND_SECONDS = 150.0


@dataclass
class RunningYard:
    """A yard that is up.

    Attributes:
        url: address of its web server.
        data_dir: its data folder; logs are in `logs/`.
        process: the supervisor.
    """

    url: str
    data_dir: Path
    process: subprocess.Popen[bytes]

    @property
    def console(self) -> str:
        """What `trainyard up` has printed so far."""
        return console_path(self.data_dir).read_text(errors="replace")

    def api(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the HTTP API, by POST if there is a body; return the JSON of its answer."""
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            document = json.load(response)
        assert isinstance(document, dict)
        return document

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal, wait for the end, and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(_STOP_SECONDS)


def command(*arguments: str) -> list[str]:
    """Return the command line of `trainyard` with these arguments."""
    return [sys.executable, "-m", "shared.cli", *arguments]


def trainyard(
    *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `trainyard` to its end, and return its status and what it printed.

    Args:
        arguments: of the command line.
        environment: variables beside the test's own.
    """
    return subprocess.run(
        command(*arguments),
        cwd=_ROOT,
        env=_environment() | dict(environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_COMMAND_SECONDS,
        check=False,
    )


def start_yard(
    data_dir: Path,
    *,
    port: int | None = None,
    workers: int = 1,
    arguments: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
) -> RunningYard:
    """Start `trainyard up`, and return at once; the caller stops it.

    Args:
        data_dir: its data folder.
        port: a free one unless given.
        workers: worker processes.
        arguments: more arguments.
        environment: variables beside the test's own.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    options = ["--port", str(port), "--data-dir", str(data_dir), "--workers", str(workers)]
    with console_path(data_dir).open("wb") as console:
        process = subprocess.Popen(
            command("up", *options, *arguments),
            cwd=_ROOT,
            env=_environment() | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
        )
    return RunningYard(f"http://127.0.0.1:{port}", data_dir, process)


def _environment() -> dict[str, str]:
    """Return the test's environment without the developer's own settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TRAINYARD_")}


@contextmanager
def running_yard(
    data_dir: Path,
    *,
    port: int | None = None,
    workers: int = 1,
    arguments: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[RunningYard]:
    """Run `trainyard up`, wait until it is ready, and end it cleanly.

    Args:
        data_dir, port, workers, arguments, environment: see `start_yard`.

    Raises:
        AssertionError: it was not ready in time; the message holds what it printed.
    """
    yard = start_yard(
        data_dir, port=port, workers=workers, arguments=arguments, environment=environment
    )
    try:
        wait_for_ready(yard)
        yield yard
    finally:
        try:
            yard.stop()
        except subprocess.TimeoutExpired:
            yard.process.kill()  # its parts notice, and end
            raise


def wait_for_ready(yard: RunningYard) -> None:
    """Wait until the yard says that it is ready.

    Raises:
        AssertionError: it ended, or did not say so in time.
    """
    ready = f"ready at {yard.url}"

    def ready_or_ended() -> bool:
        return ready in yard.console or yard.process.poll() is not None

    try:
        wait_until(ready_or_ended, _READY_SECONDS, what="the yard is ready")
    finally:
        assert ready in yard.console, f"The yard did not come up:\n{yard.console}"


def console_path(data_dir: Path) -> Path:
    """Return the file that takes what `trainyard up` prints."""
    return data_dir / "console.log"

"""`trainyard demo`: a yard, one real job, its picture in the terminal, and the page's address."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from pathlib import Path
from typing import Any

from rich.console import Console

from shared.cli.client import Client
from shared.cli.environment import read_settings
from shared.cli.stream import Follower
from shared.cli.tables import make_console
from shared.cli.watch import exit_status, watch
from shared.settings import Settings
from shared.yard.addresses import free_port, port_is_free
from shared.yard.lock import find_holder
from shared.yard.parts import YardOptions
from shared.yard.readiness import wait_until_ready
from shared.yard.up import run_with

_HOST = "127.0.0.1"
_USUAL_PORT = 8080
_START_SECONDS = 30.0
_LAST_PICTURE_SECONDS = 2.0


class _Ended(Exception):
    """The yard stops, and the demo with it."""


def run(
    body: dict[str, Any], *, port: int | None, data_dir: Path | None, exit_when_done: bool
) -> int:
    """Show a training job in a yard of its own, or in the one that serves the data folder.

    Args:
        body: the submission.
        port: of the web server; None: the usual one, or a free one if that is taken.
        data_dir: overrides TRAINYARD_DATA_DIR.
        exit_when_done: end the yard after the job, instead of serving on.

    Returns:
        0, or 1 if the job failed.

    Raises:
        TrainyardError: the yard does not come up, or the job is refused.
    """
    settings = read_settings(data_dir)
    console = make_console()
    holder = find_holder(settings.data_dir)
    if holder and holder.alive:
        console.print(f"A yard serves {settings.data_dir} at {holder.url}.")
        return _Demo(settings, body, console).train_elsewhere(holder.url)
    options = YardOptions(settings, _HOST, port or _port(), workers=1)
    console.print(f"Starting a yard in {settings.data_dir} ...")
    with contextlib.closing(_Demo(settings, body, console)) as demo:
        return run_with(
            options, lambda url: demo.train_and_serve(url, exit_when_done), only_own_words=True
        )


def _port() -> int:
    return _USUAL_PORT if port_is_free(_HOST, _USUAL_PORT) else free_port(_HOST)


class _Demo:
    def __init__(self, settings: Settings, body: dict[str, Any], console: Console) -> None:
        self._body = body
        self._console = console
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        token = settings.access_token or settings.token
        self._token = token.get_secret_value() if token else None

    def train(self, url: str) -> int:
        """Submit the job, show it to its end, and print its page's address."""
        client = Client(url, self._token)
        with contextlib.closing(client):
            job = client.post("/jobs", self._body)
            page = client.page_of(job["id"])
            self._console.print(f"Training {job['name']}; its curves grow at {page}")
            view = watch(Follower(client, job["id"], pause=self._pause).messages(), self._console)
        self._console.print(f"Look at it again: {page}")
        return exit_status(view)

    def train_elsewhere(self, url: str) -> int:
        """Run `train` in a yard that runs already, or is just being started."""
        with contextlib.suppress(TimeoutError):  # then `train` says what is wrong
            asyncio.run(asyncio.wait_for(wait_until_ready(url, self._token, list), _START_SECONDS))
        return self.train(url)

    async def train_and_serve(self, url: str, exit_when_done: bool) -> int:
        """Run `train` beside the yard, and then wait for the yard's end."""
        try:
            status = await asyncio.wrap_future(self._train_in_thread(url))
        except asyncio.CancelledError:
            self._ended.set()
            raise
        if not exit_when_done:
            self._console.print("The yard goes on serving; Ctrl-C ends it.")
            await asyncio.Event().wait()
        return status

    def close(self) -> None:
        """Let the picture come to its end, which gives the terminal its cursor back."""
        if self._thread:
            self._thread.join(_LAST_PICTURE_SECONDS)

    def _train_in_thread(self, url: str) -> concurrent.futures.Future[int]:
        """Run `train` in a thread that does not hold up the end of the process."""
        result: concurrent.futures.Future[int] = concurrent.futures.Future()
        result.set_running_or_notify_cancel()  # from now on nobody can cancel it

        def work() -> None:
            try:
                result.set_result(self.train(url))
            except Exception as error:  # noqa: BLE001 - whoever awaits the result gets it
                result.set_exception(error)

        self._thread = threading.Thread(target=work, name="demo", daemon=True)
        self._thread.start()
        return result

    def _pause(self, seconds: float) -> None:
        """Wait before another look at the job, which makes no sense once the yard has ended."""
        if self._ended.wait(seconds):
            raise _Ended

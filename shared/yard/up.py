"""`trainyard up`: every part of the yard under one supervisor.

Starts what does not depend on each other at once, keeps it running, and ends it in order:
workers first, for they checkpoint and hand their jobs back; then web and scheduler; Redis last.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager

from shared.errors import ConfigurationError, TrainyardError
from shared.yard import redis_server
from shared.yard.addresses import is_loopback, require_free_port, url_of
from shared.yard.lock import FolderLock, Holder
from shared.yard.output import Output
from shared.yard.parts import Plan, YardOptions, plan
from shared.yard.processes import Keeper, Part, describe_status, run_once
from shared.yard.readiness import wait_until_ready

WhenReady = Callable[[str], Awaitable[int]]

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FAILURES_AT_START = 3
_POLL_SECONDS = 0.1
# A yard whose supervisor was killed is gone after its parts' own grace.
_LOCK_PATIENCE_SECONDS = 40.0


class StartFailed(TrainyardError):
    """A part of the yard does not come up."""


def run(options: YardOptions) -> int:
    """Run the yard until a signal ends it, with all its lines on standard output.

    Args:
        options: what to run.

    Returns:
        The exit status: 0 after a clean stop.

    Raises:
        ConfigurationError: the options cannot be used.
        FolderTaken: another yard runs in the data folder.
        StartFailed: a part does not come up.
    """
    return run_with(options, None)


def run_with(
    options: YardOptions, when_ready: WhenReady | None, *, only_own_words: bool = False
) -> int:
    """Run the yard, and `when_ready` beside it.

    Args:
        options: what to run.
        only_own_words: whether to show only what the yard itself has to say.
        when_ready: gets the address once the yard is ready; when it returns, the yard stops.

    Returns:
        0 after a clean stop, or what `when_ready` returned.

    Raises:
        See `run`.
    """
    check(options)
    data_dir = options.settings.data_dir
    data_dir.mkdir(parents=True, exist_ok=True)
    with (
        _locked(options) as lock,
        closing(
            Output(data_dir / "logs", lambda: sys.stdout, only_own_words=only_own_words)
        ) as output,
    ):
        return asyncio.run(Yard(options, plan(options), output, lock).run(when_ready))


def check(options: YardOptions) -> None:
    """Check what can be checked before anything is started.

    Raises:
        ConfigurationError: naming the option and what to do.
    """
    if not is_loopback(options.host) and options.settings.access_token is None:
        raise ConfigurationError(
            f"--host {options.host} lets other machines in, so an access token is required: "
            "set TRAINYARD_ACCESS_TOKEN, or bind to 127.0.0.1."
        )
    if options.redis_port and options.settings.redis_url:
        raise ConfigurationError(
            "--redis-port is for the embedded Redis, but TRAINYARD_REDIS_URL names another one."
        )


@contextmanager
def _locked(options: YardOptions) -> Iterator[FolderLock]:
    lock = FolderLock.take(options.settings.data_dir, patience_seconds=_LOCK_PATIENCE_SECONDS)
    try:
        # After the lock: a yard that is still ending gives its port back.
        require_free_port(options.host, options.port)
        if options.redis_port:
            require_free_port("127.0.0.1", options.redis_port)
        lock.announce(Holder(os.getpid(), url_of(options.host, options.port)))
        yield lock
    finally:
        lock.release()


class Yard:
    """All parts of one yard.

    Args:
        options: addresses and settings.
        plan: the parts.
        output: takes the parts' lines.
        lock: the held lock of the data folder.
    """

    def __init__(self, options: YardOptions, plan: Plan, output: Output, lock: FolderLock) -> None:
        self._options = options
        self._plan = plan
        self._output = output
        self._lock = lock
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._redis: Keeper | None = None
        self._servers: list[Keeper] = []
        self._workers: list[Keeper] = []

    async def run(self, when_ready: WhenReady | None) -> int:
        """Start everything, wait for a signal (or for `when_ready`), end everything."""
        for number in _STOP_SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal)
        try:
            return await self._until_stopped(self._serve(when_ready))
        finally:
            await self._stop()

    def _on_signal(self) -> None:
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def _until_stopped(self, serving: Awaitable[int]) -> int:
        task = asyncio.ensure_future(serving)
        stopped = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if task.done():
            return task.result()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return 0

    async def _serve(self, when_ready: WhenReady | None) -> int:
        await self._start()
        await self._watched(self._until_ready())
        url = url_of(self._options.host, self._options.port)
        self._banner(url)
        if when_ready is not None:
            return await when_ready(url)
        await asyncio.Event().wait()  # until a signal cancels it
        return 0

    async def _start(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._start_redis_and_web())
                group.create_task(self._migrate(self._plan.migrations))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        self._servers.append(self._keep(self._plan.scheduler))
        self._workers = [self._keep(part) for part in self._plan.workers]

    async def _start_redis_and_web(self) -> None:
        """Start Redis, then the web server: it takes longest, so it does not wait for SQL."""
        if self._plan.redis is not None:
            settings = self._options.settings
            redis_server.prepare_folders(settings)
            self._redis = self._keep(self._plan.redis)
            await self._watched(redis_server.wait_until_answering(settings.redis_socket))
        self._servers.append(self._keep(self._plan.web))

    async def _migrate(self, part: Part) -> None:
        status, lines = await run_once(part, self._output, [self._lock.descriptor])
        if status != 0:
            raise self._failure(part, lines, describe_status(status))

    def _keep(self, part: Part) -> Keeper:
        """Start a part; its wrapper holds the folder's lock, and the lifeline of Redis."""
        held = [self._lock.descriptor]
        if self._redis:
            held.append(self._redis.lifeline.held)
        keeper = Keeper(part, self._output, held)
        keeper.start()
        return keeper

    async def _until_ready(self) -> None:
        token = self._options.settings.access_token
        while not all(worker.process for worker in self._workers):
            await asyncio.sleep(_POLL_SECONDS)
        await wait_until_ready(
            url_of(self._options.host, self._options.port),
            token.get_secret_value() if token else None,
            lambda: [worker.process.group for worker in self._workers if worker.process],
        )

    async def _watched(self, waiting: Awaitable[None]) -> None:
        """Await something that needs the parts to be up, and give up when one does not come up."""
        task = asyncio.ensure_future(waiting)
        try:
            while not (await asyncio.wait({task}, timeout=_POLL_SECONDS))[0]:
                self._require_no_failure()
            await task
        finally:
            task.cancel()

    def _require_no_failure(self) -> None:
        for keeper in self._keepers:
            if keeper.failures >= _FAILURES_AT_START and keeper.process:
                raise self._failure(
                    keeper.part, list(keeper.process.recent), f"ended {keeper.failures} times"
                )

    def _failure(self, part: Part, lines: list[str], what: str) -> StartFailed:
        said = "".join(f"\n  {line}" for line in lines)
        log = self._output.log_path(part.name)
        return StartFailed(f"{part.name} does not come up: it {what}. From {log}:{said}")

    @property
    def _keepers(self) -> list[Keeper]:
        return [*self._workers, *self._servers, *([self._redis] if self._redis else [])]

    def _banner(self, url: str) -> None:
        settings = self._options.settings
        self._output.say(f"ready at {url}")
        self._output.say(f"data in {settings.data_dir}, logs in {self._output.logs_dir}")
        self._output.say("Ctrl-C ends it; waiting jobs go on at the next start")

    async def _stop(self) -> None:
        """End all parts, whoever needs another one first."""
        if self._stopping.is_set() and self._workers:
            self._output.say("stopping: workers hand their jobs back (Ctrl-C again: at once)")
        redis = [self._redis] if self._redis else []
        for tier in (self._workers, self._servers, redis):
            await asyncio.gather(*(keeper.stop(self._hurry) for keeper in tier))
        self._output.say("stopped")

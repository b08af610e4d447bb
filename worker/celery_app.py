"""The Celery side of the worker: hears the bell, and hands the thread to the host.

Threads, not processes: supervisors only wait, the computing happens in the trainers, and a stop
signal reaches all of them.
"""

from __future__ import annotations

import logging
import os
import signal
import warnings
from typing import Any

from celery import Celery, signals
from celery.exceptions import SecurityWarning

from shared.queue import TASK_NAME, Bell, make_celery
from worker.host import Host, ring_for_waiting_work
from worker.spot import SpotWatcher
from worker.watchdog import Watchdog

_SPOT_NOTICE = "The cloud takes this machine away."

log = logging.getLogger(__name__)


def make_app(host: Host) -> Celery:
    """Build the Celery app whose single task runs waiting jobs on `host`."""
    settings = host.yard.settings
    app = make_celery(settings)
    app.conf.update(worker_pool="threads", worker_concurrency=host.slot_count)

    @app.task(name=TASK_NAME, ignore_result=True)  # type: ignore[untyped-decorator]
    def work(queue: str, job_id: int | None = None) -> None:
        log.debug("Queue %s has work (job %s).", queue, job_id)
        host.work()

    return app


def run(host: Host) -> int:
    """Serve until the process is told to stop; then hand the jobs back and end cleanly.

    Returns:
        The exit code: 1 if Celery could not go on, so that whoever watches starts it anew.
    """
    settings = host.yard.settings
    app = make_app(host)

    class Worker(app.Worker):  # type: ignore[misc, name-defined]
        """A Celery worker that hands its jobs back also when it is Celery that cannot go on.

        It would wait for the jobs that run, for days, and hear of no other meanwhile.
        """

        gave_up = False  # nobody had told it to stop

        def stop(self, *args: Any, **options: Any) -> None:
            self.gave_up |= not host.stopping
            host.begin_stop()
            super().stop(*args, **options)

        def reconnect(self) -> None:
            """Let the consumer think that it lost its connection; safe in any thread."""
            self.hub.call_soon(_lose_connection)

    @signals.worker_shutting_down.connect(weak=False)  # type: ignore[untyped-decorator]
    def _drain(**_: Any) -> None:
        host.begin_stop()

    @signals.worker_ready.connect(weak=False)  # type: ignore[untyped-decorator]
    def _ready(**_: Any) -> None:
        bell = Bell(settings)
        ring_for_waiting_work(bell, settings.queue_names, host.slot_count)
        bell.close()
        log.info("Worker %s is ready: %d slots.", settings.worker_name, host.slot_count)

    # Celery warns root of pickled messages; ours are JSON, and nothing else is accepted.
    warnings.simplefilter("ignore", SecurityWarning)
    spot = _watch_spot(host)
    host.start()
    watchdog: Watchdog | None = None
    try:
        consumer = Worker(
            queues=settings.queue_names,
            hostname=f"trainyard@{settings.worker_name}",
            loglevel=settings.log_level,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )
        watchdog = Watchdog(host, Bell(settings), consumer.reconnect)
        watchdog.start()
        consumer.start()
        return int(consumer.gave_up)
    finally:
        if spot is not None:
            spot.stop()
        if watchdog is not None:
            watchdog.stop()
        host.stop()


def _lose_connection() -> None:
    raise ConnectionError("The consumer is deaf.")


def _watch_spot(host: Host) -> SpotWatcher | None:
    """Stop, as SIGTERM does it, when the cloud says that it takes this machine away."""
    settings = host.yard.settings
    if settings.spot == "off":
        return None

    def leave() -> None:
        os.kill(os.getpid(), signal.SIGTERM)  # first: SQL may be away
        host.begin_leaving(_SPOT_NOTICE)

    watcher = SpotWatcher(settings.spot, leave, base_url=settings.spot_url)
    watcher.start()
    return watcher

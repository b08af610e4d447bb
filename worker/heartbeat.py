"""Keeps an attempt's lease while its supervisor works, and looks for requests.

In the supervisor's process, never the trainer's: a computation must not be able to starve it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from sqlalchemy.exc import SQLAlchemyError

from shared import jobs
from shared.database import Database
from shared.errors import LeaseLost
from shared.jobs import Lease
from shared.settings import Settings
from worker.recorder import is_outage

_LOOK_SECONDS = 0.5

log = logging.getLogger(__name__)


class Heartbeat:
    """A context manager that renews the lease until it is left.

    Args:
        database: where the lease is.
        lease: the attempt's.
        settings: for the pause between renewals and the lease's length.
        progress: returns the newest progress, to be stored with the next renewal.

    Attributes:
        lost: set when the lease is gone, or this thread can no longer keep it.
        cancelled: set when somebody asked to cancel the job.
        paused: set while somebody wants the job to pause.
    """

    def __init__(
        self,
        database: Database,
        lease: Lease,
        settings: Settings,
        progress: Callable[[], dict[str, Any] | None],
    ) -> None:
        self.lost = threading.Event()
        self.cancelled = threading.Event()
        self.paused = threading.Event()
        self._database = database
        self._lease = lease
        self._settings = settings
        self._progress = progress
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        renew_at = time.monotonic() + self._settings.heartbeat_seconds
        try:
            while not self._end.wait(_LOOK_SECONDS):
                try:
                    self._look()
                    if time.monotonic() >= renew_at:
                        self._renew()
                        renew_at = time.monotonic() + self._settings.heartbeat_seconds
                except SQLAlchemyError as error:
                    if not is_outage(error):
                        raise
                    log.warning("No heartbeat for job %d: %s", self._lease.job_id, error)
        except LeaseLost as error:
            log.warning("%s", error)
            self.lost.set()
        except Exception:
            log.exception("The heartbeat of job %d broke; its attempt ends.", self._lease.job_id)
            self.lost.set()

    def _look(self) -> None:
        with self._database.read() as session:
            asked = jobs.requests(session, self._lease)
        if asked.cancel:
            self.cancelled.set()
        if asked.pause:
            self.paused.set()
        else:
            self.paused.clear()

    def _renew(self) -> None:
        with self._database.write() as session:
            jobs.renew(
                session,
                self._lease,
                lease_seconds=self._settings.lease_seconds,
                progress=self._progress(),
            )

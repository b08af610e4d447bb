"""Writes an attempt's records to SQL, in order, however long SQL is away.

The queue in memory is the spool: training never waits for it. It need not be on disk, because
what a dying supervisor had not written yet stands in the newest checkpoint's history, which the
next attempt reports again.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from shared.database import Database
from shared.errors import LeaseLost

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0

Write = Callable[[Session], object]

log = logging.getLogger(__name__)


def is_outage(error: SQLAlchemyError) -> bool:
    """Return whether an error means that the database is away or busy, not that we erred."""
    if isinstance(error, OperationalError | PoolTimeoutError):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


class Recorder:
    """One thread that performs writes in order.

    Args:
        database: where to write.
        on_lease_lost: called once, when a write is refused.
    """

    def __init__(self, database: Database, on_lease_lost: Callable[[], None]) -> None:
        self._database = database
        self._on_lease_lost = on_lease_lost
        self._queue: queue.Queue[tuple[Write, Callable[[], None] | None] | None] = queue.Queue()
        self._abandoned = threading.Event()
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def put(self, write: Write, then: Callable[[], None] | None = None) -> None:
        """Queue a write; `then` is called after it has been committed."""
        self._queue.put((write, then))

    def close(self, timeout_seconds: float | None = None) -> bool:
        """Wait until everything is written; return False if the time ran out first."""
        self._queue.put(None)
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """Drop what has not been written and let the thread end."""
        self._abandoned.set()
        self._queue.put(None)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None and not self._abandoned.is_set():
            write, then = item
            try:
                self._write(write)
            except LeaseLost:
                self._abandoned.set()
                self._on_lease_lost()
            except Exception as error:  # a record that SQL refuses for good: the attempt fails
                log.exception("A record could not be written.")
                self.error = error
                self._abandoned.set()
            else:
                if then is not None and not self._abandoned.is_set():
                    then()

    def _write(self, write: Write) -> None:
        pause_seconds = _FIRST_PAUSE_SECONDS
        while not self._abandoned.is_set():
            try:
                with self._database.write() as session:
                    write(session)
                return
            except SQLAlchemyError as error:
                if not is_outage(error):
                    raise
                log.warning("SQL is away, %d records wait: %s", self._queue.qsize() + 1, error)
            self._abandoned.wait(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

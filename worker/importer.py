"""Takes imports, beside the worker's jobs.

A thread of its own that looks into SQL once a second, so an import waits neither for a free slot
nor for Redis. What one import is, `worker.import_run` knows.
"""

from __future__ import annotations

import logging
import threading
import time

from sqlalchemy.exc import SQLAlchemyError

from shared import imports
from shared.errors import TrainyardError
from shared.tickets import Ticket
from worker.drain import Drain
from worker.import_run import ImportRun
from worker.recorder import is_outage
from worker.supervisor import Yard

_LOOK_SECONDS = 1.0
_TIDY_SECONDS = 60.0
# When supervisors have used the grace time up, handing an import back is one write.
_LEAST_STOP_SECONDS = 2.0

log = logging.getLogger(__name__)


class Importer:
    """The thread that imports.

    Args:
        yard: database, store, settings.
        drain: set when the worker hands back what it does.
    """

    def __init__(self, yard: Yard, drain: Drain) -> None:
        self._yard = yard
        self._drain = drain
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="importer", daemon=True)
        self.import_id: int | None = None

    def start(self) -> None:
        """Begin to look for imports."""
        self._thread.start()

    def stop(self) -> None:
        """Hand back what is under way, and end; the worker's drain is set."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(self._drain.left(_LEAST_STOP_SECONDS))

    def _run(self) -> None:
        tidy_at = 0.0
        while not self._stopping.wait(_LOOK_SECONDS):
            if self._drain.is_set():
                continue
            try:
                if time.monotonic() >= tidy_at:
                    tidy_at = time.monotonic() + _TIDY_SECONDS
                    self._tidy()
                while not self._drain.is_set() and (ticket := self._claim()) is not None:
                    self.import_id = ticket.id
                    ImportRun(self._yard, ticket, self._drain).run()
            except SQLAlchemyError as error:
                if not is_outage(error):
                    log.exception("The importer goes on.")
                log.warning("No import taken, SQL is away: %s", error)
            except Exception:
                log.exception("The importer goes on.")
            finally:
                self.import_id = None

    def _claim(self) -> Ticket | None:
        settings = self._yard.settings
        with self._yard.database.read() as session:
            if not imports.waits(session):
                return None
        with self._yard.database.write() as session:
            return imports.claim(
                session, settings.worker_name, lease_seconds=settings.lease_seconds
            )

    def _tidy(self) -> None:
        """Forget what is old, and delete what was sent and is of no import that is not over.

        Imports do without the store's list, which it may not give.
        """
        with self._yard.database.write() as session:
            imports.tidy(session)
        try:
            self._delete_unneeded()
        except (OSError, TrainyardError) as error:
            log.warning("Files of imports that are over stay for now: %s", error)

    def _delete_unneeded(self) -> None:
        """Look for folders, and then at the imports: no folder comes without its import."""
        sent = self._yard.store.names(imports.UPLOADS)
        with self._yard.database.read() as session:
            needed = imports.not_over(session)
        for import_id in {int(name) for name in sent if name.isdecimal()} - needed:
            self._yard.store.delete(imports.folder(import_id))

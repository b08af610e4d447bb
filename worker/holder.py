"""Holds a ticket while its work is done, and writes what came of it, however SQL comes and goes.

A thread renews the ticket: fetching or storing a large file must not let it run out.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, Self

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared.errors import LeaseLost
from shared.tickets import Ticket
from worker.recorder import is_outage
from worker.supervisor import Yard

# How soon it is noticed that nobody wants the work any more.
_RENEW_SECONDS = 1.0

log = logging.getLogger(__name__)

Write = Callable[[Session], object]


class Renew(Protocol):
    """Keeps a ticket: `shared.preflights.renew` or `shared.imports.renew`."""

    def __call__(
        self,
        session: Session,
        ticket: Ticket,
        *,
        lease_seconds: float,
        progress: dict[str, Any] | None,
    ) -> None:
        """Write it; raise `LeaseLost` if it is another's."""


class Holder:
    """The holding of one ticket, for as long as the block lasts.

    Args:
        yard: database and settings.
        ticket: the right to the work.
        drain: set when the worker stops.
        renew: keeps the ticket.
        what: the work, for the log.

    Attributes:
        progress: how far the work is; written with the next renewal.
    """

    def __init__(
        self, yard: Yard, ticket: Ticket, drain: threading.Event, *, renew: Renew, what: str
    ) -> None:
        self._yard = yard
        self._ticket = ticket
        self._drain = drain
        self._renew = renew
        self._what = what
        self._lost: LeaseLost | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="holder", daemon=True)
        self.progress: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def tell(self, doing: str, share: float) -> None:
        """Remember how far the work is; written when that is due."""
        self.progress = {"doing": doing, "share": round(share, 4)}

    def check(self) -> None:
        """See whether the work is still wanted of this worker.

        Raises:
            LeaseLost: somebody else has it, or nobody wants it any more.
        """
        if self._lost is not None:
            raise self._lost

    def show(self) -> None:
        """Write at once how far the work is; raises as `check`."""
        self.check()
        self._renew_now()

    def _run(self) -> None:
        try:
            while not self._end.wait(_RENEW_SECONDS):
                self._renew_now()
        except LeaseLost as error:
            self._lost = error
        except Exception as error:  # whatever it is, the ticket runs out
            log.exception("The ticket of %s is not renewed any more.", self._what)
            self._lost = LeaseLost(f"The ticket of {self._what} cannot be renewed: {error}")

    def _renew_now(self) -> None:
        seconds = self._yard.settings.lease_seconds
        try:
            with self._yard.database.write() as session:
                self._renew(session, self._ticket, lease_seconds=seconds, progress=self.progress)
        except SQLAlchemyError as error:
            if not is_outage(error):
                raise
            log.warning("SQL is away, %s goes on: %s", self._what, error)

    def write(self, write: Write) -> None:
        """Write the end as soon as SQL takes it, for as long as the right to it may hold.

        Raises:
            LeaseLost: the right is lost, or SQL was away for too long.
        """
        gives_up_at = time.monotonic() + self._yard.settings.lease_seconds
        while True:
            try:
                with self._yard.database.write() as session:
                    write(session)
            except SQLAlchemyError as error:
                if not is_outage(error):
                    raise
                if time.monotonic() >= gives_up_at or self._drain.wait(_RENEW_SECONDS):
                    raise LeaseLost(f"SQL is away: nothing is written of {self._what}.") from error
            else:
                return

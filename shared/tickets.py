"""Work that one worker at a time holds by a token, other than training: the part all kinds share.

    queued --claim--> running --finish--> done
      ^                 | |
      +--give_back------+ +----fail-----> failed    (also: lost too often)

Like an attempt, work is held by a random token until a time; what a worker held that fell silent
is taken by the next one. `shared.preflights` and `shared.imports` say what the work is.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import utc_now
from shared.errors import LeaseLost, NotFound
from shared.jobs.transitions import rowcount
from shared.models import Held, TicketStatus

Kind = TypeVar("Kind", bound=Held)


@dataclass(frozen=True)
class Ticket:
    """The right to do a piece of work.

    Attributes:
        id: the work.
        token: random; known to its holder and the database alone.
    """

    id: int
    token: str


class Desk(Generic[Kind]):
    """The tickets of one kind of work.

    Args:
        model: its table.
        noun: what people call a piece of it.
        kept: how long it is kept when it is over, in words.
        max_tries: workers that may fall silent over one piece: it may well be what ends them.
        lost: the failure of a piece that was lost so often.
    """

    def __init__(
        self, model: type[Kind], noun: str, *, kept: str, max_tries: int, lost: dict[str, Any]
    ) -> None:
        self._model: type[Kind] = model
        self._noun = noun
        self._kept = kept
        self._max_tries = max_tries
        self._lost = lost

    def get(self, session: Session, work_id: int) -> Kind:
        """Return a piece of work.

        Raises:
            NotFound: there is none of this number, or none any more.
        """
        work = session.get(self._model, work_id)
        if work is None:
            raise NotFound(
                f"There is no {self._noun} {work_id}; what is over is kept for {self._kept}."
            )
        return work

    def claim(
        self,
        session: Session,
        worker: str,
        *conditions: sa.ColumnElement[bool],
        lease_seconds: float,
    ) -> Ticket | None:
        """Take the oldest piece that waits and meets the conditions.

        Args:
            session: a writing session.
            worker: who claims.
            conditions: which of them it can do.
            lease_seconds: how long the right holds unless it is renewed.

        Returns:
            None if there is nothing to do.
        """
        model = self._model
        work_id = session.scalar(
            sa.select(model.id)
            .where(self._can_be_taken(), *conditions)
            .order_by(model.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        if work_id is None:
            return None
        ticket = Ticket(work_id, secrets.token_hex(16))
        session.execute(
            sa.update(model)
            .where(model.id == work_id)
            .values(
                status=TicketStatus.RUNNING,
                worker=worker,
                token=ticket.token,
                expires_at=utc_now(lease_seconds),
                tries=model.tries + 1,
            )
        )
        return ticket

    def waits(self, session: Session) -> bool:
        """Whether there is a piece to take; reads only, so that asking often costs nothing."""
        found = session.scalar(sa.select(self._model.id).where(self._can_be_taken()).limit(1))
        return found is not None

    def _can_be_taken(self) -> sa.ColumnElement[bool]:
        model = self._model
        return sa.or_(
            model.status == TicketStatus.QUEUED,
            sa.and_(self.is_silent(), model.tries < self._max_tries),
        )

    def renew(
        self,
        session: Session,
        ticket: Ticket,
        *,
        lease_seconds: float,
        progress: dict[str, Any] | None,
    ) -> None:
        """Keep the right, and tell how far it is.

        Raises:
            LeaseLost: somebody else has it, or nobody wants the work any more.
        """
        self._write(session, ticket, expires_at=utc_now(lease_seconds), progress=progress)

    def finish(self, session: Session, ticket: Ticket, report: dict[str, Any]) -> None:
        """End well, with what came of it; raises as `renew`."""
        self._end(session, ticket, TicketStatus.DONE, report=report)

    def fail(self, session: Session, ticket: Ticket, failure: dict[str, Any]) -> None:
        """End badly, with `kind`, `evidence` and `suggestion`; raises as `renew`."""
        self._end(session, ticket, TicketStatus.FAILED, failure=failure)

    def give_back(self, session: Session, ticket: Ticket) -> None:
        """Let another worker do it, since this one stops; raises as `renew`."""
        self._write(
            session,
            ticket,
            status=TicketStatus.QUEUED,
            worker=None,
            token=None,
            expires_at=None,
            progress=None,
            tries=self._model.tries - 1,
        )

    def give_up(self, session: Session) -> None:
        """End what was lost too often."""
        session.execute(
            sa.update(self._model)
            .where(self.is_silent(), self._model.tries >= self._max_tries)
            .values(
                status=TicketStatus.FAILED, failure=self._lost, finished_at=utc_now(), token=None
            )
            .execution_options(synchronize_session=False)
        )

    def is_silent(self) -> sa.ColumnElement[bool]:
        """Return the condition that a worker has taken it and fallen silent."""
        model = self._model
        return sa.and_(model.status == TicketStatus.RUNNING, model.expires_at < utc_now())

    def _end(self, session: Session, ticket: Ticket, status: TicketStatus, **values: Any) -> None:
        self._write(session, ticket, status=status, finished_at=utc_now(), token=None, **values)

    def _write(self, session: Session, ticket: Ticket, **values: Any) -> None:
        model = self._model
        result = session.execute(
            sa.update(model)
            .where(
                model.id == ticket.id,
                model.token == ticket.token,
                model.status == TicketStatus.RUNNING,
            )
            .values(**values)
            .execution_options(synchronize_session=False)
        )
        if rowcount(result) != 1:
            raise LeaseLost(f"The {self._noun} {ticket.id} is not this worker's any more.")

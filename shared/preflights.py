"""The life of a pre-flight: a question about a spec, which a worker's slot answers by trying it.

    queued --claim--> running --finish--> done
      ^                 | |
      +--give_back------+ +----fail-----> failed    (also: lost too often)

A person waits for the answer, so a slot takes a pre-flight before any job. Like an attempt it is
held by a token; one whose worker falls silent is taken by the next slot. Answers are kept for a
day; nothing else depends on them.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import utc_now
from shared.errors import LeaseLost, NotFound
from shared.jobs import Slot
from shared.jobs.transitions import rowcount
from shared.models import DatasetVersion, Preflight, PreflightStatus
from shared.spec import JobSpec

# Workers that may fall silent over a pre-flight: it may well be what ends them.
MAX_TRIES = 2
_KEPT_SECONDS = 86_400.0

_LOST = {
    "kind": "lost",
    "evidence": f"{MAX_TRIES} workers fell silent while they tried it.",
    "suggestion": "It may take more memory than the machine has: try a smaller batch or model.",
}


@dataclass(frozen=True)
class Ticket:
    """The right to answer a pre-flight.

    Attributes:
        id: the pre-flight.
        token: random; known to its holder and the database alone.
    """

    id: int
    token: str


def request(
    session: Session, spec: JobSpec, version: DatasetVersion, *, actor: str | None = None
) -> Preflight:
    """Ask a question.

    Args:
        session: a writing session.
        spec: what would be trained; checked by the caller.
        version: the version of its data set.
        actor: who asks.
    """
    pinned = spec.dataset.model_copy(update={"version": version.version})
    preflight = Preflight(
        status=PreflightStatus.QUEUED,
        spec=spec.model_copy(update={"dataset": pinned}).model_dump(mode="json"),
        queue=spec.resources.queue,
        gpus=spec.resources.gpus,
        actor=actor,
        requested_at=utc_now(),
        tries=0,
    )
    session.add(preflight)
    session.flush()
    session.refresh(preflight)
    return preflight


def get(session: Session, preflight_id: int) -> Preflight:
    """Return a pre-flight.

    Raises:
        NotFound: there is none of this number, or none any more.
    """
    preflight = session.get(Preflight, preflight_id)
    if preflight is None:
        raise NotFound(f"There is no pre-flight {preflight_id}; answers are kept for a day.")
    return preflight


def delete(session: Session, preflight_id: int) -> None:
    """Forget a pre-flight; a worker that is at it stops.

    Raises:
        NotFound: there is none of this number.
    """
    session.delete(get(session, preflight_id))


def claim(session: Session, slot: Slot, *, lease_seconds: float) -> Ticket | None:
    """Take the oldest pre-flight that `slot` can answer.

    Args:
        session: a writing session.
        slot: who claims.
        lease_seconds: how long the right holds unless it is renewed.

    Returns:
        None if nobody asks.
    """
    waits = sa.or_(
        Preflight.status == PreflightStatus.QUEUED,
        sa.and_(_is_silent(), Preflight.tries < MAX_TRIES),
    )
    preflight_id = session.scalar(
        sa.select(Preflight.id)
        .where(waits, Preflight.queue.in_(slot.queues), Preflight.gpus <= slot.gpus)
        .order_by(Preflight.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if preflight_id is None:
        return None
    ticket = Ticket(preflight_id, secrets.token_hex(16))
    session.execute(
        sa.update(Preflight)
        .where(Preflight.id == preflight_id)
        .values(
            status=PreflightStatus.RUNNING,
            worker=slot.worker,
            token=ticket.token,
            expires_at=utc_now(lease_seconds),
            tries=Preflight.tries + 1,
        )
    )
    return ticket


def renew(
    session: Session, ticket: Ticket, *, lease_seconds: float, progress: dict[str, Any] | None
) -> None:
    """Keep the right to answer, and tell how far it is.

    Raises:
        LeaseLost: somebody else has it, or nobody wants to know any more.
    """
    _write(session, ticket, expires_at=utc_now(lease_seconds), progress=progress)


def finish(session: Session, ticket: Ticket, report: dict[str, Any]) -> None:
    """Answer with the trainer's `Measured` event.

    Raises:
        LeaseLost: see `renew`.
    """
    _end(session, ticket, PreflightStatus.DONE, report=report)


def fail(session: Session, ticket: Ticket, failure: dict[str, Any]) -> None:
    """Answer that it cannot be trained: `kind`, `evidence` and `suggestion`.

    Raises:
        LeaseLost: see `renew`.
    """
    _end(session, ticket, PreflightStatus.FAILED, failure=failure)


def give_back(session: Session, ticket: Ticket) -> None:
    """Let another slot answer; this one's worker stops.

    Raises:
        LeaseLost: see `renew`.
    """
    _write(
        session,
        ticket,
        status=PreflightStatus.QUEUED,
        worker=None,
        token=None,
        expires_at=None,
        progress=None,
        tries=Preflight.tries - 1,
    )


def tidy(session: Session) -> None:
    """Give up those that were lost too often, and forget the old ones."""
    session.execute(
        sa.update(Preflight)
        .where(_is_silent(), Preflight.tries >= MAX_TRIES)
        .values(status=PreflightStatus.FAILED, failure=_LOST, finished_at=utc_now(), token=None)
        .execution_options(synchronize_session=False)
    )
    session.execute(
        sa.delete(Preflight)
        .where(Preflight.requested_at < utc_now(-_KEPT_SECONDS))
        .execution_options(synchronize_session=False)
    )


def open_queues(session: Session) -> dict[str, int]:
    """Return how many pre-flights wait for a slot, by queue; those of silent workers too."""
    waits = sa.or_(Preflight.status == PreflightStatus.QUEUED, _is_silent())
    rows = session.execute(
        sa.select(Preflight.queue, sa.func.count()).where(waits).group_by(Preflight.queue)
    )
    return {row[0]: row[1] for row in rows}


def _is_silent() -> sa.ColumnElement[bool]:
    """Return the condition that a worker has taken it and fallen silent."""
    return sa.and_(Preflight.status == PreflightStatus.RUNNING, Preflight.expires_at < utc_now())


def _end(session: Session, ticket: Ticket, status: PreflightStatus, **values: Any) -> None:
    _write(session, ticket, status=status, finished_at=utc_now(), token=None, **values)


def _write(session: Session, ticket: Ticket, **values: Any) -> None:
    result = session.execute(
        sa.update(Preflight)
        .where(
            Preflight.id == ticket.id,
            Preflight.token == ticket.token,
            Preflight.status == PreflightStatus.RUNNING,
        )
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    if rowcount(result) != 1:
        raise LeaseLost(f"Pre-flight {ticket.id} is not this slot's any more.")

"""The life of a pre-flight: a question about a spec, which a worker's slot answers by trying it.

A person waits for the answer, so a slot takes a pre-flight before any job. It is held by a ticket
(`shared.tickets`). Answers are kept for a day; nothing else depends on them.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import utc_now
from shared.jobs import Slot
from shared.models import DatasetVersion, Preflight, TicketStatus
from shared.spec import JobSpec
from shared.tickets import Desk, Ticket

MAX_TRIES = 2
_KEPT_SECONDS = 86_400.0

_desk = Desk(
    Preflight,
    "pre-flight",
    kept="a day",
    max_tries=MAX_TRIES,
    lost={
        "kind": "lost",
        "evidence": f"{MAX_TRIES} workers fell silent while they tried it.",
        "suggestion": "It may take more memory than the machine has: try a smaller batch or model.",
    },
)
get = _desk.get
renew = _desk.renew
finish = _desk.finish
fail = _desk.fail
give_back = _desk.give_back


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
        status=TicketStatus.QUEUED,
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


def delete(session: Session, preflight_id: int) -> None:
    """Forget a pre-flight; a worker that is at it stops.

    Raises:
        NotFound: there is none of this number.
    """
    session.delete(get(session, preflight_id))


def claim(session: Session, slot: Slot, *, lease_seconds: float) -> Ticket | None:
    """Take the oldest pre-flight that `slot` can answer; None if nobody asks.

    Args:
        session: a writing session.
        slot: who claims.
        lease_seconds: how long the right holds unless it is renewed.
    """
    suits = (Preflight.queue.in_(slot.queues), Preflight.gpus <= slot.gpus)
    return _desk.claim(session, slot.worker, *suits, lease_seconds=lease_seconds)


def tidy(session: Session) -> None:
    """Give up those that were lost too often, and forget the old ones."""
    _desk.give_up(session)
    session.execute(
        sa.delete(Preflight)
        .where(Preflight.requested_at < utc_now(-_KEPT_SECONDS))
        .execution_options(synchronize_session=False)
    )


def open_queues(session: Session) -> dict[str, int]:
    """Return how many pre-flights wait for a slot, by queue; those of silent workers too."""
    waits = sa.or_(Preflight.status == TicketStatus.QUEUED, _desk.is_silent())
    rows = session.execute(
        sa.select(Preflight.queue, sa.func.count()).where(waits).group_by(Preflight.queue)
    )
    return {row[0]: row[1] for row in rows}

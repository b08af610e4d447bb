"""The workers as SQL knows them: who is alive, who drains, and asking one to drain.

The row of a worker is its own to write (`worker.host`), except for the request to drain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import utc_now
from shared.errors import NotFound
from shared.models import Worker
from shared.records import worker_row


@dataclass(frozen=True)
class Seen:
    """A worker as it stands now.

    Attributes:
        worker: its row.
        alive: whether its heartbeat is fresh and it has not signed off.
    """

    worker: Worker
    alive: bool

    @property
    def state(self) -> str:
        """What it is about.

        `alive`; `stopping` or `draining`: alive, takes no job; `silent`: no heartbeat; `stopped`.
        """
        if self.alive:
            if self.worker.info.get("stopping"):
                return "stopping"
            return "alive" if self.worker.drain_requested_at is None else "draining"
        return "silent" if self.worker.stopped_at is None else "stopped"

    @property
    def takes_jobs(self) -> bool:
        """Whether it takes jobs."""
        return self.state == "alive"

    @property
    def imports(self) -> bool:
        """Whether it reads the files of imports, as workers do unless they are told not to."""
        return bool(self.worker.info.get("imports", True))

    @property
    def takes_imports(self) -> bool:
        """Whether it would take an import now, or after another one."""
        return self.takes_jobs and self.imports

    def row(self) -> dict[str, Any]:
        """Return the worker as JSON, with `alive` and `state`."""
        return worker_row(self.worker) | {"alive": self.alive, "state": self.state}


def is_alive(lease_seconds: float) -> sa.ColumnElement[bool]:
    """Return the condition that a worker's heartbeat is fresh and it has not signed off."""
    return sa.and_(Worker.stopped_at.is_(None), Worker.heartbeat_at > utc_now(-lease_seconds))


def seen(
    session: Session, lease_seconds: float, *, since_seconds: float | None = None
) -> list[Seen]:
    """Return the workers, those alive first, then by name.

    Args:
        session: for reading.
        lease_seconds: how old a heartbeat may be.
        since_seconds: leave out workers that have been gone for longer.
    """
    alive = is_alive(lease_seconds).label("alive")
    statement = sa.select(Worker, alive).order_by(sa.desc("alive"), Worker.name)
    if since_seconds is not None:
        statement = statement.where(Worker.heartbeat_at > utc_now(-since_seconds))
    return [Seen(worker, bool(lives)) for worker, lives in session.execute(statement)]


def request_drain(session: Session, name: str, *, reason: str) -> None:
    """Ask a worker to hand its jobs back and to take no more; asking twice is no error.

    Args:
        session: a writing session.
        name: the worker.
        reason: who asked for it and why, a sentence.

    Raises:
        NotFound: there is no such worker.
    """
    _change(
        session,
        name,
        drain_requested_at=sa.func.coalesce(Worker.drain_requested_at, utc_now()),
        drain_reason=sa.func.coalesce(Worker.drain_reason, reason),
    )


def end_drain(session: Session, name: str) -> None:
    """Let a worker take jobs again.

    Raises:
        NotFound: there is no such worker.
    """
    _change(session, name, drain_requested_at=None, drain_reason=None)


def drain_requested(session: Session, name: str) -> bool:
    """Return whether somebody wants the worker to drain."""
    requested_at = session.scalar(sa.select(Worker.drain_requested_at).where(Worker.name == name))
    return requested_at is not None


def _change(session: Session, name: str, **values: Any) -> None:
    changed = session.execute(
        sa.update(Worker).where(Worker.name == name).values(**values).returning(Worker.name)
    ).first()
    if changed is None:
        raise NotFound(f"There is no worker {name!r}.")

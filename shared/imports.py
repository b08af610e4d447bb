"""The life of an import: files that a person sends become a version of a data set.

    uploading --start--> queued --claim--> running --publish--> done
        |                  ^                 | |
        |                  +----give_back----+ +----fail------> failed
        +--(a day without start)--> forgotten

Files lie in the artifact store under `uploads/<import>/` until the import is over, whichever way.
Any worker that imports takes it, beside its jobs; it is held by a ticket (`shared.tickets`). The
data set changes in the same transaction that ends the import, so it has the version or has not.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared import catalogue
from shared.database import utc_now
from shared.datasets.known import KNOWN
from shared.errors import Conflict, InvalidInput
from shared.models import Import, TicketStatus
from shared.reading import ReadDone
from shared.spec.dataset_import import DatasetImport
from shared.tickets import Desk, Ticket

UPLOADS = "uploads"
MAX_TRIES = 2
MOST_FILES = 64
_ABANDONED_SECONDS = 86_400.0
_KEPT_SECONDS = 30 * 86_400.0
_NEWS_SECONDS = 86_400.0
_MOST_NEWS = 20

_desk = Desk(
    Import,
    "import",
    kept="a month",
    max_tries=MAX_TRIES,
    lost={
        "kind": "lost",
        "evidence": f"{MAX_TRIES} workers fell silent while they read the files.",
        "suggestion": "Look at their logs; a smaller file may go through.",
        "faults": [],
    },
)
get = _desk.get
renew = _desk.renew
fail = _desk.fail
waits = _desk.waits
give_back = _desk.give_back


def folder(import_id: int) -> str:
    """Return where an import's files lie in the artifact store."""
    return f"{UPLOADS}/{import_id}"


def begin(session: Session, request: DatasetImport, *, actor: str | None = None) -> Import:
    """Begin an import, whose files are still to come.

    Args:
        session: a writing session.
        request: what was asked, checked.
        actor: who asks.

    Raises:
        Conflict: the data set is bundled, and cannot be changed.
    """
    catalogue.require_changeable(session, request.name)
    row = Import(
        status=TicketStatus.UPLOADING,
        name=request.name,
        request=request.model_dump(mode="json"),
        files=[],
        actor=actor,
        requested_at=utc_now(),
        tries=0,
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    return row


def require_uploading(row: Import) -> None:
    """Check that an import still takes files.

    Raises:
        Conflict: it does not.
    """
    if row.status is not TicketStatus.UPLOADING:
        raise Conflict(f"Import {row.id} takes no files any more: it is {row.status}.")


def add_file(session: Session, import_id: int, file: dict[str, Any]) -> Import:
    """Enter a file that lies in the artifact store; one of the same name replaces another.

    Args:
        session: a writing session.
        import_id: the import.
        file: name, part (or None), bytes, sha256 and path.

    Raises:
        NotFound: there is no such import.
        Conflict: it takes no files any more.
        InvalidInput: it has too many.
    """
    row = _lock(session, import_id)
    require_uploading(row)
    files = [*(other for other in row.files if other["name"] != file["name"]), file]
    if len(files) > MOST_FILES:
        raise InvalidInput.of("files", f"Must be at most {MOST_FILES}.", len(files))
    row.files = files
    session.flush()
    return row


def start(session: Session, import_id: int) -> Import:
    """Say that all files are there.

    Raises:
        NotFound: there is no such import.
        Conflict: it was started already.
        InvalidInput: there are no files, and none can be fetched.
    """
    row = _lock(session, import_id)
    require_uploading(row)
    if not row.files and row.request["known"] is None:
        raise InvalidInput.of("files", "Must be at least one file.", 0)
    row.status = TicketStatus.QUEUED
    session.flush()
    return row


def recent(session: Session, limit: int) -> list[Import]:
    """Return the newest imports, the newest first."""
    query = sa.select(Import).order_by(Import.id.desc()).limit(limit)
    return list(session.scalars(query))


def unfinished(session: Session) -> list[Import]:
    """Return the imports that wait or run, in order."""
    open_ = Import.status.in_((TicketStatus.QUEUED, TicketStatus.RUNNING))
    return list(session.scalars(sa.select(Import).where(open_).order_by(Import.id)))


def known_of(session: Session, name: str) -> str | None:
    """Return the public set that a data set's files are read as, if they are one's.

    Imports are forgotten after a while; a public set's name says it for longer.
    """
    made_it = sa.and_(Import.name == name, Import.status == TicketStatus.DONE)
    requests = session.scalars(sa.select(Import.request).where(made_it).order_by(Import.id))
    said = next((request["known"] for request in requests if request["known"]), None)
    return said or (name if name in KNOWN else None)


def failed_lately(session: Session) -> list[Import]:
    """Return the imports that failed within the last day, the newest first."""
    lately = Import.finished_at > utc_now(-_NEWS_SECONDS)
    query = sa.select(Import).where(Import.status == TicketStatus.FAILED, lately)
    return list(session.scalars(query.order_by(Import.finished_at.desc()).limit(_MOST_NEWS)))


def claim(session: Session, worker: str, *, lease_seconds: float) -> Ticket | None:
    """Take the oldest import; None if none waits."""
    return _desk.claim(session, worker, lease_seconds=lease_seconds)


def publish(session: Session, ticket: Ticket, read: ReadDone, uri: str) -> dict[str, Any]:
    """End an import well: its data set has the version from now on.

    Args:
        session: a writing session.
        ticket: the right to.
        read: what the files came to.
        uri: where the version lies in the artifact store.

    Returns:
        The import's report: `version`, whether the data set had it before (`known`), names of
        `others` that have the same content, and `notes`.

    Raises:
        LeaseLost: somebody else has it.
    """
    request = DatasetImport.model_validate(get(session, ticket.id).request)
    known, others = catalogue.add_version(session, request, read, uri)
    report = {"version": read.version, "known": known, "others": others, "notes": read.notes}
    _desk.finish(session, ticket, report)
    return report


def delete(session: Session, import_id: int) -> None:
    """Forget an import; a worker that is at it stops. The caller deletes its files.

    Raises:
        NotFound: there is none of this number.
    """
    session.delete(get(session, import_id))


def not_over(session: Session) -> set[int]:
    """Return the imports whose files are needed still."""
    over = Import.status.in_((TicketStatus.DONE, TicketStatus.FAILED))
    return set(session.scalars(sa.select(Import.id).where(~over)))


def tidy(session: Session) -> None:
    """Give up what was lost too often, and forget what is old."""
    _desk.give_up(session)
    abandoned = sa.and_(
        Import.status == TicketStatus.UPLOADING,
        Import.requested_at < utc_now(-_ABANDONED_SECONDS),
    )
    old = sa.or_(abandoned, Import.finished_at < utc_now(-_KEPT_SECONDS))
    session.execute(sa.delete(Import).where(old).execution_options(synchronize_session=False))


def _lock(session: Session, import_id: int) -> Import:
    get(session, import_id)
    row = session.get(Import, import_id, populate_existing=True, with_for_update=True)
    assert row is not None
    return row

"""A viewer's side of the live pages: a bounded mailbox, and the frames that come out of it.

Runs in the request's own thread. A viewer that does not keep up loses its mail and reads SQL
anew instead, so it is late but never wrong. Knows nothing of Redis.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared import records
from shared.database import Database
from shared.errors import NotFound
from shared.models import Epoch, Job
from web.wire import HEARTBEAT, event_frame

HEARTBEAT_SECONDS = 15.0
_MAX_LETTERS = 256
# What EventSource waits before it connects again.
_RETRY_FRAME = b"retry: 2000\n\n"

# Attempt and number of an epoch: an epoch that a later attempt repeats counts as newer.
Position = tuple[int, int]
START: Position = (0, 0)


@dataclass(frozen=True)
class Letter:
    """Something to send.

    Attributes:
        frame: the event, encoded once for all viewers.
        position: of an epoch's row; None for everything else.
        last: nothing follows it.
    """

    frame: bytes
    position: Position | None = None
    last: bool = False


_END = Letter(b"", last=True)
_LAGGED = Letter(b"")
SYNC = Letter(event_frame("sync", {}))


class Mailbox:
    """Letters for one viewer, never more than it is likely to read."""

    def __init__(self, max_letters: int = _MAX_LETTERS) -> None:
        self._max_letters = max_letters
        self._letters: deque[Letter] = deque()
        self._changed = threading.Condition()

    def put(self, letters: Iterable[Letter]) -> None:
        """Add letters; if there are too many, replace them all by the news of that."""
        with self._changed:
            if self._letters and self._letters[-1] is _END:
                return
            self._letters.extend(letters)
            if len(self._letters) > self._max_letters and self._letters[-1] is not _END:
                self._letters.clear()
                self._letters.append(_LAGGED)
            self._changed.notify()

    def take(self, timeout_seconds: float) -> Letter | None:
        """Return the next letter, or None if none comes in time."""
        with self._changed:
            if self._changed.wait_for(lambda: bool(self._letters), timeout_seconds):
                return self._letters.popleft()
            return None


class Stream:
    """What one viewer is sent, from opening to closing.

    Args:
        on_close: called once the viewer is gone; may be called again.
        heartbeat_seconds: silence after which a comment shows whether it still listens.
    """

    def __init__(
        self, on_close: Callable[[Stream], None], *, heartbeat_seconds: float = HEARTBEAT_SECONDS
    ) -> None:
        self._on_close = on_close
        self._heartbeat_seconds = heartbeat_seconds
        self.mailbox = Mailbox()

    def frames(self) -> Iterator[bytes]:
        """Yield the events, and a comment whenever nothing happens for long."""
        yield _RETRY_FRAME
        yield from self._open()
        while not self._over():
            letter = self.mailbox.take(self._heartbeat_seconds)
            if letter is None:
                yield HEARTBEAT
            elif letter is _END:
                return
            elif letter is _LAGGED:
                try:
                    yield from self._catch_up()
                except (NotFound, SQLAlchemyError):
                    return  # the viewer comes back, and is told why
            else:
                yield from self._deliver(letter)

    def end(self) -> None:
        """Let the stream end, whatever still waits in its mailbox."""
        self.mailbox.put([_END])

    def close(self) -> None:
        """Tell the hub that the viewer is gone."""
        self._on_close(self)

    def _open(self) -> Iterable[bytes]:
        return ()

    def _catch_up(self) -> Iterable[bytes]:
        raise NotImplementedError

    def _deliver(self, letter: Letter) -> Iterable[bytes]:
        return (letter.frame,)

    def _over(self) -> bool:
        return False


class ListStream(Stream):
    """Every job that changes; `sync` says that anything may have changed before."""

    def _catch_up(self) -> Iterable[bytes]:
        return (SYNC.frame,)


class JobStream(Stream):
    """One job: its row, its epochs, its progress, its log, and its end.

    Args:
        on_close: see `Stream`.
        database: where it is read from, at first and after falling behind.
        job_id: the job.
        after_epoch: the viewer knows the epochs up to this one.
    """

    def __init__(
        self,
        on_close: Callable[[Stream], None],
        database: Database,
        job_id: int,
        *,
        after_epoch: int = 0,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        super().__init__(on_close, heartbeat_seconds=heartbeat_seconds)
        self.job_id = job_id
        self.position = START
        self._database = database
        self._after_epoch = after_epoch
        self._ended = False
        self._first: list[bytes] = []

    def prepare(self) -> None:
        """Read what the viewer is sent first, before anything is answered.

        Raises:
            NotFound: there is no such job.
        """
        self._first = list(self._catch_up())

    def _open(self) -> Iterable[bytes]:
        first, self._first = self._first, []
        return first

    def _catch_up(self) -> Iterable[bytes]:
        with self._database.read() as session:
            job = session.get(Job, self.job_id)
            if job is None:
                raise NotFound(f"There is no job {self.job_id}.")
            epochs = epochs_after(session, self.job_id, self.position, self._after_epoch)
            if not epochs and self.position == START:
                self.position = last_position(session, self.job_id)
        letters = [job_letter(job), *map(epoch_letter, epochs), *end_letters(job)]
        self.position = max([self.position, *(letter.position or START for letter in letters)])
        self._ended = any(letter.last for letter in letters)
        return [letter.frame for letter in letters]

    def _deliver(self, letter: Letter) -> Iterable[bytes]:
        if letter.position is not None:
            if letter.position <= self.position:
                return ()  # read from SQL before it came by mail
            self.position = letter.position
        self._ended = letter.last
        return (letter.frame,)

    def _over(self) -> bool:
        return self._ended


def job_letter(job: Job, progress: dict[str, Any] | None = None) -> Letter:
    """Return the event of a job's row.

    Args:
        job: the row.
        progress: newer than the row's, if known.
    """
    return Letter(event_frame("job", with_progress(records.job_detail(job), progress)))


def with_progress(item: dict[str, Any], progress: dict[str, Any] | None) -> dict[str, Any]:
    """Return a job's JSON with newer progress, if there is any."""
    return item if progress is None else item | {"progress": progress}


def end_letters(job: Job) -> list[Letter]:
    """Return the event that ends a job's stream, if the job is over."""
    if not job.status.terminal:
        return []
    return [Letter(event_frame("end", {"status": job.status}), last=True)]


def epoch_letter(epoch: Epoch) -> Letter:
    """Return the event of an epoch's row; its id is where the viewer goes on after a break."""
    frame = event_frame("epoch", records.epoch_row(epoch), f"e{epoch.epoch}")
    return Letter(frame, position=(epoch.attempt, epoch.epoch))


def epochs_after(
    session: Session, job_id: int, position: Position, after_epoch: int = 0
) -> list[Epoch]:
    """Return a job's epochs that are newer than `position` and come after `after_epoch`."""
    newer = sa.tuple_(Epoch.attempt, Epoch.epoch) > sa.tuple_(*map(sa.literal, position))
    return list(
        session.scalars(
            sa.select(Epoch)
            .where(Epoch.job_id == job_id, Epoch.epoch > after_epoch, newer)
            .order_by(Epoch.epoch)
        )
    )


def last_position(session: Session, job_id: int) -> Position:
    """Return the newest position among a job's epochs."""
    last = session.execute(
        sa.select(Epoch.attempt, Epoch.epoch)
        .where(Epoch.job_id == job_id)
        .order_by(Epoch.attempt.desc(), Epoch.epoch.desc())
        .limit(1)
    ).one_or_none()
    return START if last is None else (last.attempt, last.epoch)

"""Live pages: who watches what, and the one thread that tells them.

The thread listens to Redis, reads from SQL what changed, once for all viewers, and puts it into
their mailboxes. SQL stays the truth: a message only says where to look (progress and log lines
excepted, which are fleeting). A viewer is registered first and reads SQL then, so nothing falls
between; what it gets twice it sends once. While Redis is away the thread looks into SQL once a
second.

Must not write anything. The thread starts with the first viewer, after the server has forked.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared.database import Database
from shared.live import Message
from shared.models import Job, Status
from shared.records import job_item
from web.changes import Changes
from web.errors import Busy
from web.listener import Listener
from web.streams import (
    START,
    SYNC,
    JobStream,
    Letter,
    ListStream,
    Position,
    Stream,
    end_letters,
    epoch_letter,
    epochs_after,
    job_letter,
    with_progress,
)
from web.wire import event_frame

_TICK_SECONDS = 0.1
# How fresh pages are without Redis; and with it, how long a lost message can matter.
_POLL_WITHOUT_REDIS_SECONDS = 1.0
_POLL_WITH_REDIS_SECONDS = 5.0
# The page that is left and the one that is opened next share the thread and its connection.
_LINGER_SECONDS = 10.0
_JOBS_AT_ONCE = 500

log = logging.getLogger(__name__)


@dataclass
class _Topic:
    """The viewers of one job, and what they all have been told."""

    streams: set[JobStream] = field(default_factory=set)
    position: Position = START

    def put(self, letters: list[Letter]) -> None:
        for stream in self.streams:
            stream.mailbox.put(letters)


class LiveHub:
    """Serves the event streams of one process.

    Args:
        database: where everything is read from.
        redis_url: where messages come from.
        max_streams: viewers at once.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        database: Database,
        redis_url: str,
        *,
        max_streams: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._max_streams = max_streams
        self._clock = clock
        self._closed = threading.Event()
        self._listener = Listener(redis_url, self._closed, clock)
        self._lock = threading.RLock()
        # Guarded by the lock:
        self._topics: dict[int, _Topic] = {}
        self._lists: set[ListStream] = set()
        self._open_streams = 0
        self._empty_since = 0.0
        self._thread: threading.Thread | None = None
        self._started = False  # from when on a list misses nothing
        # The thread's own:
        self._changes = Changes(clock)
        self._dirty: set[int] = set()
        self._progress: dict[int, dict[str, Any]] = {}
        self._next_poll = 0.0

    # --- for views --------------------------------------------------------------------------

    @property
    def open_streams(self) -> int:
        """How many streams are open."""
        return self._open_streams

    @property
    def connected(self) -> bool:
        """Whether messages come from Redis at the moment."""
        return self._listener.connected

    def watch_job(self, job_id: int, *, after_epoch: int = 0) -> JobStream:
        """Open a stream of one job; the caller must close it.

        Args:
            job_id: the job.
            after_epoch: the viewer knows the epochs up to this one.

        Raises:
            NotFound: there is no such job.
            Busy: there are too many streams.
        """
        stream = JobStream(self._forget, self._database, job_id, after_epoch=after_epoch)
        with self._lock:
            self._admit()
            topic = self._topics.setdefault(job_id, _Topic())
            topic.streams.add(stream)
        try:
            stream.prepare()
        except BaseException:
            stream.close()
            raise
        topic.position = max(topic.position, stream.position)
        return stream

    def watch_list(self) -> ListStream:
        """Open a stream of all jobs that change; the caller must close it.

        Raises:
            Busy: there are too many streams.
        """
        stream = ListStream(self._forget)
        with self._lock:
            self._admit()
            self._lists.add(stream)
            if self._started:
                stream.mailbox.put([SYNC])
        return stream

    def close(self) -> None:
        """End all streams, and open no new ones."""
        self._closed.set()
        self._end_all()

    def _admit(self) -> None:
        if self._closed.is_set():
            raise Busy("The server is stopping.")
        if self._open_streams >= self._max_streams:
            raise Busy(f"All {self._max_streams} live streams are taken; poll instead.")
        self._open_streams += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="live", daemon=True)
            self._thread.start()

    def _forget(self, stream: Stream) -> None:
        with self._lock:
            if isinstance(stream, JobStream):
                known = self._forget_viewer(stream)
            else:
                known = stream in self._lists
                self._lists.discard(stream)  # type: ignore[arg-type]
            self._open_streams -= known
            self._empty_since = self._clock()

    def _forget_viewer(self, stream: JobStream) -> bool:
        topic = self._topics.get(stream.job_id, _Topic())
        known = stream in topic.streams
        topic.streams.discard(stream)
        if not topic.streams:
            self._topics.pop(stream.job_id, None)
        return known

    def _end_all(self) -> None:
        with self._lock:
            viewers = [stream for topic in self._topics.values() for stream in topic.streams]
            for stream in [*viewers, *self._lists]:
                stream.end()

    # --- the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._wanted():
                connected = self.connected
                for message in self._listener.receive(_TICK_SECONDS):
                    self._take(message)
                if self.connected != connected:
                    self._next_poll = 0.0  # what was said meanwhile, nobody heard
                self._serve()
        except Exception:
            log.exception("The live thread died; its viewers will come back to a new one.")
            raise
        finally:
            self._listener.close()
            self._over()

    def _wanted(self) -> bool:
        """Tell whether to go on; if not, the next viewer starts a new thread."""
        with self._lock:
            idle = not self._open_streams and self._clock() - self._empty_since > _LINGER_SECONDS
            if not idle and not self._closed.is_set():
                return True
            self._thread = None
            self._started = False
            return False

    def _over(self) -> None:
        with self._lock:
            if self._thread is threading.current_thread():  # died
                self._thread = None
                self._started = False
                self._end_all()

    def _take(self, message: Message) -> None:
        if message.type in ("progress", "log"):
            with self._lock:
                topic = self._topics.get(message.job_id)
                if topic is not None:
                    topic.put([Letter(event_frame(message.type, message.data))])
        if message.type == "progress" and self._open_streams:
            self._progress[message.job_id] = message.data
        if message.type != "log":
            self._dirty.add(message.job_id)

    def _serve(self) -> None:
        """Read what changed, and tell whom it concerns; an error leaves it for the next time."""
        poll = self._clock() >= self._next_poll
        if not poll and not self._dirty:
            return
        try:
            with self._database.read() as session:
                if poll:
                    self._poll(session)
                self._send_changed(session)
        except SQLAlchemyError as error:
            log.warning("Live pages wait for the database: %s", error)
            self._closed.wait(_POLL_WITHOUT_REDIS_SECONDS)

    def _poll(self, session: Session) -> None:
        if not self._started:
            self._changes = Changes(self._clock)
            self._changes.start(session)
            self._progress.clear()
            self._begin()
        self._dirty |= self._changes.look(session, list(self._topics))
        pause = _POLL_WITH_REDIS_SECONDS if self.connected else _POLL_WITHOUT_REDIS_SECONDS
        self._next_poll = self._clock() + pause

    def _begin(self) -> None:
        """Tell everybody who came before we listened that they may have missed something."""
        with self._lock:
            self._started = True
            self._dirty |= self._topics.keys()
            for stream in self._lists:
                stream.mailbox.put([SYNC])

    def _send_changed(self, session: Session) -> None:
        with self._lock:
            wanted = sorted(self._dirty if self._lists else self._dirty & self._topics.keys())
        for start in range(0, len(wanted), _JOBS_AT_ONCE):
            chunk = wanted[start : start + _JOBS_AT_ONCE]
            found = session.scalars(sa.select(Job).where(Job.id.in_(chunk)))
            jobs = {job.id: job for job in found}
            for job_id in chunk:
                if job_id in jobs:
                    self._send(session, jobs[job_id])
                else:
                    self._send_gone(job_id)
        self._dirty.clear()

    def _send(self, session: Session, job: Job) -> None:
        if job.status is not Status.RUNNING:
            self._progress.pop(job.id, None)
        progress = self._progress.get(job.id)
        self._send_to_viewers(session, job, progress)
        self._send_to_lists(Letter(event_frame("job", with_progress(job_item(job), progress))))

    def _send_to_viewers(self, session: Session, job: Job, progress: dict[str, Any] | None) -> None:
        with self._lock:
            topic = self._topics.get(job.id)
            position = topic.position if topic else START
        if topic is None:
            return
        epochs = [epoch_letter(row) for row in epochs_after(session, job.id, position)]
        with self._lock:
            topic.position = max([topic.position, *(letter.position for letter in epochs)])
            topic.put([*epochs, job_letter(job, progress), *end_letters(job)])

    def _send_gone(self, job_id: int) -> None:
        self._progress.pop(job_id, None)
        self._send_to_lists(Letter(event_frame("gone", {"id": job_id})))
        with self._lock:
            topic = self._topics.get(job_id, _Topic())
            topic.put([Letter(event_frame("end", {"status": None}), last=True)])

    def _send_to_lists(self, letter: Letter) -> None:
        with self._lock:
            for stream in self._lists:
                stream.mailbox.put([letter])

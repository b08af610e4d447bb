"""Live pages: the one thread that tells viewers what happens.

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
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared.database import Database
from shared.live import Message
from shared.models import Job, Status
from shared.records import job_item
from web.audience import Audience
from web.changes import Changes
from web.errors import Busy
from web.listener import Listener
from web.streams import (
    SYNC,
    JobStream,
    Letter,
    ListStream,
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
        self._clock = clock
        self._audience = Audience(max_streams)
        self._closed = threading.Event()
        self._listener = Listener(redis_url, self._closed, clock)
        # Guarded by the lock:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._started = False  # from here on nothing that changes is missed
        self._last_viewer_at = clock()
        # The thread's own:
        self._changes = Changes(clock)
        self._dirty: set[int] = set()
        self._progress: dict[int, dict[str, Any]] = {}
        self._next_poll = 0.0

    # --- for views ------------------------------------------------------------------------------

    @property
    def open_streams(self) -> int:
        """How many streams are open."""
        return len(self._audience)

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
        self._admit(stream)
        try:
            stream.prepare()
        except BaseException:
            stream.close()
            raise
        self._audience.begin_at(stream)
        return stream

    def watch_list(self) -> ListStream:
        """Open a stream of all jobs that change; the caller must close it.

        Raises:
            Busy: there are too many streams.
        """
        stream = ListStream(self._forget)
        self._admit(stream)
        with self._lock:
            if self._started:
                stream.mailbox.put([SYNC])
        return stream

    def close(self) -> None:
        """End all streams, and open no new ones."""
        self._closed.set()
        self._audience.end_all()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the thread to end, after `close`."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_seconds)

    def _admit(self, stream: Stream) -> None:
        with self._lock:
            if self._closed.is_set():
                raise Busy("The server is stopping.")
            self._audience.add(stream)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="live", daemon=True)
                self._thread.start()

    def _forget(self, stream: Stream) -> None:
        self._audience.remove(stream)
        self._last_viewer_at = self._clock()

    # --- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._wanted():
                connected = self.connected
                for message in self._listener.receive(_TICK_SECONDS):
                    self._take(message)
                if self.connected != connected:
                    self._next_poll = 0.0  # what was said meanwhile, nobody heard
                self._serve()
        finally:
            self._over()

    def _wanted(self) -> bool:
        """Tell whether to go on; if not, the next viewer starts a new thread."""
        with self._lock:
            idle_seconds = 0.0 if len(self._audience) else self._clock() - self._last_viewer_at
            if idle_seconds <= _LINGER_SECONDS and not self._closed.is_set():
                return True
            self._give_up()
            return False

    def _over(self) -> None:
        """After an error that we do not know: let the viewers come back to a new thread."""
        with self._lock:
            died = self._thread is threading.current_thread()
            if died:
                self._give_up()
        if died:
            self._audience.end_all()

    def _give_up(self) -> None:
        """End this thread's part, under the lock: the next thread has the same listener."""
        self._thread, self._started = None, False
        self._listener.close()

    def _take(self, message: Message) -> None:
        if message.type in ("progress", "gauge", "log"):
            letter = Letter(event_frame(message.type, message.data))
            self._audience.tell_viewers(message.job_id, [letter])
        if message.type == "progress":
            self._progress[message.job_id] = message.data
        if message.type not in ("gauge", "log"):
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
            self._begin(session)
        self._dirty |= self._changes.look(session, self._audience.watched())
        pause = _POLL_WITH_REDIS_SECONDS if self.connected else _POLL_WITHOUT_REDIS_SECONDS
        self._next_poll = self._clock() + pause

    def _begin(self, session: Session) -> None:
        """Tell everybody who came before we listened that they may have missed something."""
        self._changes = Changes(self._clock)
        self._changes.start(session)
        self._progress.clear()
        with self._lock:
            self._started = True
            self._audience.tell_lists(SYNC)
        self._dirty |= self._audience.watched()

    def _send_changed(self, session: Session) -> None:
        audience = self._audience
        wanted = sorted(self._dirty if audience.has_lists else self._dirty & audience.watched())
        for start in range(0, len(wanted), _JOBS_AT_ONCE):
            chunk = wanted[start : start + _JOBS_AT_ONCE]
            found = session.scalars(sa.select(Job).where(Job.id.in_(chunk)))
            jobs = {job.id: job for job in found}
            for job_id in chunk:
                if job_id in jobs:
                    self._send(session, jobs[job_id])
                else:
                    self._send_gone(job_id)
        for job_id in self._dirty.difference(wanted):
            self._progress.pop(job_id, None)
        self._dirty.clear()

    def _send(self, session: Session, job: Job) -> None:
        if job.status is not Status.RUNNING:
            self._progress.pop(job.id, None)
        progress = self._progress.get(job.id)
        position = self._audience.position(job.id)
        if position is not None:
            epochs = [epoch_letter(row) for row in epochs_after(session, job.id, position)]
            letters = [*epochs, job_letter(job, progress), *end_letters(job)]
            self._audience.tell_viewers(job.id, letters)
        if self._audience.has_lists:
            item = with_progress(job_item(job), progress)
            self._audience.tell_lists(Letter(event_frame("job", item)))

    def _send_gone(self, job_id: int) -> None:
        self._progress.pop(job_id, None)
        self._audience.tell_lists(Letter(event_frame("gone", {"id": job_id})))
        end = Letter(event_frame("end", {"status": None}), last=True)
        self._audience.tell_viewers(job_id, [end])

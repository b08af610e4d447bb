"""Who watches what, and what all viewers of a job have been told.

Owns the lock around it; request threads come and go while the live thread tells. Knows neither
SQL nor Redis.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from web.errors import Busy
from web.streams import START, JobStream, Letter, ListStream, Position, Stream


@dataclass
class _Topic:
    """The viewers of one job; `position`: what they all have been told."""

    streams: set[JobStream] = field(default_factory=set)
    position: Position = START


class Audience:
    """The open streams of one process.

    Args:
        max_streams: how many there may be.
    """

    def __init__(self, max_streams: int) -> None:
        self._max_streams = max_streams
        self._lock = threading.Lock()
        self._topics: dict[int, _Topic] = {}
        self._lists: set[ListStream] = set()
        self._size = 0

    def __len__(self) -> int:
        """Return how many streams are open."""
        return self._size

    def add(self, stream: Stream) -> None:
        """Register a stream.

        Raises:
            Busy: there are too many.
        """
        with self._lock:
            if self._size >= self._max_streams:
                raise Busy(f"All {self._max_streams} live streams are taken; poll instead.")
            self._size += 1
            if isinstance(stream, JobStream):
                self._topics.setdefault(stream.job_id, _Topic()).streams.add(stream)
            elif isinstance(stream, ListStream):
                self._lists.add(stream)

    def remove(self, stream: Stream) -> None:
        """Forget a stream; doing it twice is no error."""
        with self._lock:
            if isinstance(stream, JobStream):
                self._size -= self._remove_viewer(stream)
            elif stream in self._lists:
                self._lists.discard(stream)
                self._size -= 1

    def begin_at(self, stream: JobStream) -> None:
        """Spare a job's first viewer what it has read itself; others may have read less."""
        with self._lock:
            topic = self._topics[stream.job_id]
            if len(topic.streams) == 1:
                topic.position = max(topic.position, stream.position)

    @property
    def has_lists(self) -> bool:
        """Whether anybody watches all jobs."""
        return bool(self._lists)

    def watched(self) -> set[int]:
        """Return the jobs that somebody watches."""
        with self._lock:
            return set(self._topics)

    def position(self, job_id: int) -> Position | None:
        """Return what the viewers of a job have all been told; None if there are none."""
        with self._lock:
            topic = self._topics.get(job_id)
            return topic.position if topic else None

    def tell_viewers(self, job_id: int, letters: list[Letter]) -> None:
        """Put letters into the mailboxes of a job's viewers."""
        with self._lock:
            topic = self._topics.get(job_id, _Topic())
            for stream in topic.streams:
                stream.mailbox.put(letters)
            topic.position = max(
                [topic.position, *(letter.position or START for letter in letters)]
            )

    def tell_lists(self, letter: Letter) -> None:
        """Put a letter into the mailboxes of those who watch all jobs."""
        with self._lock:
            for stream in self._lists:
                stream.mailbox.put([letter])

    def end_all(self) -> None:
        """Let every stream end."""
        with self._lock:
            viewers = [stream for topic in self._topics.values() for stream in topic.streams]
            for stream in [*viewers, *self._lists]:
                stream.end()

    def _remove_viewer(self, stream: JobStream) -> bool:
        topic = self._topics.get(stream.job_id, _Topic())
        known = stream in topic.streams
        topic.streams.discard(stream)
        if not topic.streams:
            self._topics.pop(stream.job_id, None)
        return known

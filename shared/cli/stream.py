"""Following a job: its event stream, resumed when it breaks, and polling where there is none."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from shared.cli.client import Client
from shared.cli.errors import Refused, Unreachable

TERMINAL = ("succeeded", "failed", "cancelled")
_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = 30.0
_SILENT_STREAMS_BEFORE_POLLING = 2
_TOO_MANY_REQUESTS = 429


@dataclass(frozen=True)
class Message:
    """Something new about a job.

    Attributes:
        kind: `job`, `epoch`, `progress`, `log`, or `end`.
        data: the detail, the epoch's row, the progress event, or `{"lines": [...]}`.
    """

    kind: str
    data: dict[str, Any]


@dataclass(frozen=True)
class ServerSentEvent:
    """One event of a stream.

    Attributes:
        kind: its type.
        data: the text.
        id: what a reader sends back as Last-Event-ID; None if the event has none.
    """

    kind: str
    data: str
    id: str | None


def parse_events(lines: Iterator[str]) -> Iterator[ServerSentEvent]:
    """Parse server-sent events (HTML standard, section 9.2); comments and `retry` are skipped."""
    kind, data, event_id = "message", list[str](), None
    for line in lines:
        if line == "":
            if data:
                yield ServerSentEvent(kind, "\n".join(data), event_id)
            kind, data, event_id = "message", [], None
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        elif name == "id":
            event_id = value


class Follower:
    """Yields what happens to a job until it is over.

    Args:
        client: the server.
        job_id: the job.
        pause: waits between two polls; gets seconds.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        client: Client,
        job_id: int,
        *,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._path = f"/jobs/{job_id}"
        self._pause = pause
        self._clock = clock
        self._last_id: str | None = None
        self._last_epoch = 0
        self._away_since: float | None = None

    def messages(self) -> Iterator[Message]:
        """Yield messages, the job's detail first; the last one is `end`, with the detail again.

        Raises:
            Refused: no such job, or no right to see it.
            Unreachable: the server is away at first, or later for more than half a minute.
        """
        yield Message("job", self._client.get(self._path))
        silent_streams = 0
        while True:
            silent_streams += 1
            streaming = silent_streams <= _SILENT_STREAMS_BEFORE_POLLING
            try:
                for message in self._streamed() if streaming else self._polled():
                    self._away_since = None
                    silent_streams = 0 if streaming else silent_streams
                    yield message
                    if message.kind == "end":
                        return
            except (Refused, Unreachable) as error:
                self._require_patience(error)
            self._pause(_POLL_SECONDS)

    def _require_patience(self, error: Refused | Unreachable) -> None:
        """Raise what waiting does not mend."""
        if isinstance(error, Refused) and error.status != _TOO_MANY_REQUESTS:
            raise error
        now = self._clock()
        self._away_since = now if self._away_since is None else self._away_since
        if now - self._away_since > _PATIENCE_SECONDS:
            raise error

    def _streamed(self) -> Iterator[Message]:
        with self._client.lines(f"{self._path}/stream", self._last_id) as lines:
            for event in parse_events(lines):
                self._last_id = event.id or self._last_id
                if event.kind == "end":
                    yield self._end()
                    return
                yield self._noted(Message(event.kind, json.loads(event.data)))

    def _polled(self) -> Iterator[Message]:
        job = self._client.get(self._path)
        yield Message("job", job)
        for epoch in self._client.get(f"{self._path}/epochs")["items"]:
            if epoch["epoch"] > self._last_epoch:
                yield self._noted(Message("epoch", epoch))
        if job["status"] in TERMINAL:
            yield Message("end", job)

    def _noted(self, message: Message) -> Message:
        if message.kind == "epoch":
            self._last_epoch = max(self._last_epoch, message.data["epoch"])
        if message.kind == "job" and "status" not in message.data:  # "changed: look again"
            return Message("job", self._client.get(self._path))
        return message

    def _end(self) -> Message:
        return Message("end", self._client.get(self._path))

"""Following a job: the stream, its breaks, and polling."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from shared.cli.client import Client
from shared.cli.errors import Refused, Unreachable
from shared.cli.stream import Follower, Message, parse_events


class _Server:
    """A server of one job whose streams are given as text; when they run out, it refuses them."""

    def __init__(self, *streams: str | httpx.TransportError) -> None:
        self.streams: Iterator[str | httpx.TransportError] = iter(streams)
        self.job: dict[str, Any] = {"id": 3, "status": "running"}
        self.epochs: list[dict[str, Any]] = []
        self.last_ids: list[str | None] = []
        self.clock = 0.0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v1/jobs/3")
        if path == "/stream":
            self.last_ids.append(request.headers.get("Last-Event-ID"))
            stream = next(self.streams, None)
            if stream is None:
                return httpx.Response(503, json={"detail": "Too many streams."})
            if isinstance(stream, httpx.TransportError):
                raise stream
            return httpx.Response(200, text=stream)
        if path == "/epochs":
            return httpx.Response(200, json={"items": self.epochs, "next_cursor": None})
        return httpx.Response(200, json=self.job)

    def pause(self, seconds: float) -> None:
        self.clock += seconds

    def follow(self, handler: Callable[[httpx.Request], httpx.Response] | None = None) -> Follower:
        transport = httpx.MockTransport(handler or self)
        client = Client("http://yard.test", transport=transport)
        return Follower(client, 3, pause=self.pause, clock=lambda: self.clock)


def _event(kind: str, data: Any, event_id: str | None = None) -> str:
    lines = [f"event: {kind}", f"data: {json.dumps(data)}"]
    return "\n".join(lines + ([f"id: {event_id}"] if event_id else [])) + "\n\n"


def _kinds(messages: list[Message]) -> list[str]:
    return [message.kind for message in messages]


def test_events_are_parsed_with_comments_several_lines_and_an_unfinished_last_one() -> None:
    text = ": hello\n\nevent: log\ndata: one\ndata:two\n\nid: e1\ndata: x\n\ndata: unfinished"
    events = list(parse_events(iter(text.split("\n"))))
    assert [(event.kind, event.data, event.id) for event in events] == [
        ("log", "one\ntwo", None),
        ("message", "x", "e1"),
    ]


def test_a_stream_is_followed_to_its_end() -> None:
    server = _Server(
        _event("job", {"id": 3, "status": "running"})
        + _event("epoch", {"epoch": 1}, "e1")
        + _event("progress", {"epoch": 2})
        + _event("end", {})
    )
    server.job = {"id": 3, "status": "succeeded"}
    messages = list(server.follow().messages())
    assert _kinds(messages) == ["job", "job", "epoch", "progress", "end"]
    assert messages[-1].data == server.job


def test_a_broken_stream_goes_on_after_the_last_event_that_was_seen() -> None:
    server = _Server(
        _event("job", {"id": 3, "status": "running"}) + _event("epoch", {"epoch": 1}, "e1"),
        _event("epoch", {"epoch": 2}, "e2") + _event("end", {}),
    )
    assert _kinds(list(server.follow().messages())) == ["job", "job", "epoch", "epoch", "end"]
    assert server.last_ids == [None, "e1"]


def test_polling_takes_over_when_streams_keep_failing_and_repeats_no_epoch() -> None:
    server = _Server(_event("epoch", {"epoch": 1}, "e1"), httpx.ReadError("cut"))
    server.epochs = [{"epoch": 1}, {"epoch": 2}]
    server.job = {"id": 3, "status": "failed"}
    messages = list(server.follow().messages())
    assert _kinds(messages) == ["job", "epoch", "job", "epoch", "end"]
    assert [m.data["epoch"] for m in messages if m.kind == "epoch"] == [1, 2]


def test_a_job_event_without_data_is_looked_up() -> None:
    server = _Server(_event("job", {}) + _event("end", {}))
    messages = list(server.follow().messages())
    assert messages[1] == Message("job", server.job)


def test_an_unknown_job_is_refused_at_once() -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={"detail": "There is no job 3."})

    server = _Server()
    with pytest.raises(Refused, match=r"There is no job 3\."):
        list(server.follow(refuse).messages())
    assert server.clock == 0


def test_a_server_that_is_away_at_first_is_given_up_at_once() -> None:
    def cut(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    server = _Server()
    with pytest.raises(Unreachable):
        list(server.follow(cut).messages())
    assert server.clock == 0


def test_a_server_that_goes_away_is_given_up_after_half_a_minute() -> None:
    server = _Server()
    requests = 0

    def goes_away(_request: httpx.Request) -> httpx.Response:
        nonlocal requests
        requests += 1
        if requests > 1:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json=server.job)

    with pytest.raises(Unreachable):
        list(server.follow(goes_away).messages())
    assert 30 < server.clock < 35


def test_streams_that_break_after_they_said_something_are_opened_again_and_again() -> None:
    epochs = [_event("epoch", {"epoch": number}, f"e{number}") for number in range(1, 9)]
    server = _Server(*epochs, _event("end", {}))
    messages = list(server.follow().messages())
    assert _kinds(messages) == ["job", *["epoch"] * 8, "end"]

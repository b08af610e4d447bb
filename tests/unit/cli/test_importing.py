"""Imports from the command line: names on the way, and a server that comes and goes."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from shared.cli import importing
from shared.cli.client import Client
from shared.cli.errors import Refused, Unreachable
from shared.spec.dataset_import import ImportOptions

DONE = {"id": 1, "status": "done", "progress": None}
QUEUED = {"id": 1, "status": "queued", "progress": None}


class Server:
    """Answers looks at an import one after the other; an exception is raised.

    Attributes:
        asked: method and path of each request.
    """

    def __init__(self, *looks: httpx.Response | Exception) -> None:
        self.asked: list[str] = []
        self._looks = list(looks)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        self.asked.append(f"{request.method} {request.url.path.removeprefix('/api/v1')}")
        if request.method != "GET":
            return httpx.Response(204 if request.method == "DELETE" else 200, json=QUEUED)
        answer = self._looks.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def import_nothing(self) -> dict[str, object]:
        """Start an import here, and follow it to its end."""
        client = Client("http://yard.test", None, httpx.MockTransport(self))
        return importing.run(client, {"name": "flowers"}, [])


def test_files_of_one_name_are_told_apart_and_keep_what_their_names_say(tmp_path: Path) -> None:
    files = [
        tmp_path / folder / name for folder in ("a", "test", "b") for name in ("x.idx", "y.idx")
    ]
    found = importing.gather(files, train=[tmp_path / "more.csv"], test=[])
    assert [one.name for one in found] == [
        *("x.idx", "y.idx"),
        *("2-x.idx", "2-y.idx"),
        *("3-x.idx", "3-y.idx"),
        "more.csv",
    ]
    assert [one.part for one in found] == [None] * 6 + ["train"]


def test_a_lost_answer_to_the_start_ends_no_import() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        server.asked.append(request.method)
        if request.url.path.endswith("/start"):
            raise httpx.ReadTimeout("slow")
        return httpx.Response(202, json=QUEUED)

    server = Server()
    client = Client("http://yard.test", None, httpx.MockTransport(answer))
    with pytest.raises(Unreachable):
        importing.run(client, {"name": "flowers"}, [])
    assert server.asked == ["POST", "POST"]


def test_a_server_that_is_away_for_a_moment_ends_no_import() -> None:
    server = Server(
        httpx.Response(503, json={"status": 503, "title": "Service Unavailable"}),
        httpx.ReadTimeout("slow"),
        httpx.Response(200, json=DONE),
    )
    assert server.import_nothing() == DONE
    assert not any(request.startswith("DELETE") for request in server.asked)


def test_an_import_that_is_gone_is_told_and_not_waited_for() -> None:
    server = Server(httpx.Response(404, json={"status": 404, "title": "Not Found"}))
    with pytest.raises(Refused):
        server.import_nothing()
    assert not any(request.startswith("DELETE") for request in server.asked)


def test_who_stops_waiting_ends_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shared.cli.importing.time.sleep", interrupt)
    server = Server()
    with pytest.raises(KeyboardInterrupt):
        server.import_nothing()
    assert server.asked[-1] == "DELETE /imports/1"


def test_a_column_may_be_told_by_its_number() -> None:
    assert ImportOptions.model_validate({"label_column": 785}).label_column == "785"
    with pytest.raises(ValueError, match="label_column"):
        ImportOptions.model_validate({"label_column": True})

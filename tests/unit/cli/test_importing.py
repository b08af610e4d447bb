"""Imports from the command line: names on the way, and a server that comes and goes."""

from __future__ import annotations

import errno
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.progress import Progress, TaskID

from shared.cli import app, importing
from shared.cli.client import Client
from shared.cli.errors import Refused, Unsendable
from shared.spec.dataset_import import ImportOptions

DONE = {"id": 1, "status": "done", "progress": None}
QUEUED = {"id": 1, "status": "queued", "progress": None}


class Server:
    """Answers looks at an import one after the other; an exception is raised.

    Attributes:
        asked: method and path of each request.
        received: the content of each file.
    """

    def __init__(self, *looks: httpx.Response | Exception) -> None:
        self.asked: list[str] = []
        self.received: list[bytes] = []
        self._looks = list(looks)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        self.asked.append(f"{request.method} {request.url.path.removeprefix('/api/v1')}")
        if request.method == "PUT":
            self.received.append(request.content)
        if request.method != "GET":
            return httpx.Response(204 if request.method == "DELETE" else 200, json=QUEUED)
        answer = self._looks.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def import_nothing(self) -> dict[str, object]:
        """Start an import here, and follow it to its end."""
        return self.send()

    def send(self, *paths: Path) -> dict[str, object]:
        """Send files here, and follow the import to its end."""
        client = Client("http://yard.test", None, httpx.MockTransport(self))
        files = importing.gather(list(paths), train=[], test=[])
        return importing.run(client, {"name": "flowers"}, files)


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


def test_a_link_keeps_its_name_and_with_it_its_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blob1").write_bytes(b"1")
    (tmp_path / "train.csv").symlink_to("blob1")
    (tmp_path / "store").mkdir()
    (tmp_path / "test").symlink_to("store")
    monkeypatch.chdir(tmp_path / "store")
    given = [tmp_path / "train.csv", tmp_path / "test", Path(), Path("../store/..")]
    found = importing.gather(given, train=[], test=[])
    assert [one.name for one in found] == [
        "train.csv",
        "test.zip",
        "store.zip",
        f"{tmp_path.name}.zip",
    ]


def pictures(tmp_path: Path) -> Path:
    """Write a folder with a file of 1970 in it."""
    folder = tmp_path / "flowers"
    (folder / "rose").mkdir(parents=True)
    (folder / "rose" / "1.png").write_bytes(b"1")
    (folder / "rose" / "2.png").write_bytes(b"22")
    os.utime(folder / "rose" / "1.png", (0, 0))
    return folder


def test_a_folder_is_packed_whatever_its_files_dates_and_a_bar_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[tuple[str, float | None]] = []
    add_task = Progress.add_task

    def note(self: Progress, description: str, **options: Any) -> TaskID:
        bars.append((description, options.get("total")))
        return add_task(self, description, **options)

    monkeypatch.setattr(Progress, "add_task", note)
    server = Server(httpx.Response(200, json=DONE))
    server.send(pictures(tmp_path))
    with zipfile.ZipFile(io.BytesIO(server.received[0])) as archive:
        assert archive.namelist() == ["rose/1.png", "rose/2.png"]
        assert archive.getinfo("rose/1.png").date_time[0] == 1980
    assert bars[0] == ("Packing flowers", 3)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "1.png"), "1.png cannot be read: Perm"),
        (OSError(errno.ENOSPC, "No space left on device"), "there is no room in"),
    ],
)
def test_what_cannot_be_packed_is_told_and_ends_the_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, words: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(zipfile.ZipFile, "write", fail)
    server = Server()
    with pytest.raises(Unsendable, match=words):
        server.send(pictures(tmp_path))
    assert server.asked[-1] == "DELETE /imports/1"


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    server = Server()
    with pytest.raises(Unsendable, match=r"gone\.csv cannot be read: No such file"):
        server.send(tmp_path / "gone.csv")


def test_what_cannot_be_sent_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: Any) -> None:
        raise Unsendable("a.csv cannot be read: Permission denied.")

    monkeypatch.setattr(app, "app", fail)
    assert app.run() == app.WRONG_USAGE == 2
    assert "a.csv cannot be read" in capsys.readouterr().err


def test_a_lost_answer_to_the_start_is_asked_for_again() -> None:
    conflict = httpx.Response(409, json={"status": 409, "title": "Conflict"})
    answers: list[httpx.Response | Exception] = [httpx.ReadTimeout("slow"), conflict]
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path.removeprefix('/api/v1')}")
        if not request.url.path.endswith("/start"):
            return httpx.Response(200, json=DONE)
        first = answers.pop(0)
        if isinstance(first, Exception):
            raise first
        return first

    client = Client("http://yard.test", None, httpx.MockTransport(answer))
    assert importing.run(client, {"name": "flowers"}, []) == DONE
    assert asked == [
        *("POST /datasets", "POST /imports/1/start", "POST /imports/1/start"),
        "GET /imports/1",
    ]


def test_a_server_that_is_away_for_a_moment_ends_no_import() -> None:
    server = Server(
        httpx.Response(503, json={"status": 503, "title": "Service Unavailable"}),
        httpx.ReadTimeout("slow"),
        httpx.Response(200, json=DONE),
    )
    assert server.import_nothing() == DONE
    assert not any(request.startswith("DELETE") for request in server.asked)


def test_an_import_that_waits_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    update = Progress.update

    def note(self: Progress, task: TaskID, **options: Any) -> None:
        said.append(options["description"])
        update(self, task, **options)

    monkeypatch.setattr(Progress, "update", note)
    waits = QUEUED | {"waiting": "No worker is connected: it waits until one is."}
    server = Server(httpx.Response(200, json=waits), httpx.Response(200, json=DONE))
    server.import_nothing()
    assert said[-1] == "No worker is connected: it waits until one is."


def test_an_import_that_is_gone_is_told_and_not_waited_for() -> None:
    server = Server(httpx.Response(404, json={"status": 404, "title": "Not Found"}))
    with pytest.raises(Refused):
        server.import_nothing()
    assert not any(request.startswith("DELETE") for request in server.asked)


def test_who_stops_waiting_ends_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importing, "_pause", interrupt)
    server = Server()
    with pytest.raises(KeyboardInterrupt):
        server.import_nothing()
    assert server.asked[-1] == "DELETE /imports/1"


def test_a_column_may_be_told_by_its_number() -> None:
    assert ImportOptions.model_validate({"label_column": 785}).label_column == "785"
    with pytest.raises(ValueError, match="label_column"):
        ImportOptions.model_validate({"label_column": True})

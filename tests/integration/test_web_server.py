"""The web server as a process: memory, many viewers, viewers that vanish, a stop in seconds."""

from __future__ import annotations

import http.client
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

from shared.database import Database
from shared.live import Publisher
from shared.models import Status
from shared.settings import Settings
from tests import parts
from tests.services import free_port
from tests.waiting import wait_until
from tests.web_client import add_datasets, add_epoch, add_job

VIEWERS = 200
MAX_RESIDENT_BYTES = 150_000_000
ANSWER_SECONDS = 30.0
# On a machine that does much else; about half a second on an idle one.
STOP_SECONDS = 8.0


class Viewer:
    """Somebody who follows a stream, over a connection of its own.

    Args:
        port: of the server.
        path: of the stream, below the API.
        last_event_id: what the viewer has seen already.
    """

    def __init__(self, port: int, path: str, last_event_id: str = "") -> None:
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
        self._connection.request("GET", f"/api/v1{path}", headers=headers)
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200
        assert self._answer.readline().startswith(b"retry:")

    def lines_until(self, start: str) -> list[str]:
        """Read up to a line that starts like this, and return what came."""
        lines = [self._next_line()]
        while not lines[-1].startswith(start):
            lines.append(self._next_line())
        return lines

    def rest(self) -> str:
        """Read to the end of the stream; an end in the middle of a frame is an error."""
        return self._answer.read().decode()

    def close(self) -> None:
        """Vanish."""
        self._answer.close()
        self._connection.close()

    def _next_line(self) -> str:
        line = self._answer.readline()
        assert line, "The stream ended."
        return line.decode().rstrip("\n")


@dataclass
class Server:
    """A running web server, and the viewers that a test has opened."""

    process: subprocess.Popen[bytes]
    port: int
    database: Database
    publisher: Publisher
    viewers: ExitStack = field(default_factory=ExitStack)

    def get(self, path: str) -> httpx.Response:
        """Request a path over a connection of its own."""
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=ANSWER_SECONDS)

    def watch(self, path: str, number: int = 1) -> list[Viewer]:
        """Open streams; they are closed at the end of the test."""
        return [self.viewers.enter_context(closing(Viewer(self.port, path))) for _ in range(number)]

    def record_epoch(self, job_id: int, epoch: int) -> None:
        """Do as a worker does at the end of an epoch."""
        add_epoch(self.database, job_id, epoch)
        self.publisher.publish(job_id, "epoch", {})

    @property
    def open_streams(self) -> int:
        """How many streams it counts."""
        return int(_figure(self.get("/metrics").text, "trainyard_live_streams"))

    @property
    def resident_bytes(self) -> int:
        """Memory of its largest process."""
        main = psutil.Process(self.process.pid)
        return max(one.memory_info().rss for one in [main, *main.children(recursive=True)])


@pytest.fixture
def server(
    tmp_path: Path, sqlite_url: str, redis_url: str, no_process_left: None
) -> Iterator[Server]:
    settings = Settings(data_dir=tmp_path / "var", database_url=sqlite_url, redis_url=redis_url)
    with _running(settings, tmp_path / "web.log") as server, server.viewers:
        yield server
    assert "Traceback" not in (tmp_path / "web.log").read_text()


@contextmanager
def _running(settings: Settings, log: Path, **changes: str) -> Iterator[Server]:
    port = free_port()
    env = parts.environment(settings, **changes)
    with (
        closing(Publisher(settings.resolved_redis_url)) as publisher,
        _open(settings) as database,
        parts.process("web", env, log, arguments=["--port", str(port)]) as process,
    ):
        add_datasets(database)
        server = Server(process, port, database, publisher)
        wait_until(lambda: _is_ready(server), what="the server is ready")
        yield server


@contextmanager
def _open(settings: Settings) -> Iterator[Database]:
    database = Database(settings.resolved_database_url)
    yield database
    database.dispose()


def _is_ready(server: Server) -> bool:
    assert server.process.poll() is None
    try:
        return bool(server.get("/readyz").json()["status"] == "ready")
    except httpx.TransportError:
        return False


def _figure(exposition: str, name: str) -> float:
    return next(
        float(line.split()[1]) for line in exposition.splitlines() if line.startswith(f"{name} ")
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_in_seconds_and_lets_every_stream_end_whole(
    server: Server, number: signal.Signals
) -> None:
    job_id = add_job(server.database, status=Status.RUNNING)
    viewers = [*server.watch(f"/jobs/{job_id}/stream", 20), *server.watch("/stream", 20)]
    began = time.monotonic()
    server.process.send_signal(number)
    assert server.process.wait(STOP_SECONDS) == 0
    print(f"stopped after {time.monotonic() - began:.2f} s with {len(viewers)} streams open")
    for viewer in viewers:
        viewer.rest()  # raises if the connection was cut


def test_two_hundred_viewers_see_everything_while_it_stays_quick_and_small(
    server: Server,
) -> None:
    job_id = add_job(server.database, status=Status.RUNNING)
    for _ in range(200):
        add_job(server.database)
    viewers = [
        *server.watch(f"/jobs/{job_id}/stream", VIEWERS // 2),
        *server.watch("/stream", VIEWERS // 2),
    ]
    assert server.open_streams == VIEWERS
    seconds = []
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=ANSWER_SECONDS) as client:
        for epoch in range(1, 41):
            server.record_epoch(job_id, epoch)
            for path in ("/api/v1/jobs", f"/api/v1/jobs/{job_id}", "/", f"/jobs/{job_id}"):
                began = time.perf_counter()
                assert client.get(path).status_code == 200, path
                if path == "/api/v1/jobs":
                    seconds.append(time.perf_counter() - began)
    for viewer in viewers[: VIEWERS // 2]:
        told = [line for line in viewer.lines_until("id: e40") if line.startswith("id: ")]
        assert told == [f"id: e{epoch}" for epoch in range(1, 41)]
    for viewer in viewers[VIEWERS // 2 :]:
        while '"epochs_done":40' not in viewer.lines_until("data: {")[-1]:
            pass
    p95 = statistics.quantiles(seconds, n=20)[-1]
    print(
        f"{VIEWERS} viewers: list p95 {p95 * 1000:.0f} ms, "
        f"resident {server.resident_bytes / 1e6:.0f} MB"
    )
    assert statistics.median(seconds) < 1.0  # the worst are the machine's as often as the server's
    assert server.resident_bytes < MAX_RESIDENT_BYTES


def test_a_viewer_that_comes_back_is_told_only_what_it_missed(server: Server) -> None:
    job_id = add_job(server.database, status=Status.RUNNING)
    for epoch in (1, 2, 3):
        add_epoch(server.database, job_id, epoch)
    path = f"/jobs/{job_id}/stream"
    with closing(Viewer(server.port, path, last_event_id="e2")) as viewer:
        lines = viewer.lines_until("id: e3")
        assert not {"id: e1", "id: e2"} & set(lines)
        server.record_epoch(job_id, 4)
        viewer.lines_until("id: e4")


def test_viewers_that_vanish_are_forgotten(server: Server) -> None:
    job_id = add_job(server.database, status=Status.RUNNING)
    viewers = [*server.watch(f"/jobs/{job_id}/stream", 3), *server.watch("/stream", 3)]
    assert server.open_streams == 6
    for viewer in viewers[1:]:
        viewer.close()

    def forgotten() -> bool:
        server.publisher.publish(job_id, "progress", {"epoch": 1})
        return server.open_streams == 1

    wait_until(forgotten, what="the server counts the one viewer that is left")
    server.record_epoch(job_id, 1)
    viewers[0].lines_until("id: e1")


def test_streams_beyond_the_limit_are_refused_until_one_ends(
    tmp_path: Path, sqlite_url: str, redis_url: str, no_process_left: None
) -> None:
    settings = Settings(data_dir=tmp_path / "var", database_url=sqlite_url, redis_url=redis_url)
    limit = {"TRAINYARD_MAX_STREAMS": "2"}
    with _running(settings, tmp_path / "web.log", **limit) as server, server.viewers:
        first, _ = server.watch("/stream", 2)
        refused = server.get("/api/v1/stream")
        assert refused.status_code == 503
        assert refused.headers["Content-Type"] == "application/problem+json"
        first.close()
        job_id = add_job(server.database, status=Status.RUNNING)

        def free() -> bool:
            server.publisher.publish(job_id, "job", {})
            return server.open_streams == 1

        wait_until(free, what="the place is free again")
        server.watch("/stream")

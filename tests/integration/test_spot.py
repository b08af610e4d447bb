"""The spot watcher against a local imitation of each cloud's metadata service."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from shared.database import Database
from shared.models import Outcome, Status, Worker
from shared.settings import Settings
from tests.history import check_history
from tests.waiting import wait_until
from tests.worker_yard import make_yard
from worker.spot import SpotWatcher


class Metadata(ThreadingHTTPServer):
    """A metadata service whose notice the test gives."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.noticed = False
        self.resources = ["trainer_1", "trainer_2"]
        self.nonsense: str | None = None
        self.asked = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Metadata

    def do_PUT(self) -> None:
        known = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
        self._answer(200 if known and self.path == "/latest/api/token" else 400, "secret")

    def do_GET(self) -> None:
        self.server.asked += 1
        noticed = self.server.noticed
        match self.path:
            case "/latest/meta-data/spot/instance-action":
                allowed = self.headers.get("X-aws-ec2-metadata-token") == "secret"
                action = '{"action": "terminate", "time": "2026-01-01T00:00:00Z"}'
                self._answer((200 if noticed else 404) if allowed else 401, action)
            case "/computeMetadata/v1/instance/preempted":
                allowed = self.headers.get("Metadata-Flavor") == "Google"
                self._answer(200 if allowed else 403, "TRUE" if noticed else "FALSE")
            case "/metadata/scheduledevents?api-version=2020-07-01":
                allowed = self.headers.get("Metadata") == "true"
                kind = "Preempt" if noticed else "Freeze"
                events = [{"EventType": kind, "Resources": self.server.resources}]
                body = self.server.nonsense or json.dumps({"Events": events})
                self._answer(200 if allowed else 400, body)
            case "/metadata/instance/compute/name?api-version=2021-02-01&format=text":
                self._answer(200 if self.headers.get("Metadata") == "true" else 400, "trainer_2")
            case _:
                self._answer(500, "")

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    server = Metadata()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("cloud", ["aws", "gcp", "azure"])
def test_the_notice_is_seen_and_nothing_before_it(cloud: str, metadata: Metadata) -> None:
    noticed = threading.Event()
    watcher = SpotWatcher(cloud, noticed.set, base_url=metadata.url, poll_seconds=0.01)
    watcher.start()
    wait_until(lambda: metadata.asked >= 3, what="the watcher has looked three times")
    assert not noticed.is_set()

    metadata.noticed = True
    assert noticed.wait(10)
    watcher.stop()


def test_the_notice_of_another_machine_of_the_scale_set_is_none(metadata: Metadata) -> None:
    noticed = threading.Event()
    metadata.noticed, metadata.resources = True, ["trainer_1"]
    watcher = SpotWatcher("azure", noticed.set, base_url=metadata.url, poll_seconds=0.01)
    watcher.start()
    wait_until(lambda: metadata.asked >= 6, what="the watcher has looked three times")
    assert not noticed.is_set()

    metadata.resources = ["trainer_1", "trainer_2"]
    assert noticed.wait(10)
    watcher.stop()


@pytest.mark.parametrize("nonsense", ["[]", '{"Events": [1]}', '{"Events": 1}', "rubbish"])
def test_nonsense_does_not_end_the_watch(metadata: Metadata, nonsense: str) -> None:
    noticed = threading.Event()
    metadata.noticed, metadata.nonsense = True, nonsense
    watcher = SpotWatcher("azure", noticed.set, base_url=metadata.url, poll_seconds=0.01)
    watcher.start()
    wait_until(lambda: metadata.asked >= 3, what="the watcher goes on")
    metadata.nonsense = None
    assert noticed.wait(10)
    watcher.stop()


@pytest.mark.usefixtures("no_process_left")
def test_a_worker_whose_machine_is_taken_away_hands_its_job_back_and_ends(
    metadata: Metadata, service_settings: Settings, database: Database, tmp_path: Path
) -> None:
    yard = make_yard(service_settings, database, tmp_path)
    job_id = yard.submit()
    with yard.worker(TRAINYARD_SPOT="azure", TRAINYARD_SPOT_URL=metadata.url) as worker:
        yard.open_gate(1)
        yard.wait_training(job_id, epochs=1)
        metadata.noticed = True
        assert worker.wait(30) == 0
    assert yard.job(job_id).status is Status.QUEUED
    assert [attempt.outcome for attempt in yard.attempts(job_id)] == [Outcome.PREEMPTED]
    with yard.database.read() as session:
        row = session.get(Worker, "w1")
    assert row is not None
    assert row.drain_requested_at is not None
    assert row.drain_reason == "The cloud takes this machine away."
    assert row.stopped_at is not None
    check_history(yard.database)


def test_a_silent_service_is_reported_once_and_asked_again(
    metadata: Metadata, caplog: pytest.LogCaptureFixture
) -> None:
    noticed = threading.Event()
    metadata.noticed = True
    # Nobody answers for AWS on a path of its own: every look is an error.
    watcher = SpotWatcher("aws", noticed.set, base_url=metadata.url + "/none", poll_seconds=0.01)
    watcher.start()
    wait_until(lambda: "does not answer" in caplog.text, what="the silence is reported")
    watcher.stop()

    assert not noticed.is_set()
    assert caplog.text.count("does not answer") == 1

"""The spot watcher against a local imitation of each cloud's metadata service."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.waiting import wait_until
from worker.spot import SpotWatcher


class Metadata(ThreadingHTTPServer):
    """A metadata service whose notice the test gives."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.noticed = False
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
                self._answer(200 if allowed else 400, json.dumps({"Events": [{"EventType": kind}]}))
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

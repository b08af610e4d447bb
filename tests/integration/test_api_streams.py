"""Live streams: in order, nothing missed, with and without Redis, on both databases."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from shared.cli.stream import parse_events
from shared.database import Database
from shared.live import Publisher
from shared.models import Job, Status
from shared.settings import Settings
from tests.services import RedisServer
from tests.waiting import wait_until
from tests.web_client import add_datasets, add_epoch, add_job, json_of, serving, yard_of

PROGRESS = {"event": "progress", "phase": "train", "epoch": 1, "step": 5, "steps": 600}


class Viewer:
    """An open stream, read event by event."""

    def __init__(self, client: FlaskClient, path: str, **headers: str) -> None:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.response = client.get(f"/api/v1{path}", headers=names)
        assert self.response.status_code == 200, self.response.text
        assert self.response.mimetype == "text/event-stream"
        frames = (str(frame, "utf-8") for frame in self.response.iter_encoded())
        self.events = parse_events(line for frame in frames for line in frame.splitlines())

    def next(self, *kinds: str) -> tuple[str, Any]:
        """Return the next event of one of these kinds, or of any."""
        while (event := next(self.events, None)) is not None:
            if not kinds or event.kind in kinds:
                return event.kind, json.loads(event.data)
        raise AssertionError(f"The stream ended before {kinds}.")

    def until(self, kind: str) -> list[tuple[str, Any]]:
        """Return all events up to the first of this kind, which is the last."""
        found = [self.next()]
        while found[-1][0] != kind:
            found.append(self.next())
        return found

    def close(self) -> None:
        """Go away."""
        self.response.close()


@pytest.fixture
def client(service_settings: Settings) -> Iterator[FlaskClient]:
    """A client of the web application with Redis."""
    database = Database(service_settings.resolved_database_url)
    add_datasets(database)
    with serving(service_settings, database) as client:
        yield client


@pytest.fixture
def publisher(service_settings: Settings) -> Iterator[Publisher]:
    """What workers tell open pages with."""
    publisher = Publisher(service_settings.resolved_redis_url, timeout_seconds=30)
    yield publisher
    publisher.close()


def finish(database: Database, job_id: int) -> None:
    with database.write() as session:
        session.execute(sa.update(Job).where(Job.id == job_id).values(status=Status.SUCCEEDED))


def wait_until_live(client: FlaskClient) -> None:
    """Wait until the hub hears Redis."""
    wait_until(lambda: yard_of(client).live.connected, 10)


def test_a_stream_begins_with_what_is_and_goes_on_with_what_comes(
    client: FlaskClient, publisher: Publisher
) -> None:
    database = yard_of(client).database
    job_id = add_job(database, status=Status.RUNNING)
    add_epoch(database, job_id, 1)
    add_epoch(database, job_id, 2)
    viewer = Viewer(client, f"/jobs/{job_id}/stream")
    kind, job = viewer.next()
    assert kind == "job"
    assert (job["id"], job["status"], job["epochs_done"]) == (job_id, "running", 2)
    assert job["spec"]["epochs"] == 10
    assert [viewer.next()[1]["epoch"] for _ in range(2)] == [1, 2]
    wait_until_live(client)
    publisher.publish(job_id, "progress", PROGRESS)
    assert viewer.next("progress") == ("progress", PROGRESS)
    publisher.publish(job_id, "log", {"lines": ["a", "b"]})
    assert viewer.next("log")[1] == {"lines": ["a", "b"]}
    publisher.publish(job_id, "gauge", {"attempt": 1, "second": 2})
    assert viewer.next("gauge")[1] == {"attempt": 1, "second": 2}
    add_epoch(database, job_id, 3)
    publisher.publish(job_id, "epoch", {})
    assert viewer.next("epoch")[1]["epoch"] == 3
    finish(database, job_id)
    publisher.publish(job_id, "job")
    rest = viewer.until("end")
    assert rest[-1] == ("end", {"status": "succeeded"})
    assert ("job", "succeeded") in [(kind, data.get("status")) for kind, data in rest]
    assert list(viewer.events) == []
    viewer.close()


def test_the_stream_of_a_job_that_is_over_ends_at_once(client: FlaskClient) -> None:
    database = yard_of(client).database
    job_id = add_job(database, status=Status.FAILED)
    add_epoch(database, job_id, 1)
    viewer = Viewer(client, f"/jobs/{job_id}/stream")
    assert [kind for kind, _ in viewer.until("end")] == ["job", "epoch", "end"]
    assert list(viewer.events) == []
    viewer.close()


def test_who_comes_back_is_sent_only_what_is_new(client: FlaskClient) -> None:
    database = yard_of(client).database
    job_id = add_job(database, status=Status.SUCCEEDED)
    for epoch in range(1, 6):
        add_epoch(database, job_id, epoch)
    path = f"/jobs/{job_id}/stream"
    viewer = Viewer(client, path, Last_Event_ID="e3")
    events = list(viewer.events)
    viewer.close()
    assert [event.id for event in events if event.kind == "epoch"] == ["e4", "e5"]
    assert [event.id for event in events if event.kind != "epoch"] == [None, None]
    first = Viewer(client, f"{path}?after=e4")
    assert [event.id for event in first.events if event.kind == "epoch"] == ["e5"]
    first.close()
    answer = client.get(f"/api/v1{path}", headers={"Last-Event-ID": "x"})
    assert answer.status_code == 422


def test_nothing_is_missed_or_doubled_between_what_was_and_what_comes(
    client: FlaskClient, publisher: Publisher
) -> None:
    database = yard_of(client).database
    job_id = add_job(database, status=Status.RUNNING)
    epochs = 60
    seen: list[list[int]] = []

    def watch() -> None:
        viewer = Viewer(client.application.test_client(), f"/jobs/{job_id}/stream")
        events = viewer.until("end")
        seen.append([data["epoch"] for kind, data in events if kind == "epoch"])
        viewer.close()

    threads = [threading.Thread(target=watch) for _ in range(6)]
    for epoch in range(1, epochs + 1):
        add_epoch(database, job_id, epoch)
        publisher.publish(job_id, "epoch", {})
        if epoch % 10 == 0:
            threads[epoch // 10 - 1].start()
    finish(database, job_id)
    publisher.publish(job_id, "job")
    for thread in threads:
        thread.join(30)
    assert seen == [list(range(1, epochs + 1))] * 6


def test_an_epoch_that_a_later_attempt_repeats_is_sent_again(
    client: FlaskClient, publisher: Publisher
) -> None:
    database = yard_of(client).database
    job_id = add_job(database, status=Status.RUNNING)
    for epoch in (1, 2):
        add_epoch(database, job_id, epoch)
    viewer = Viewer(client, f"/jobs/{job_id}/stream")
    viewer.next("epoch"), viewer.next("epoch")
    wait_until_live(client)
    add_epoch(database, job_id, 2, attempt=2)
    publisher.publish(job_id, "epoch", {})
    assert viewer.next("epoch")[1]["attempt"] == 2
    viewer.close()


@pytest.mark.parametrize("redis_is", ["away", "deaf"])
def test_without_messages_sql_is_looked_into(
    service_settings: Settings, redis_is: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.live._POLL_WITH_REDIS_SECONDS", 0.5)
    monkeypatch.setattr("web.live._POLL_WITHOUT_REDIS_SECONDS", 0.5)
    if redis_is == "away":
        service_settings = service_settings.model_copy(
            update={"redis_url": "redis://127.0.0.1:1/0"}
        )
    database = Database(service_settings.resolved_database_url)
    add_datasets(database)
    with serving(service_settings, database) as client:
        job_id = json_of(client.post("/api/v1/jobs", json={}))["id"]
        viewer = Viewer(client, f"/jobs/{job_id}/stream")
        listing = Viewer(client, "/stream")
        assert listing.next()[0] == "sync"
        viewer.next("job")
        add_epoch(database, job_id, 1)
        assert viewer.next("epoch")[1]["epoch"] == 1
        other = json_of(client.post("/api/v1/jobs", json={}))["id"]
        while listing.next("job")[1]["id"] != other:
            pass
        client.post(f"/api/v1/jobs/{job_id}/cancel")
        assert viewer.until("end")[-1] == ("end", {"status": "cancelled"})
        viewer.close()
        listing.close()


def test_a_stream_outlives_redis(
    client: FlaskClient, publisher: Publisher, redis_server: RedisServer
) -> None:
    database = yard_of(client).database
    job_id = add_job(database, status=Status.RUNNING)
    viewer = Viewer(client, f"/jobs/{job_id}/stream")
    viewer.next("job")
    wait_until_live(client)
    redis_server.stop()
    try:
        wait_until(lambda: not yard_of(client).live.connected, 10)
        add_epoch(database, job_id, 1)
        assert viewer.next("epoch")[1]["epoch"] == 1
    finally:
        redis_server.start()
    wait_until_live(client)
    publisher.publish(job_id, "progress", PROGRESS)
    assert viewer.next("progress")[1] == PROGRESS
    viewer.close()


def test_the_list_is_told_of_every_job_that_changes(
    client: FlaskClient, publisher: Publisher
) -> None:
    viewer = Viewer(client, "/stream")
    assert viewer.next() == ("sync", {})
    wait_until_live(client)
    job_id = json_of(client.post("/api/v1/jobs", json={"name": "new"}))["id"]
    item = viewer.next("job")[1]
    assert (item["id"], item["name"], item["status"]) == (job_id, "new", "queued")
    assert "spec" not in item
    client.patch(f"/api/v1/jobs/{job_id}", json={"name": "newer"})
    while viewer.next("job")[1]["name"] != "newer":
        pass  # a poll may tell again what a message has told
    database = yard_of(client).database
    with database.write() as session:
        session.execute(sa.update(Job).values(status=Status.RUNNING))
    publisher.publish(job_id, "progress", PROGRESS)
    while viewer.next("job")[1].get("progress") != PROGRESS:
        pass
    finish(database, job_id)
    assert client.delete(f"/api/v1/jobs/{job_id}").status_code == 204
    assert viewer.next("gone")[1] == {"id": job_id}
    viewer.close()


def test_a_deleted_job_ends_its_streams(client: FlaskClient) -> None:
    database = yard_of(client).database
    job_id = add_job(database, status=Status.RUNNING)
    viewer = Viewer(client, f"/jobs/{job_id}/stream")
    wait_until_live(client)
    finish(database, job_id)
    client.delete(f"/api/v1/jobs/{job_id}")
    viewer.until("end")
    assert list(viewer.events) == []
    viewer.close()


def test_a_viewer_that_does_not_keep_up_reads_anew(
    client: FlaskClient, publisher: Publisher
) -> None:
    database = yard_of(client).database
    job_id = add_job(database, status=Status.RUNNING)
    slow = Viewer(client, f"/jobs/{job_id}/stream")
    witness = Viewer(client, f"/jobs/{job_id}/stream")
    wait_until_live(client)
    for epoch in range(1, 8):
        add_epoch(database, job_id, epoch)
        for step in range(100):
            publisher.publish(job_id, "progress", PROGRESS | {"epoch": epoch, "step": step})
        publisher.publish(job_id, "epoch", {})
        while witness.next("epoch")[1]["epoch"] != epoch:
            pass
    finish(database, job_id)
    publisher.publish(job_id, "job")
    events = slow.until("end")
    assert [data["epoch"] for kind, data in events if kind == "epoch"] == list(range(1, 8))
    assert len(events) < 500
    slow.close()
    witness.close()


def test_there_are_only_so_many_streams(service_settings: Settings) -> None:
    few = service_settings.model_copy(update={"max_streams": 2})
    with serving(few) as client:
        job_id = add_job(yard_of(client).database)
        first = Viewer(client, f"/jobs/{job_id}/stream")
        second = Viewer(client, "/stream")
        for path in (f"/jobs/{job_id}/stream", "/stream"):
            answer = client.get(f"/api/v1{path}")
            assert answer.status_code == 503
            assert "poll" in json_of(answer)["detail"]
        first.close()
        third = Viewer(client, "/stream")
        for viewer in (second, third):
            viewer.close()
            viewer.close()
        assert yard_of(client).live.open_streams == 0


def test_a_request_that_fails_holds_no_stream(client: FlaskClient) -> None:
    assert client.get("/api/v1/jobs/7/stream").status_code == 404
    client.head("/api/v1/stream").close()
    assert yard_of(client).live.open_streams == 0


def test_a_stopping_server_ends_all_streams(client: FlaskClient) -> None:
    job_id = add_job(yard_of(client).database)
    viewers = [Viewer(client, f"/jobs/{job_id}/stream"), Viewer(client, "/stream")]
    yard_of(client).live.close()
    for viewer in viewers:
        list(viewer.events)
        viewer.close()
    assert client.get("/api/v1/stream").status_code == 503

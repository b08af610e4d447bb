"""Jobs on their way over HTTP, on both databases: pause, resume, move, change, retry, drain."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from shared import catalogue, jobs
from shared.database import Database, utc_now
from shared.models import Dataset, DatasetVersion, Job, JobEvent, Worker
from tests.web_client import json_of
from web.api import schemas

_PAGE = {"Sec-Fetch-Site": "same-origin"}
_CLI = {"User-Agent": "trainyard/1"}
# These tests run without Redis.
_AWAY = "The queue service is away; jobs start when it is back."


def submit(client: FlaskClient, **body: Any) -> int:
    return int(json_of(client.post("/api/v1/jobs", json=body))["id"])


def post(client: FlaskClient, job_id: int, what: str, body: Any = None, **headers: Any) -> Any:
    answer = client.post(f"/api/v1/jobs/{job_id}/{what}", json=body or {}, headers=headers)
    assert answer.status_code < 300, answer.text
    return json_of(answer)


def queue_of(client: FlaskClient) -> list[int]:
    answer = client.get("/api/v1/queue")
    schemas.Listing[schemas.WaitRow].model_validate_json(answer.data)
    return [row["job_id"] for row in json_of(answer)["items"]]


def run(database: Database) -> int:
    """Let a worker claim the next job."""
    with database.write() as session:
        lease = jobs.claim(session, jobs.Slot("w1", 0, ("default",)), lease_seconds=60)
    assert lease is not None
    return lease.job_id


def newest_event(database: Database, job_id: int) -> JobEvent:
    with database.read() as session:
        return session.scalars(
            sa.select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.id.desc())
        ).first() or pytest.fail("no event")


@pytest.fixture
def worker(database: Database) -> str:
    row = {"name": "w1", "hostname": "h", "pid": 1, "queues": ["default"], "info": {}}
    slots = [{"index": 0, "device": "CPU", "gpus": 0, "job_id": None, "warm": True}]
    with database.write() as session:
        times = {"started_at": utc_now(), "heartbeat_at": utc_now()}
        session.execute(sa.insert(Worker).values(**row, slots=slots, **times))
    return "w1"


@pytest.mark.parametrize(
    ("headers", "actor"),
    [
        (_PAGE, "page, 127.0.0.1"),
        ({"X-Requested-With": "trainyard-page"}, "page, 127.0.0.1"),  # over plain http
        (_CLI, "command line, 127.0.0.1"),
        ({}, "API, 127.0.0.1"),
    ],
)
def test_a_waiting_job_is_paused_and_resumed_and_events_say_who_asked(
    client: FlaskClient, database: Database, headers: dict[str, str], actor: str
) -> None:
    job_id = submit(client)
    assert post(client, job_id, "pause", **headers)["status"] == "paused"
    event = newest_event(database, job_id)
    assert (event.kind, event.actor) == ("paused", actor)
    assert queue_of(client) == []
    assert post(client, job_id, "resume", **headers)["status"] == "queued"
    event = newest_event(database, job_id)
    assert (event.kind, event.actor) == ("queued", actor)
    assert queue_of(client) == [job_id]


def test_a_running_job_is_asked_to_pause_and_the_pause_is_taken_back(
    client: FlaskClient, database: Database
) -> None:
    job_id = submit(client)
    assert run(database) == job_id
    assert post(client, job_id, "pause")["status"] == "running"
    assert newest_event(database, job_id).kind == "pause_requested"
    post(client, job_id, "resume")
    assert newest_event(database, job_id).kind == "pause_taken_back"


def test_jobs_move_in_the_queue_and_are_claimed_in_that_order(
    client: FlaskClient, database: Database
) -> None:
    first, second, third = (submit(client) for _ in range(3))
    post(client, third, "move", {"before": second})
    assert queue_of(client) == [first, third, second]
    post(client, first, "move", {"to": "end"})
    assert queue_of(client) == [third, second, first]
    post(client, second, "move", {"to": "front"})
    assert queue_of(client) == [second, third, first]
    assert newest_event(database, second).kind == "moved"
    assert [run(database) for _ in range(3)] == [second, third, first]


def test_a_change_of_priority_changes_the_order(client: FlaskClient) -> None:
    first, second = submit(client), submit(client)
    client.patch(f"/api/v1/jobs/{second}", json={"priority": 5})
    assert queue_of(client) == [second, first]


def test_a_waiting_job_gets_no_more_gpus_than_its_batch_has_images(
    client: FlaskClient,
) -> None:
    job_id = submit(client, spec={"batch_size": 2, "resources": {"gpus": 1}})

    refused = client.patch(f"/api/v1/jobs/{job_id}", json={"gpus": 3})

    assert refused.status_code == 422
    assert json_of(client.get(f"/api/v1/jobs/{job_id}"))["gpus"] == 1


def test_queue_and_gpus_of_a_waiting_job_change_with_its_spec(
    client: FlaskClient, database: Database, worker: str
) -> None:
    job_id = submit(client, spec={"resources": {"queue": "elsewhere", "gpus": 1}})
    wait = json_of(client.get(f"/api/v1/jobs/{job_id}/waiting"))
    schemas.WaitRow.model_validate(wait)
    assert (wait["queue"], wait["sentence"]) == ("elsewhere", _AWAY)
    changed = client.patch(f"/api/v1/jobs/{job_id}", json={"queue": "default", "gpus": 0})
    resources = json_of(changed)["spec"]["resources"]
    assert (resources["queue"], resources["gpus"]) == ("default", 0)
    assert run(database) == job_id
    refused = client.patch(f"/api/v1/jobs/{job_id}", json={"queue": "other"})
    assert refused.status_code == 409


def test_a_retry_with_changes_is_a_new_job_and_a_bad_one_makes_none(
    client: FlaskClient, database: Database
) -> None:
    job_id = submit(client)
    post(client, job_id, "cancel")
    again = post(client, job_id, "retry", {"spec": {"learning_rate": 0.5}})
    assert (again["parent_id"], again["spec"]["learning_rate"]) == (job_id, 0.5)
    for changes in ({"learning_rate": -1}, {"no_such": 1}, {"batch_size": 10**9}):
        refused = client.post(f"/api/v1/jobs/{job_id}/retry", json={"spec": changes})
        assert refused.status_code == 422, changes
        (error,) = json_of(refused)["errors"]
        assert next(iter(changes)) in error["field"]
    with database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Job)) == 2


def test_a_retry_means_the_newest_version_unless_it_names_one(
    client: FlaskClient, database: Database
) -> None:
    with database.write() as session:
        found, mnist = catalogue.find(session, "mnist")
        digits = Dataset(name="digits", title="Digits", created_at=found.created_at)
        session.add(digits)
        session.flush()
        columns = {c.name: getattr(mnist, c.name) for c in DatasetVersion.__table__.columns}
        columns |= {"id": None, "dataset_id": digits.id, "version": "d" * 64}
        session.add(DatasetVersion(**columns))
    job_id = submit(client)
    post(client, job_id, "cancel")

    def retried(**dataset: Any) -> Any:
        return post(client, job_id, "retry", {"spec": {"dataset": dataset}})["spec"]["dataset"]

    assert retried(version=None) == {"name": "mnist", "version": mnist.version}
    assert retried(name="mnist") == {"name": "mnist", "version": mnist.version}
    assert retried(name="digits") == {"name": "digits", "version": "d" * 64}
    for dataset in ({"name": "none"}, {"version": "e" * 64}, None):
        refused = client.post(f"/api/v1/jobs/{job_id}/retry", json={"spec": {"dataset": dataset}})
        assert refused.status_code == 422, refused.text


@pytest.mark.parametrize("what", ["cancel", "pause", "resume", "move"])
def test_no_such_job_and_a_job_that_is_over_are_told_apart(client: FlaskClient, what: str) -> None:
    body = {"to": "end"} if what == "move" else {}
    job_id = submit(client)
    post(client, job_id, "cancel")
    for number, status in ((999, 404), (job_id, 409)):
        answer = client.post(f"/api/v1/jobs/{number}/{what}", json=body)
        assert answer.status_code == status
        assert answer.mimetype == "application/problem+json"
        assert json_of(answer)["status"] == status
    assert client.get(f"/api/v1/jobs/{job_id}/waiting").status_code == 409
    assert client.get("/api/v1/jobs/999/waiting").status_code == 404


@pytest.mark.parametrize(
    "body", [{}, {"to": "middle"}, {"before": 0}, {"before": 1, "to": "end"}, {"after": 1}]
)
def test_a_move_that_makes_no_sense_is_refused(client: FlaskClient, body: Any) -> None:
    answer = client.post(f"/api/v1/jobs/{submit(client)}/move", json=body)
    assert answer.status_code == 422
    assert json_of(answer)["errors"]


def test_a_job_cannot_move_before_one_that_does_not_wait_beside_it(
    client: FlaskClient, database: Database
) -> None:
    other = submit(client, spec={"resources": {"queue": "other"}})
    first, second = submit(client), submit(client)
    assert run(database) == first
    for before, status in ((other, 409), (first, 409), (999, 404)):
        answer = client.post(f"/api/v1/jobs/{second}/move", json={"before": before})
        assert answer.status_code == status


@pytest.mark.parametrize("end", ["front", "end"])
def test_a_running_job_has_no_place_even_if_nothing_waits(
    client: FlaskClient, database: Database, end: str
) -> None:
    job_id = submit(client)
    run(database)
    assert client.post(f"/api/v1/jobs/{job_id}/move", json={"to": end}).status_code == 409


def test_an_edit_tells_what_was_and_what_is(client: FlaskClient, database: Database) -> None:
    job_id = submit(client, tags=["a"])
    client.patch(f"/api/v1/jobs/{job_id}", json={"priority": 5, "tags": []})
    message = newest_event(database, job_id).message
    assert message == "Changed tags from a to none, priority from 0 to 5."


def test_a_worker_drains_and_takes_jobs_again(client: FlaskClient, worker: str) -> None:
    path = f"/api/v1/workers/{worker}/drain"
    row = json_of(client.post(path, json={"reason": "new disk"}))
    assert row["state"] == "draining"
    schemas.WorkerRow.model_validate(row)
    assert row["drain_reason"] == "Asked by API, 127.0.0.1: new disk"
    assert json_of(client.delete(path))["state"] == "alive"
    assert client.post("/api/v1/workers/none/drain", json={}).status_code == 404
    assert client.delete("/api/v1/workers/none/drain").status_code == 404
    assert client.post(path, json={"reason": "x" * 101}).status_code == 422

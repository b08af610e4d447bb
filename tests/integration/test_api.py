"""The HTTP API on both databases: jobs, their history and files, and bad input of every kind."""

from __future__ import annotations

import csv
import threading
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from pydantic import BaseModel
from werkzeug.test import TestResponse

from shared import jobs
from shared.database import Database, utc_now
from shared.models import Artifact, Attempt, Gauge, Job, JobEvent, Status, Worker
from shared.queue import Bell, list_key
from shared.schema import expected_revision
from shared.settings import Settings
from tests.services import RedisServer
from tests.web_client import (
    SUBMITTED,
    add_datasets,
    add_epoch,
    add_job,
    json_of,
    serving,
    yard_of,
)
from web.api import dataset_schemas, schemas

AWAY = "away"


def submit(client: FlaskClient, body: Any, **headers: str) -> TestResponse:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/api/v1/jobs", json=body, headers=names)


def check(model: type[BaseModel], answer: TestResponse) -> dict[str, Any]:
    """Check an answer against its documented shape; return it."""
    assert answer.status_code < 400, answer.text
    body: dict[str, Any] = json_of(answer)
    model.model_validate_json(answer.data)
    return body


def fields_of(answer: TestResponse) -> list[str]:
    return [error["field"] for error in json_of(answer)["errors"]]


def count_of(database: Database, table: type[Any]) -> int:
    with database.read() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def running_job(database: Database) -> int:
    job_id = add_job(database)
    with database.write() as session:
        slot = jobs.Slot("w1", 0, ("default",))
        lease = jobs.claim(session, slot, lease_seconds=60)
    assert lease is not None
    assert lease.job_id == job_id
    return job_id


def add_artifact(client: FlaskClient, job_id: int, name: str, data: bytes, **changes: Any) -> None:
    """Put a file into the store, and its row into SQL, as a worker does."""
    yard = yard_of(client)
    local = yard.settings.data_dir / "file"
    local.parent.mkdir(parents=True, exist_ok=True)
    local.write_bytes(data)
    path = f"jobs/{job_id}/attempt-{changes.get('attempt', 1)}/{name}"
    yard.artifacts.put(local, path)
    values = {
        "job_id": job_id,
        "attempt": 1,
        "name": name,
        "kind": "history",
        "media_type": "text/csv",
        "path": path,
        "bytes": len(data),
        "sha256": "0" * 64,
        "created_at": SUBMITTED,
        **changes,
    }
    with yard.database.write() as session:
        session.execute(sa.insert(Artifact).values(values))


# --- submitting ---------------------------------------------------------------------------------


def test_a_submitted_job_waits_in_the_queue(client: FlaskClient) -> None:
    answer = submit(client, {"preset": "hello-world", "name": "mine", "tags": ["a"], "priority": 3})
    assert answer.status_code == HTTPStatus.CREATED
    job = check(schemas.JobAccepted, answer)
    assert (job["name"], job["status"], job["tags"], job["priority"]) == (
        "mine",
        "queued",
        ["a"],
        3,
    )
    assert job["spec"]["dataset"]["version"] == job["dataset_version"]
    assert answer.headers["Location"] == f"/api/v1/jobs/{job['id']}"
    again = check(schemas.JobDetail, client.get(f"/api/v1/jobs/{job['id']}"))
    assert again == {name: value for name, value in job.items() if name != "warning"}


def test_without_redis_a_job_is_accepted_with_a_warning(client: FlaskClient) -> None:
    job = json_of(submit(client, {}))
    assert job["status"] == "queued"
    assert AWAY in job["warning"]


def test_with_redis_a_submitted_job_rings_the_bell(service_settings: Settings) -> None:
    database = Database(service_settings.resolved_database_url)
    add_datasets(database)
    with serving(service_settings, database) as client:
        job = json_of(submit(client, {}))
        assert "warning" not in job
        bell = Bell(service_settings)
        assert bell.waiting("default") == 1, list_key("default")
        bell.close()


def test_a_form_sent_twice_makes_one_job(client: FlaskClient, database: Database) -> None:
    first = submit(client, {"preset": "mlp"}, Idempotency_Key="form-1")
    second = submit(client, {"preset": "mlp"}, Idempotency_Key="form-1")
    assert (first.status_code, second.status_code) == (HTTPStatus.CREATED, HTTPStatus.OK)
    assert json_of(first)["id"] == json_of(second)["id"]
    assert count_of(database, Job) == 1
    assert count_of(database, JobEvent) == 1


def test_a_form_sent_many_times_at_once_makes_one_job(
    client: FlaskClient, database: Database
) -> None:
    answers: list[TestResponse] = []
    barrier = threading.Barrier(6)

    def send() -> None:
        own = client.application.test_client()
        barrier.wait()
        answers.append(submit(own, {"preset": "mlp"}, Idempotency_Key="form-2"))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert len({json_of(answer)["id"] for answer in answers}) == 1
    assert count_of(database, Job) == 1


def test_a_key_cannot_be_used_for_something_else(client: FlaskClient) -> None:
    assert submit(client, {"preset": "mlp"}, Idempotency_Key="k").status_code == 201
    assert submit(client, {"preset": "lenet5"}, Idempotency_Key="k").status_code == 409


@pytest.mark.parametrize("key", ["", "x" * 201, "two words", "ü"])
def test_a_key_that_is_none_is_refused(client: FlaskClient, key: str) -> None:
    answer = submit(client, {}, Idempotency_Key=key)
    assert answer.status_code == 422
    assert fields_of(answer) == ["Idempotency-Key"]


BAD_BODIES: list[tuple[Any, list[str]]] = [
    ([], [""]),
    ("text", [""]),
    (7, [""]),
    ({"colour": "red"}, ["colour"]),
    ({"spec": {"colour": "red"}}, ["spec.colour"]),
    ({"spec": {"learning_rate": -0.1}}, ["spec.learning_rate"]),
    ({"spec": {"learning_rate": 0}}, ["spec.learning_rate"]),
    ({"spec": {"learning_rate": "fast"}}, ["spec.learning_rate"]),
    ({"spec": {"learning_rate": 1e400}}, ["spec.learning_rate"]),
    ({"spec": {"batch_size": 0}}, ["spec.batch_size"]),
    ({"spec": {"batch_size": 10**9}}, ["spec.batch_size"]),
    ({"spec": {"batch_size": 60_001}}, ["spec.batch_size"]),
    ({"spec": {"batch_size": 3, "resources": {"gpus": 4}}}, ["spec.batch_size"]),
    ({"spec": {"epochs": 1.5}}, ["spec.epochs"]),
    ({"spec": {"epochs": 10**30}}, ["spec.epochs"]),
    ({"spec": {"seed": -1}}, ["spec.seed"]),
    ({"spec": {"dataset": {"name": "nothing"}}}, ["spec.dataset.name"]),
    ({"spec": {"dataset": {"name": "../etc"}}}, ["spec.dataset.name"]),
    ({"spec": {"dataset": {"version": "0" * 12}}}, ["spec.dataset.version"]),
    ({"spec": {"model": {"kind": "gpt"}}}, ["spec.model"]),
    ({"spec": {"model": {"kind": "mlp", "filters": 3}}}, ["spec.model.filters"]),
    ({"spec": {"model": {"kind": "mlp", "hidden_units": [0]}}}, ["spec.model.hidden_units.0"]),
    ({"spec": {"model": {"kind": "deep_cnn", "blocks": [8] * 6}}}, ["spec.model.blocks"]),
    ({"spec": {"optimizer": {"kind": "sgd", "momentum": 1}}}, ["spec.optimizer.momentum"]),
    ({"spec": {"train_fraction": 0.0}}, ["spec.train_fraction"]),
    ({"spec": {"learning_rate": -1, "epochs": 0}}, ["spec.learning_rate", "spec.epochs"]),
    ({"preset": "nothing"}, ["preset"]),
    ({"preset": 7}, ["preset"]),
    ({"priority": 101}, ["priority"]),
    ({"tags": [""]}, ["tags.0"]),
    ({"tags": ["x"] * 21}, ["tags"]),
    ({"name": ""}, ["name"]),
    ({"name": "x" * 201}, ["name"]),
    ({"parent_id": 0}, ["parent_id"]),
]


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/api/v1/jobs/validate"])
def test_bad_input_is_named_and_nothing_is_written(
    client: FlaskClient, database: Database, path: str
) -> None:
    for body, fields in BAD_BODIES:
        answer = client.post(path, json=body)
        assert answer.status_code == 422, (body, answer.text)
        assert sorted(fields_of(answer)) == sorted(fields), (body, answer.text)
        assert all(error["rule"] for error in json_of(answer)["errors"])
    assert count_of(database, Job) == 0
    assert count_of(database, JobEvent) == 0


@pytest.mark.parametrize("parent_id", [7, 2**63 - 1, 2**63, 10**30])
def test_a_parent_that_is_not_there_is_not_found(client: FlaskClient, parent_id: int) -> None:
    answer = submit(client, {"parent_id": parent_id})
    assert answer.status_code in (404, 422), answer.text


def test_a_submission_can_be_checked_without_being_queued(
    client: FlaskClient, database: Database
) -> None:
    body = {"preset": "hello-world", "spec": {"epochs": 3}}
    answer = check(schemas.Validation, client.post("/api/v1/jobs/validate", json=body))
    kinds = [layer["kind"] for layer in answer["layers"]]
    assert kinds == ["Conv2D", "Flatten", "Dense", "Dense"]
    assert answer["layers"][0]["output_shape"] == [26, 26, 28]
    assert answer["parameters"] == sum(layer["parameters"] for layer in answer["layers"])
    assert answer["learning_rates"] == pytest.approx([0.001, 0.0009, 0.00081])
    assert count_of(database, Job) == 0


# --- changing -----------------------------------------------------------------------------------


def test_name_tags_and_priority_can_be_changed(client: FlaskClient, database: Database) -> None:
    job_id = add_job(database, name="old", tags=["a"])
    job = check(schemas.JobDetail, client.patch(f"/api/v1/jobs/{job_id}", json={"name": "new"}))
    assert (job["name"], job["tags"]) == ("new", ["a"])
    body = {"tags": ["b", "c"], "priority": -5}
    job = check(schemas.JobDetail, client.patch(f"/api/v1/jobs/{job_id}", json=body))
    assert (job["name"], job["tags"], job["priority"]) == ("new", ["b", "c"], -5)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"status": "succeeded"}, "status"),
        ({"name": ""}, "name"),
        ({"priority": 1000}, "priority"),
        ({"tags": ["x" * 51]}, "tags.0"),
        ({"tags": "x"}, "tags"),
        ([], ""),
    ],
)
def test_nothing_else_can_be_changed(
    client: FlaskClient, database: Database, body: Any, field: str
) -> None:
    job_id = add_job(database)
    answer = client.patch(f"/api/v1/jobs/{job_id}", json=body)
    assert answer.status_code == 422
    assert fields_of(answer) == [field]


def test_a_waiting_job_is_cancelled_at_once(client: FlaskClient, database: Database) -> None:
    job_id = add_job(database)
    job = check(schemas.JobDetail, client.post(f"/api/v1/jobs/{job_id}/cancel"))
    assert job["status"] == "cancelled"
    assert client.post(f"/api/v1/jobs/{job_id}/cancel", json={}).status_code == 409


def test_a_running_job_is_asked_to_cancel(client: FlaskClient, database: Database) -> None:
    job_id = running_job(database)
    for _ in range(2):
        job = check(schemas.JobDetail, client.post(f"/api/v1/jobs/{job_id}/cancel"))
        assert job["status"] == "running"
        assert job["cancel_requested_at"]


def test_a_job_that_is_over_can_be_tried_again(client: FlaskClient, database: Database) -> None:
    job_id = add_job(database, status=Status.FAILED, name="mine", tags=["a"])
    answer = client.post(f"/api/v1/jobs/{job_id}/retry")
    assert answer.status_code == HTTPStatus.CREATED
    job = check(schemas.JobAccepted, answer)
    assert (job["status"], job["parent_id"], job["name"]) == ("queued", job_id, "mine")
    assert client.post(f"/api/v1/jobs/{job['id']}/retry").status_code == 409


def test_a_job_whose_data_set_is_gone_is_not_queued_again(
    client: FlaskClient, database: Database
) -> None:
    job_id = add_job(database, dataset="gone", status=Status.CANCELLED, finished_at=SUBMITTED)
    with database.write() as session:
        job = session.get_one(Job, job_id)
        job.spec = job.spec | {"dataset": {"name": "gone", "version": "b" * 64}}
    answer = client.post(f"/api/v1/jobs/{job_id}/retry", json={})
    assert answer.status_code == 422
    assert json_of(answer)["errors"][0]["field"] == "spec.dataset.name"


def test_a_job_that_is_over_can_be_deleted_with_its_files(
    client: FlaskClient, database: Database
) -> None:
    job_id = add_job(database, status=Status.SUCCEEDED)
    add_artifact(client, job_id, "history.csv", b"epoch\n1\n")
    add_epoch(database, job_id, 1)
    assert yard_of(client).artifacts.exists(f"jobs/{job_id}")
    assert client.delete(f"/api/v1/jobs/{job_id}").status_code == HTTPStatus.NO_CONTENT
    assert not yard_of(client).artifacts.exists(f"jobs/{job_id}")
    assert count_of(database, Artifact) == 0
    assert client.delete(f"/api/v1/jobs/{job_id}").status_code == 404
    assert add_job(database) > job_id  # whoever knows the old number meets no other job


def test_a_job_that_is_not_over_cannot_be_deleted(client: FlaskClient, database: Database) -> None:
    job_id = add_job(database)
    assert client.delete(f"/api/v1/jobs/{job_id}").status_code == 409
    assert client.get(f"/api/v1/jobs/{job_id}").status_code == 200


OF_A_JOB = [
    "",
    "/epochs",
    "/gauges",
    "/events",
    "/attempts",
    "/artifacts",
    "/artifacts/x",
    "/log",
    "/stream",
]


def test_what_is_asked_of_no_job_is_not_found(client: FlaskClient) -> None:
    for path in OF_A_JOB:
        assert client.get(f"/api/v1/jobs/7{path}").status_code == 404, path
    for path in ("/cancel", "/retry"):
        assert client.post(f"/api/v1/jobs/7{path}").status_code == 404, path
    assert client.patch("/api/v1/jobs/7", json={"name": "x"}).status_code == 404
    assert client.delete("/api/v1/jobs/7").status_code == 404


# --- history ------------------------------------------------------------------------------------


def test_a_new_job_has_no_history_but_its_submission(client: FlaskClient) -> None:
    job_id = json_of(submit(client, {}))["id"]
    for path in ("epochs", "gauges", "attempts", "artifacts"):
        listed = json_of(client.get(f"/api/v1/jobs/{job_id}/{path}"))
        assert listed == {"items": [], "next_cursor": None}
    events = check(schemas.Listing[schemas.EventRow], client.get(f"/api/v1/jobs/{job_id}/events"))
    assert [event["kind"] for event in events["items"]] == ["submitted"]
    assert client.get(f"/api/v1/jobs/{job_id}/log").text == ""


def test_epochs_are_listed_from_the_first(client: FlaskClient, database: Database) -> None:
    job_id = add_job(database)
    for epoch in (2, 1, 3):
        add_epoch(database, job_id, epoch)
    path = f"/api/v1/jobs/{job_id}/epochs"
    listed = check(schemas.Listing[schemas.EpochRow], client.get(path))
    assert [row["epoch"] for row in listed["items"]] == [1, 2, 3]
    answer = client.get(f"{path}?format=csv")
    assert answer.mimetype == "text/csv"
    assert f"job-{job_id}-epochs.csv" in answer.headers["Content-Disposition"]
    table = list(csv.DictReader(answer.text.splitlines()))
    assert [row["epoch"] for row in table] == ["1", "2", "3"]
    for name, value in listed["items"][0].items():
        if name != "extra":
            assert table[0][name] == str(value)
    assert fields_of(client.get(f"{path}?format=xml")) == ["format"]


def test_gauges_are_listed_by_attempt_and_time(client: FlaskClient, database: Database) -> None:
    job_id = running_job(database)
    with database.write() as session:
        for attempt, second in ((2, 2), (1, 4), (1, 2)):
            session.add(
                Gauge(
                    job_id=job_id,
                    attempt=attempt,
                    second=second,
                    span_seconds=2.0,
                    cpu_percent=173.5,
                    memory_bytes=2**33,
                )
            )
    listed = check(schemas.Listing[schemas.GaugeRow], client.get(f"/api/v1/jobs/{job_id}/gauges"))
    assert [(row["attempt"], row["second"]) for row in listed["items"]] == [(1, 2), (1, 4), (2, 2)]
    assert listed["items"][0]["memory_bytes"] == 2**33
    assert listed["items"][0]["gpu_percent"] is None


def test_attempts_keep_their_lease_to_themselves(client: FlaskClient, database: Database) -> None:
    job_id = running_job(database)
    answer = client.get(f"/api/v1/jobs/{job_id}/attempts")
    listed = check(schemas.Listing[schemas.AttemptRow], answer)
    assert [(row["number"], row["worker"]) for row in listed["items"]] == [(1, "w1")]
    with database.read() as session:
        token = session.scalars(sa.select(Attempt.lease_token)).one()
    assert token not in answer.text


# --- files --------------------------------------------------------------------------------------


def test_a_file_is_downloaded_as_it_is(client: FlaskClient, database: Database) -> None:
    job_id = add_job(database)
    data = bytes(range(256)) * 5000
    add_artifact(client, job_id, "model.keras", data, kind="model", media_type="application/zip")
    listed = check(
        schemas.Listing[schemas.ArtifactRow], client.get(f"/api/v1/jobs/{job_id}/artifacts")
    )
    assert [(row["name"], row["bytes"]) for row in listed["items"]] == [("model.keras", len(data))]
    with client.get(f"/api/v1/jobs/{job_id}/artifacts/model.keras") as answer:
        assert answer.data == data
        assert answer.mimetype == "application/zip"
        assert answer.content_length == len(data)
        assert answer.headers["Content-Disposition"] == "attachment; filename=model.keras"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_file_in_a_folder_has_its_own_name(client: FlaskClient, database: Database) -> None:
    job_id = add_job(database)
    add_artifact(client, job_id, "checkpoints/e1.ckpt", b"x")
    with client.get(f"/api/v1/jobs/{job_id}/artifacts/checkpoints/e1.ckpt") as answer:
        assert answer.headers["Content-Disposition"] == "attachment; filename=e1.ckpt"


def test_only_files_of_the_job_are_given_out(client: FlaskClient, database: Database) -> None:
    job_id = add_job(database)
    other = add_job(database)
    add_artifact(client, other, "history.csv", b"secret")
    secret = yard_of(client).settings.data_dir / "secret_key"
    assert secret.exists()
    for name in (
        "history.csv",
        "../secret_key",
        "..%2f..%2fsecret_key",
        "%2e%2e/secret_key",
        str(secret),
        "x%00y" if database.is_sqlite else "x",
    ):
        answer = client.get(f"/api/v1/jobs/{job_id}/artifacts/{name}")
        assert answer.status_code in (404, 308), name
        assert b"secret" not in answer.data.replace(b"secret_key", b"")


def test_a_file_that_the_store_has_lost_is_not_found(
    client: FlaskClient, database: Database
) -> None:
    job_id = add_job(database)
    add_artifact(client, job_id, "history.csv", b"x")
    yard_of(client).artifacts.delete(f"jobs/{job_id}")
    assert client.get(f"/api/v1/jobs/{job_id}/artifacts/history.csv").status_code == 404


def test_the_log_is_all_attempts_in_order(client: FlaskClient, database: Database) -> None:
    job_id = add_job(database)
    text = {"kind": "log", "media_type": "text/plain"}
    add_artifact(client, job_id, "log-1.txt", "eins\nzwei ü\n".encode(), **text)
    path = f"/api/v1/jobs/{job_id}/log"
    answer = client.get(path)
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.text == "eins\nzwei ü\n"
    # Attempt 3 is stored before attempt 2.
    add_artifact(client, job_id, "log-3.txt", b"vier\n", attempt=3, **text)
    add_artifact(client, job_id, "log-2.txt", b"drei\n", attempt=2, **text)
    assert client.get(path).text.splitlines() == [
        "--- attempt 1 ---", "eins", "zwei ü", "--- attempt 2 ---", "drei",
        "--- attempt 3 ---", "vier",
    ]  # fmt: skip
    assert client.get(f"{path}?tail=1").text == "vier\n"
    assert client.get(f"{path}?tail=9999").text == client.get(path).text
    for tail in ("0", "x", "99999", "-1"):
        assert fields_of(client.get(f"{path}?tail={tail}")) == ["tail"]


# --- the yard -----------------------------------------------------------------------------------


def test_data_sets_are_listed(client: FlaskClient) -> None:
    listed = check(schemas.Listing[dataset_schemas.DatasetRow], client.get("/api/v1/datasets"))
    assert [row["name"] for row in listed["items"]] == ["mnist"]
    mnist = check(dataset_schemas.DatasetDetail, client.get("/api/v1/datasets/mnist"))
    assert (mnist["train_images"], mnist["test_images"]) == (60_000, 10_000)
    assert mnist["versions"] == [mnist["version"]]
    assert client.get("/api/v1/datasets/nothing").status_code == 404


def add_worker(database: Database, name: str, *, age_seconds: float, stopped: bool = False) -> None:
    at = utc_now(-age_seconds)
    values = {
        "name": name,
        "hostname": "box",
        "pid": 7,
        "queues": ["default"],
        "slots": [{"index": 0, "job_id": 3}, {"index": 1, "job_id": None}],
        "info": {},
        "started_at": at,
        "heartbeat_at": at,
        "stopped_at": at if stopped else None,
    }
    with database.write() as session:
        session.execute(sa.insert(Worker).values(values))


def test_workers_are_alive_while_their_heartbeat_is_fresh(
    client: FlaskClient, database: Database
) -> None:
    add_worker(database, "fresh", age_seconds=1)
    add_worker(database, "gone", age_seconds=1, stopped=True)
    add_worker(database, "lost", age_seconds=3600)
    listed = check(schemas.Listing[schemas.WorkerRow], client.get("/api/v1/workers"))
    assert [(row["name"], row["alive"]) for row in listed["items"]] == [
        ("fresh", True),
        ("gone", False),
        ("lost", False),
    ]


def test_metrics_show_the_yard(client: FlaskClient, database: Database) -> None:
    add_worker(database, "fresh", age_seconds=1)
    add_worker(database, "lost", age_seconds=3600)
    add_job(database, queue="gpu")
    add_job(database, queue="gpu")
    add_job(database, status=Status.FAILED)
    client.get("/api/v1/jobs/7")
    client.get("/nothing/at/all")
    lines = client.get("/metrics").text.splitlines()
    assert 'trainyard_jobs{status="queued"} 2.0' in lines
    assert 'trainyard_jobs{status="failed"} 1.0' in lines
    assert 'trainyard_queue_waiting{queue="gpu"} 2.0' in lines
    assert "trainyard_workers_alive 1.0" in lines
    assert "trainyard_slots 2.0" in lines
    assert "trainyard_slots_busy 1.0" in lines
    assert "trainyard_database_up 1.0" in lines
    assert any("/api/v1/jobs/<int" in line and 'status="404"' in line for line in lines)
    assert not any("/nothing/at/all" in line for line in lines)


def test_without_a_database_the_server_lives_but_is_not_ready(settings: Settings) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/nothing")
    with serving(settings, away) as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 503
        answer = client.get("/api/v1/jobs")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert "127.0.0.1" not in answer.text
        assert "trainyard_database_up 0.0" in client.get("/metrics").text.splitlines()
        assert client.get("/").status_code == 503


def test_without_tables_the_server_is_not_ready(settings: Settings, tmp_path: Path) -> None:
    with serving(settings, Database(f"sqlite:///{tmp_path / 'empty.db'}")) as client:
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert "trainyard db upgrade" in json_of(answer)["database"]


@pytest.mark.parametrize("path", ["/", "/api/v1/jobs"])
def test_a_database_of_another_revision_is_told_to_people_and_programs(
    client: FlaskClient, database: Database, path: str
) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE jobs RENAME COLUMN crashes TO crashed"))
    client.application.testing = False
    assert client.get(path).status_code in (500, 503)  # broken, and of this revision
    with database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0004'"))
    answer = client.get(path)
    assert answer.status_code == 503
    for words in ("revision 0004", expected_revision(), "trainyard db upgrade"):
        assert words in answer.text


def test_on_a_database_of_another_revision_the_server_is_not_ready(
    client: FlaskClient, database: Database
) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    answer = client.get("/readyz")
    assert answer.status_code == 503
    said = json_of(answer)["database"]
    assert "revision 9999" in said
    assert expected_revision() in said
    assert "update this code" in said


def test_redis_decides_between_ready_and_degraded(
    service_settings: Settings, redis_server: RedisServer
) -> None:
    with serving(service_settings) as client:
        assert json_of(client.get("/readyz"))["status"] == "ready"
        redis_server.stop()
        try:
            answer = client.get("/readyz")
        finally:
            redis_server.start()
        assert answer.status_code == 200
        assert json_of(answer) == {"status": "degraded", "database": "ok", "queue": "away"}

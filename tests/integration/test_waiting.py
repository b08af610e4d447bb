"""Why a job waits: the sentence, its place, the forecast, the remedies."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from shared import catalogue, jobs, waiting, workers
from shared.database import Database, utc_now
from shared.jobs import Slot
from shared.models import Job, Worker
from shared.spec import parse_submission
from shared.waiting import Wait

LEASE_SECONDS = 20.0


@pytest.fixture
def yard(database: Database) -> Database:
    with database.write() as session:
        catalogue.register_bundled(session)
    return database


def submit(database: Database, *, priority: int = 0, **spec: Any) -> int:
    submission = parse_submission({"priority": priority, "spec": spec})
    with database.write() as session:
        version = catalogue.resolve(session, submission.spec.dataset)
        job, _ = jobs.submit(session, submission, dataset_version=version, max_attempts=3)
        return job.id


def add_worker(
    database: Database, name: str = "w1", queues: tuple[str, ...] = ("default",), **slot: Any
) -> None:
    """Enter a live worker with one slot."""
    with database.write() as session:
        session.execute(
            sa.insert(Worker).values(
                name=name,
                hostname="host",
                pid=1,
                queues=list(queues),
                slots=[{"index": 0, "device": "CPU", "gpus": 0, "job_id": None} | slot],
                info={},
                started_at=utc_now(),
                heartbeat_at=utc_now(),
            )
        )


def run(database: Database, job_id: int, worker: str = "w1") -> None:
    """Let a worker's slot run the job."""
    with database.write() as session:
        lease = jobs.claim(session, Slot(worker, 0, ("default",)), lease_seconds=60)
        assert lease is not None
        assert lease.job_id == job_id
        found = session.get_one(Worker, worker)
        found.slots = [found.slots[0] | {"job_id": job_id}]


def finish_one(database: Database, seconds: float, epochs: int) -> None:
    """Enter a job of the past, for the forecast."""
    job_id = submit(database)
    with database.write() as session:
        lease = jobs.claim(session, Slot("past", 0, ("default",)), lease_seconds=60)
        assert lease is not None
        jobs.succeed(session, lease, result={}, detail="Done.")
        session.execute(
            sa.update(Job)
            .where(Job.id == job_id)
            .values(duration_seconds=seconds, epochs_done=epochs)
        )


def explain(database: Database, *, queue_away: bool = False) -> dict[int, Wait]:
    with database.read() as session:
        return waiting.explain(session, lease_seconds=LEASE_SECONDS, queue_away=queue_away)


def test_nothing_waits(yard: Database) -> None:
    assert explain(yard) == {}


def test_no_worker_is_connected(yard: Database) -> None:
    job_id = submit(yard)
    wait = explain(yard)[job_id]

    assert (wait.reason, wait.sentence) == ("no_worker", "No worker is connected.")
    assert "trainyard worker" in wait.remedies[0].label


@pytest.mark.parametrize("gone", ["silent", "stopped"])
def test_a_worker_that_is_gone_is_none(yard: Database, gone: str) -> None:
    job_id = submit(yard)
    add_worker(yard)
    change = {"heartbeat_at": utc_now(-60)} if gone == "silent" else {"stopped_at": utc_now()}
    with yard.write() as session:
        session.execute(sa.update(Worker).values(**change))

    assert explain(yard)[job_id].reason == "no_worker"


def test_the_queue_service_is_away(yard: Database) -> None:
    job_id = submit(yard)
    add_worker(yard)

    wait = explain(yard, queue_away=True)[job_id]
    assert wait.sentence == "The queue service is away; jobs start when it is back."


def test_no_worker_serves_the_queue(yard: Database) -> None:
    job_id = submit(yard, resources={"queue": "gpu-large"})
    add_worker(yard)
    add_worker(yard, "w2", ("small",))

    wait = explain(yard)[job_id]
    assert wait.sentence == (
        "No worker serves queue 'gpu-large'; those connected serve 'default' and 'small'."
    )
    remedy = wait.remedies[0]
    assert (remedy.method, remedy.path) == ("PATCH", f"/api/v1/jobs/{job_id}")
    assert remedy.body == {"queue": "default"}


def test_no_worker_has_a_gpu(yard: Database) -> None:
    job_id = submit(yard, resources={"gpus": 1})
    add_worker(yard)

    wait = explain(yard)[job_id]
    assert wait.sentence == "It needs a GPU, and no worker that serves queue 'default' has a GPU."
    assert wait.remedies[0].body == {"gpus": 0}


def test_no_slot_has_as_many_gpus_as_it_needs(yard: Database) -> None:
    job_id = submit(yard, resources={"gpus": 4})
    add_worker(yard)
    assert explain(yard)[job_id].sentence == (
        "It needs 4 GPUs, and no worker that serves queue 'default' has a GPU."
    )

    add_worker(yard, "w2", gpus=2)
    wait = explain(yard)[job_id]
    assert wait.reason == "no_gpu"
    assert wait.sentence == (
        "It needs 4 GPUs at once, and no worker that serves queue 'default' gives a job "
        "more than 2."
    )
    assert wait.remedies[0].label == "Run it on 2 GPUs"
    assert wait.remedies[0].body == {"gpus": 2}


def test_the_only_worker_drains(yard: Database) -> None:
    job_id = submit(yard)
    add_worker(yard)
    with yard.write() as session:
        workers.request_drain(session, "w1", reason="Maintenance.")

    wait = explain(yard)[job_id]
    assert wait.sentence == "w1 drains, and no other can run it."
    assert (wait.remedies[0].method, wait.remedies[0].path) == (
        "DELETE",
        "/api/v1/workers/w1/drain",
    )
    with yard.write() as session:
        workers.end_drain(session, "w1")
    assert explain(yard)[job_id].reason == "starting"


def test_jobs_are_ahead_on_the_only_slot_and_the_time_is_forecast(yard: Database) -> None:
    finish_one(yard, seconds=60, epochs=10)
    add_worker(yard)
    running = submit(yard, epochs=20)
    run(yard, running)
    ahead = submit(yard, epochs=10)
    last = submit(yard, epochs=10)

    found = explain(yard)
    assert list(found) == [ahead, last]
    # 6 s an epoch: 20 epochs run, and then the 10 of the one ahead.
    assert found[ahead].sentence == "It is next on the only slot; about 2 min."
    assert found[last].sentence == "1 job ahead on the only slot; about 3 min."
    assert found[last].position == 2
    assert found[last].start_seconds == pytest.approx(180)
    assert found[last].remedies[0].body == {"to": "front"}


def test_without_history_there_is_a_place_and_no_time(yard: Database) -> None:
    add_worker(yard)
    run(yard, submit(yard))
    submit(yard)
    last = submit(yard)

    wait = explain(yard)[last]
    assert wait.sentence == "1 job ahead on the only slot."
    assert wait.start_seconds is None


def test_a_free_slot_means_that_it_starts(yard: Database) -> None:
    add_worker(yard)
    first, second = submit(yard), submit(yard)

    found = explain(yard)
    assert found[first].sentence == "A slot is free; it starts in a moment."
    assert found[second].reason == "ahead"


def test_the_order_is_that_of_the_claims(yard: Database) -> None:
    add_worker(yard)
    plain, urgent, moved = submit(yard), submit(yard, priority=3), submit(yard)
    with yard.write() as session:
        jobs.move(session, moved, before=plain)

    found = explain(yard)
    assert list(found) == [urgent, moved, plain]
    assert [wait.position for wait in found.values()] == [1, 2, 3]

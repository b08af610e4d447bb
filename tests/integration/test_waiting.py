"""Why a job waits: the sentence, its place, the forecast, the remedies."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared import catalogue, jobs, waiting, workers
from shared.database import Database, utc_now
from shared.jobs import Slot
from shared.models import Epoch, Job, Worker
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
        record_epochs(session, job_id, epochs, seconds / epochs)
        jobs.succeed(session, lease, result={}, detail="Done.")


def record_epochs(session: Session, job_id: int, count: int, seconds: float) -> None:
    """Enter finished epochs of a job, each of so many seconds."""
    figures = dict.fromkeys(
        ("train_accuracy", "train_loss", "eval_accuracy", "eval_loss", "learning_rate"), 0.5
    )
    row = {"job_id": job_id, "attempt": 1, "seconds": seconds, "images_per_second": 1.0}
    for epoch in range(1, count + 1):
        session.execute(
            sa.insert(Epoch).values(**row, **figures, epoch=epoch, recorded_at=utc_now())
        )
    session.execute(sa.update(Job).where(Job.id == job_id).values(epochs_done=count))


def explain(
    database: Database, *, queue_away: bool = False, also: int | None = None
) -> dict[int, Wait]:
    with database.read() as session:
        return waiting.explain(
            session, lease_seconds=LEASE_SECONDS, queue_away=queue_away, also=also
        )


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


def test_jobs_that_the_slot_cannot_take_are_not_ahead(yard: Database) -> None:
    add_worker(yard)
    run(yard, submit(yard))
    for _ in range(3):
        submit(yard, resources={"gpus": 1})
    last = submit(yard)

    wait = explain(yard)[last]
    assert (wait.position, wait.sentence) == (1, "It is next on the only slot.")


def test_jobs_that_only_other_slots_can_take_are_not_ahead(yard: Database) -> None:
    add_worker(yard, "cpu")
    add_worker(yard, "gpu", gpus=1)
    for _ in range(3):
        submit(yard, resources={"gpus": 1})
    last = submit(yard)

    assert explain(yard)[last].sentence == "A slot is free; it starts in a moment."


def test_jobs_of_another_queue_on_the_same_slot_are_ahead(yard: Database) -> None:
    add_worker(yard, queues=("default", "other"))
    run(yard, submit(yard))
    for _ in range(4):
        submit(yard, priority=5, resources={"queue": "other"})
    first = submit(yard)
    second = submit(yard)

    found = explain(yard)
    assert found[first].sentence == "4 jobs ahead on the only slot."
    assert found[first].remedies == []  # the first of its queue moves no further
    assert found[second].position == 6
    assert found[second].remedies[0].body == {"to": "front"}


def test_a_slot_that_tries_a_job_out_is_not_free(yard: Database) -> None:
    add_worker(yard, preflight_id=1)
    job_id = submit(yard)

    assert explain(yard)[job_id].sentence == "It is next on the only slot."
    with yard.read() as session:
        sentence = waiting.explain_preflight(
            session, queue="default", gpus=0, lease_seconds=LEASE_SECONDS, queue_away=False
        )
    assert sentence == "The only slot that could try it is busy; it is tried when one is free."


def test_a_job_in_its_last_moments_still_has_its_slot(yard: Database) -> None:
    add_worker(yard)
    running = submit(yard, epochs=2)
    run(yard, running)
    with yard.write() as session:
        record_epochs(session, running, 2, 3.0)

    last = submit(yard)
    assert explain(yard)[last].sentence == "It is next on the only slot; about 1 s."


def test_a_worker_that_stops_counts_for_nothing(yard: Database) -> None:
    job_id = submit(yard)
    add_worker(yard)
    with yard.write() as session:
        session.execute(sa.update(Worker).values(info={"stopping": True}))

    wait = explain(yard)[job_id]
    assert wait.sentence == "w1 stops, and no other can run it."
    assert wait.remedies[0].method is None


def test_a_job_far_behind_is_explained_when_it_is_asked_for(
    yard: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_LONGEST_QUEUE", 2)
    add_worker(yard)
    for _ in range(2):
        submit(yard, resources={"gpus": 1})
    submit(yard)
    last, urgent = submit(yard), submit(yard, priority=1)

    assert last not in explain(yard)
    wait = explain(yard, also=last)[last]
    assert (wait.position, wait.sentence) == (3, "2 jobs ahead on the only slot.")
    assert explain(yard, also=urgent)[urgent].reason == "starting"


def test_pauses_are_no_part_of_the_pace(yard: Database) -> None:
    finish_one(yard, seconds=60, epochs=10)
    with yard.write() as session:  # it rested for a day
        session.execute(sa.update(Job).values(duration_seconds=86_400))
    add_worker(yard)
    run(yard, submit(yard, epochs=20))
    last = submit(yard)

    assert explain(yard)[last].start_seconds == pytest.approx(120)


def test_a_resumed_job_takes_what_is_left_of_it(yard: Database) -> None:
    finish_one(yard, seconds=60, epochs=10)
    add_worker(yard)
    run(yard, submit(yard, epochs=20))
    resumed, last = submit(yard, epochs=20), submit(yard)
    with yard.write() as session:
        record_epochs(session, resumed, 15, 6.0)

    assert explain(yard)[last].start_seconds == pytest.approx(120 + 5 * 6)


def test_a_float16_job_is_not_offered_a_place_without_a_gpu(yard: Database) -> None:
    job_id = submit(yard, precision="mixed_float16", resources={"gpus": 1})
    add_worker(yard)

    (remedy,) = explain(yard)[job_id].remedies
    assert remedy.method is None
    assert "float16 needs a GPU" in remedy.label


def test_the_order_is_that_of_the_claims(yard: Database) -> None:
    add_worker(yard)
    plain, urgent, moved = submit(yard), submit(yard, priority=3), submit(yard)
    with yard.write() as session:
        jobs.move(session, moved, before=plain)

    found = explain(yard)
    assert list(found) == [urgent, moved, plain]
    assert [wait.position for wait in found.values()] == [1, 2, 3]

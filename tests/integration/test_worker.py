"""A real Celery worker, scheduler, Redis and database; trainers that speak the protocol."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import sqlalchemy as sa

from shared import jobs, workers
from shared.artifacts import ArtifactStore
from shared.database import Database, utc_now
from shared.models import Attempt, JobEvent, Outcome, Status, Worker
from shared.queue import Bell, list_key
from shared.settings import Settings
from shared.submit import QUEUE_AWAY, submit_job
from tests.fake_trainer import Behaviour
from tests.history import check_history
from tests.services import RedisServer
from tests.waiting import wait_until
from tests.worker_yard import Yard, make_yard, trainer_of

# What a fake trainer saves after its first epoch; the log is a file of the job too.
CHECKPOINT = "checkpoints/checkpoint-00002-000000.npz"

pytestmark = pytest.mark.usefixtures("no_process_left")


@pytest.fixture
def yard(service_settings: Settings, database: Database, tmp_path: Path) -> Yard:
    return make_yard(service_settings, database, tmp_path)


def test_a_job_runs_to_its_end_and_everything_is_recorded(yard: Yard) -> None:
    job_id = yard.submit()
    yard.open_gate(1, 2, 3)
    with yard.worker():
        job = yard.wait(job_id, Status.SUCCEEDED)

    assert yard.epochs(job_id) == [(1, 1), (2, 1), (3, 1)]
    assert job.first_step_at is not None
    assert job.run_info is not None
    assert job.run_info["device"] == "CPU"
    assert job.result is not None
    assert job.result["best_epoch"] == 3
    assert job.outcome_detail == "All 3 epochs are done."
    files = yard.artifacts(job_id)
    assert {"history.csv", "log-1.txt"} <= set(files)
    checkpoints = [name for name in files if name.startswith("checkpoints/")]
    assert len(checkpoints) <= 2  # a slow store skips one that a newer has overtaken
    assert "checkpoints/checkpoint-00004-000000.npz" in checkpoints
    store = ArtifactStore(yard.settings.resolved_artifacts_url)
    with store.open(files["log-1.txt"]) as log:
        assert b"epoch 3 begins" in log.read()
    assert not list((yard.settings.data_dir / "work" / "w1").iterdir())
    check_history(yard.database)


def test_waiting_jobs_run_one_after_the_other_on_one_slot(yard: Yard) -> None:
    ids = [yard.submit(epochs=1) for _ in range(4)]
    yard.open_gate(1)
    with yard.worker():
        for job_id in ids:
            yard.wait(job_id, Status.SUCCEEDED)

    claimed = [yard.job(job_id).claimed_at for job_id in ids]
    assert claimed == sorted(claimed)  # type: ignore[type-var]
    check_history(yard.database)


def test_a_killed_trainer_resumes_from_its_checkpoint(yard: Yard) -> None:
    job_id = yard.submit()
    with yard.worker() as worker:
        yard.open_gate(1)
        yard.wait_training(job_id, epochs=1)
        wait_until(lambda: CHECKPOINT in yard.artifacts(job_id), what="the checkpoint is stored")
        trainer_of(worker).kill()
        yard.open_gate(2, 3)
        job = yard.wait(job_id, Status.SUCCEEDED)

    assert yard.epochs(job_id) == [(1, 1), (2, 2), (3, 2)]
    first, second = yard.attempts(job_id)
    assert (first.outcome, second.outcome) == (Outcome.FAILED, Outcome.SUCCEEDED)
    assert "signal 9 (SIGKILL)" in (first.detail or "")
    assert (second.started_epoch, job.crashes) == (2, 1)
    check_history(yard.database)


def test_a_trainer_that_always_dies_is_given_up_and_the_next_job_runs(yard: Yard) -> None:
    poison = yard.submit(Behaviour.DIES)
    healthy = yard.submit(epochs=1)
    yard.open_gate(1)
    with yard.worker():
        failed = yard.wait(poison, Status.FAILED)
        yard.wait(healthy, Status.SUCCEEDED)

    assert failed.crashes == failed.max_attempts
    assert failed.failure is not None
    assert "SIGKILL" in failed.failure["evidence"]
    check_history(yard.database)


def test_a_failure_of_the_jobs_own_is_not_tried_again(yard: Yard) -> None:
    job_id = yard.submit(Behaviour.DIVERGES)
    with yard.worker():
        job = yard.wait(job_id, Status.FAILED)

    assert job.failure == {
        "kind": "diverged",
        "evidence": "Loss is NaN at step 1.",
        "suggestion": "Less.",
    }
    assert job.attempt == 1
    check_history(yard.database)


def test_a_running_job_is_cancelled_and_its_trainer_ends(yard: Yard) -> None:
    job_id = yard.submit()
    next_id = yard.submit(epochs=1)
    with yard.worker() as worker:
        yard.wait_training(job_id)
        trainer = trainer_of(worker)
        with yard.database.write() as session:
            jobs.request_cancel(session, job_id)
        yard.wait(job_id, Status.CANCELLED, timeout_seconds=10)
        assert not trainer.is_running()
        yard.open_gate(1)
        yard.wait(next_id, Status.SUCCEEDED)

    check_history(yard.database)


def test_a_stopping_worker_hands_its_job_back_and_another_goes_on(yard: Yard) -> None:
    job_id = yard.submit()
    with yard.worker() as worker:
        yard.open_gate(1)
        yard.wait_training(job_id, epochs=1)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0

    assert yard.job(job_id).status is Status.QUEUED
    assert [a.outcome for a in yard.attempts(job_id)] == [Outcome.PREEMPTED]
    check_history(yard.database)
    yard.open_gate(2, 3)
    with yard.worker("w2"):
        job = yard.wait(job_id, Status.SUCCEEDED)
    assert yard.epochs(job_id) == [(1, 1), (2, 2), (3, 2)]
    assert job.crashes == 0
    check_history(yard.database)


def test_a_trainer_that_does_not_stop_is_killed_after_the_grace(yard: Yard) -> None:
    job_id = yard.submit(Behaviour.DEAF)
    with yard.worker(TRAINYARD_GRACE_SECONDS="3") as worker:
        yard.wait_training(job_id)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0

    assert yard.job(job_id).status is Status.QUEUED
    check_history(yard.database)


def test_nobody_counts_on_the_slots_of_a_worker_that_stops(yard: Yard) -> None:
    job_id = yard.submit(Behaviour.DEAF)
    with yard.worker() as worker:
        yard.wait_training(job_id)
        worker.send_signal(signal.SIGTERM)
        wait_until(lambda: _state(yard) == "stopping", what="it says that it stops")
        yard.cancel(job_id)
        assert worker.wait(30) == 0

    assert yard.job(job_id).status is Status.CANCELLED
    check_history(yard.database)


def _state(yard: Yard) -> str:
    with yard.database.read() as session:
        (found,) = workers.seen(session, 60.0)
        return found.state


def test_a_killed_worker_is_noticed_and_another_takes_over(yard: Yard) -> None:
    job_id = yard.submit()
    with yard.worker() as worker:
        yard.open_gate(1)
        yard.wait_training(job_id, epochs=1)
        wait_until(lambda: CHECKPOINT in yard.artifacts(job_id), what="the checkpoint is stored")
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    yard.open_gate(2, 3)
    with yard.scheduler(), yard.worker("w2", TRAINYARD_LEASE_SECONDS="60"):
        job = yard.wait(job_id, Status.SUCCEEDED)

    assert [a.outcome for a in yard.attempts(job_id)] == [Outcome.LOST, Outcome.SUCCEEDED]
    assert yard.epochs(job_id) == [(1, 1), (2, 2), (3, 2)]
    assert job.crashes == 1
    check_history(yard.database)


def test_a_worker_started_anew_takes_its_own_job_back_at_once(yard: Yard) -> None:
    job_id = yard.submit()
    with yard.worker(TRAINYARD_LEASE_SECONDS="600") as worker:
        yard.wait_training(job_id)
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    yard.open_gate(1, 2, 3)
    with yard.worker():
        yard.wait(job_id, Status.SUCCEEDED)

    assert [a.outcome for a in yard.attempts(job_id)] == [Outcome.LOST, Outcome.SUCCEEDED]
    check_history(yard.database)


def test_a_frozen_worker_writes_nothing_after_it_lost_its_lease(yard: Yard) -> None:
    job_id = yard.submit(epochs=2)
    with yard.worker() as frozen:
        yard.wait_training(job_id)
        yard.freeze(frozen)
        try:
            with yard.scheduler(), yard.worker("w2", TRAINYARD_LEASE_SECONDS="60"):
                yard.wait_training(job_id, attempt=2)
                os.kill(frozen.pid, signal.SIGCONT)
                wait_until(
                    lambda: "attempt 1: lost its lease" in (yard.folder / "w1.log").read_text(),
                    what="the first worker learns that it lost the job",
                )
                yard.open_gate(1, 2)
                yard.wait(job_id, Status.SUCCEEDED)
        finally:
            os.kill(frozen.pid, signal.SIGCONT)

    assert yard.epochs(job_id) == [(1, 2), (2, 2)]
    check_history(yard.database)


def test_lost_messages_are_sent_again(yard: Yard, redis_server: RedisServer) -> None:
    job_id = yard.submit(epochs=1)
    yard.open_gate(1)
    with yard.worker():
        yard.wait(job_id, Status.SUCCEEDED)
        # Given a job whose message never arrives
        body = {"spec": {"epochs": 1, "resources": {"queue": "default"}}}
        deaf = Bell(yard.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))
        silent = submit_job(yard.database, deaf, yard.settings, body)
        assert silent.warning == QUEUE_AWAY
        # When a scheduler looks, then the job runs
        with yard.scheduler():
            yard.wait(silent.job.id, Status.SUCCEEDED)
    check_history(yard.database)


def test_a_message_delivered_many_times_runs_the_job_once(yard: Yard) -> None:
    job_id = yard.submit(epochs=1)
    for _ in range(10):
        yard.bell.ring("default", job_id)
    yard.open_gate(1)
    with yard.worker(TRAINYARD_SLOTS="2"):
        yard.wait(job_id, Status.SUCCEEDED)
        wait_until(lambda: yard.bell.waiting("default") == 0, what="every message is consumed")

    assert yard.job(job_id).attempt == 1
    check_history(yard.database)


def test_a_job_over_its_time_limit_fails_and_its_trainer_ends(yard: Yard) -> None:
    job_id = yard.submit(resources={"max_runtime_seconds": 3600})
    with yard.scheduler(), yard.worker(TRAINYARD_LEASE_SECONDS="60") as worker:
        yard.wait_training(job_id)
        trainer = trainer_of(worker)
        with yard.database.write() as session:
            session.execute(sa.update(Attempt).values(claimed_at=utc_now(-3601)))
        job = yard.wait(job_id, Status.FAILED)
        wait_until(lambda: not trainer.is_running(), what="the trainer has ended")

    assert job.failure is not None
    assert job.failure["kind"] == "timeout"
    check_history(yard.database)


def test_two_schedulers_share_one_lead(yard: Yard) -> None:
    job_id = yard.submit(epochs=1)
    yard.open_gate(1)
    with yard.scheduler() as first, yard.scheduler(), yard.worker():
        yard.wait(job_id, Status.SUCCEEDED)
        wait_until(
            lambda: (yard.folder / "scheduler.log").read_text().count("The scheduler") >= 2,
            what="both schedulers have looked",
        )
        text = (yard.folder / "scheduler.log").read_text()
        assert text.count("scheduler leads") == 1
        first.send_signal(signal.SIGTERM)
        assert first.wait(10) == 0
        wait_until(
            lambda: (yard.folder / "scheduler.log").read_text().count("scheduler leads") >= 1,
            what="somebody leads",
        )
    check_history(yard.database)


def test_the_worker_reports_its_slots_and_signs_off(yard: Yard) -> None:
    def row() -> Worker | None:
        with yard.database.read() as session:
            return session.get(Worker, "w1")

    with yard.worker(TRAINYARD_SLOTS="2"):
        wait_until(
            lambda: (found := row()) is not None and all(s["warm"] for s in found.slots),
            what="the worker reports two warm slots",
        )
        found = row()
        assert found is not None
        assert [slot["index"] for slot in found.slots] == [0, 1]
        assert found.queues == ["default"]
        assert found.stopped_at is None
    found = row()
    assert found is not None
    assert found.stopped_at is not None


def test_two_workers_of_one_name_in_one_folder_are_refused(yard: Yard) -> None:
    with yard.worker():
        wait_until(
            lambda: "Worker w1 is ready" in (yard.folder / "w1.log").read_text(),
            what="the first worker is ready",
        )
        with yard.worker() as second:
            assert second.wait(30) == 2
    assert "TRAINYARD_WORKER_NAME" in (yard.folder / "w1.log").read_text()


def test_every_start_leaves_events_in_order(yard: Yard) -> None:
    job_id = yard.submit(Behaviour.DIES_ONCE, epochs=2)
    yard.open_gate(1, 2)
    with yard.worker():
        yard.wait(job_id, Status.SUCCEEDED)

    with yard.database.read() as session:
        kinds = list(
            session.scalars(
                sa.select(JobEvent.kind).where(JobEvent.job_id == job_id).order_by(JobEvent.id)
            )
        )
    assert kinds[:3] == ["submitted", "claimed", "started"]
    assert kinds[3:5] == ["crashed", "claimed"]
    assert kinds[-2:] == ["resumed", "succeeded"] or kinds[-2:] == ["started", "succeeded"]
    assert list_key("default") == "trainyard:default"


def test_a_paused_job_saves_itself_and_goes_on_from_there(yard: Yard) -> None:
    job_id = yard.submit(epochs=3)
    yard.open_gate(1)
    with yard.worker():
        yard.wait_training(job_id, epochs=1)
        with yard.database.write() as session:
            jobs.request_pause(session, job_id)
        yard.wait(job_id, Status.PAUSED)
        assert [attempt.outcome for attempt in yard.attempts(job_id)] == [Outcome.PAUSED]

        with yard.database.write() as session:
            jobs.resume(session, job_id)
        yard.bell.ring("default", job_id)
        yard.open_gate(2, 3)
        job = yard.wait(job_id, Status.SUCCEEDED)

    assert yard.epochs(job_id) == [(1, 1), (2, 2), (3, 2)]
    assert job.crashes == 0
    assert yard.attempts(job_id)[1].outcome is Outcome.SUCCEEDED
    check_history(yard.database)


def test_a_drained_worker_hands_its_job_back_and_takes_it_again_afterwards(yard: Yard) -> None:
    job_id = yard.submit(epochs=2)
    yard.open_gate(1)
    with yard.worker():
        yard.wait_training(job_id, epochs=1)
        with yard.database.write() as session:
            workers.request_drain(session, "w1", reason="Maintenance.")
        yard.wait(job_id, Status.QUEUED)
        assert [attempt.outcome for attempt in yard.attempts(job_id)] == [Outcome.PREEMPTED]

        with yard.database.write() as session:
            workers.end_drain(session, "w1")
        wait_until(
            lambda: "takes jobs again" in (yard.folder / "w1.log").read_text(),
            what="the worker takes jobs again",
        )
        yard.bell.ring("default", job_id)
        yard.open_gate(2)
        yard.wait(job_id, Status.SUCCEEDED)

    assert yard.epochs(job_id) == [(1, 1), (2, 2)]
    check_history(yard.database)

"""A real Celery worker, scheduler, Redis and database; trainers that speak the protocol."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from shared import catalogue, jobs, workers
from shared.artifacts import ArtifactStore
from shared.database import Database
from shared.models import Artifact, Attempt, Epoch, Job, JobEvent, Outcome, Status, Worker
from shared.queue import Bell, list_key
from shared.settings import Settings
from shared.submit import QUEUE_AWAY, submit_job
from tests.fake_trainer import Behaviour
from tests.history import check_history
from tests.parts import environment, process
from tests.services import RedisServer
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("no_process_left")


@dataclass
class Yard:
    """The test's own connections to a yard, and the settings of its processes."""

    settings: Settings
    database: Database
    folder: Path

    def __post_init__(self) -> None:
        self.gate = self.folder / "gate"
        self.gate.mkdir()
        self.bell = Bell(self.settings)
        self.env = environment(
            self.settings,
            TRAINYARD_LEASE_SECONDS="2",
            TRAINYARD_HEARTBEAT_SECONDS="0.5",
            FAKE_TRAINER_GATE=str(self.gate),
        )

    @contextlib.contextmanager
    def worker(self, **changes: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a worker with fake trainers."""
        env = self.env | changes
        log = self.folder / f"{env['TRAINYARD_WORKER_NAME']}.log"
        with process("tests.fake_worker", env, log) as worker:
            yield worker

    @contextlib.contextmanager
    def scheduler(self, **changes: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a scheduler."""
        with process("worker.scheduler", self.env | changes, self.folder / "scheduler.log") as it:
            yield it

    def submit(self, behaviour: Behaviour = Behaviour.WELL, *, epochs: int = 3, **spec: Any) -> int:
        """Submit a job."""
        body = {"spec": {"seed": int(behaviour), "epochs": epochs, **spec}}
        return submit_job(self.database, self.bell, self.settings, body).job.id

    def open_gate(self, *epochs: int) -> None:
        """Let the trainers finish these epochs."""
        for epoch in epochs:
            (self.gate / f"go-{epoch}").touch()

    def job(self, job_id: int) -> Job:
        """Return the job as it is now."""
        with self.database.read() as session:
            return jobs.get(session, job_id)

    def wait(self, job_id: int, status: Status, timeout_seconds: float = 30) -> Job:
        """Wait until the job has a status."""
        wait_until(
            lambda: self.job(job_id).status is status,
            timeout_seconds,
            what=f"job {job_id} is {status}",
        )
        return self.job(job_id)

    def wait_training(self, job_id: int, *, attempt: int = 1, epochs: int = 0) -> None:
        """Wait until the job's attempt has made a step and `epochs` epochs are recorded."""

        def training() -> bool:
            job = self.job(job_id)
            return (
                job.attempt == attempt
                and job.progress is not None
                and job.progress["epoch"] == epochs + 1
                and job.epochs_done == epochs
            )

        wait_until(training, what=f"attempt {attempt} of job {job_id} trains epoch {epochs + 1}")

    def attempts(self, job_id: int) -> list[Attempt]:
        """Return the job's attempts in order."""
        with self.database.read() as session:
            return list(
                session.scalars(
                    sa.select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.number)
                )
            )

    def epochs(self, job_id: int) -> list[tuple[int, int]]:
        """Return the recorded epochs, each with its attempt."""
        with self.database.read() as session:
            rows = session.execute(
                sa.select(Epoch.epoch, Epoch.attempt)
                .where(Epoch.job_id == job_id)
                .order_by(Epoch.epoch)
            )
            return [(row.epoch, row.attempt) for row in rows]

    def artifacts(self, job_id: int) -> dict[str, str]:
        """Return the paths of the job's files, by name."""
        with self.database.read() as session:
            rows = session.execute(
                sa.select(Artifact.name, Artifact.path).where(Artifact.job_id == job_id)
            )
            return {row.name: row.path for row in rows}


@pytest.fixture
def yard(service_settings: Settings, database: Database, tmp_path: Path) -> Yard:
    with database.write() as session:
        catalogue.register_bundled(session)
    return Yard(service_settings, database, tmp_path)


def trainer_of(worker: subprocess.Popen[bytes]) -> psutil.Process:
    """Return the trainer that has been at it the longest: the one that trains."""
    children = psutil.Process(worker.pid).children()
    return min(children, key=lambda child: child.create_time())


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
    assert len([name for name in files if name.startswith("checkpoints/")]) == 2
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
        wait_until(lambda: len(yard.artifacts(job_id)) >= 1, what="the checkpoint is stored")
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
    with yard.worker(TRAINYARD_WORKER_NAME="w2"):
        job = yard.wait(job_id, Status.SUCCEEDED)
    assert yard.epochs(job_id) == [(1, 1), (2, 2), (3, 2)]
    assert job.crashes == 0
    check_history(yard.database)


def test_a_trainer_that_does_not_stop_is_killed_after_the_grace(yard: Yard) -> None:
    job_id = yard.submit(Behaviour.DEAF)
    with yard.worker(TRAINYARD_GRACE_SECONDS="1") as worker:
        yard.wait_training(job_id)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0

    assert yard.job(job_id).status is Status.QUEUED
    check_history(yard.database)


def test_a_killed_worker_is_noticed_and_another_takes_over(yard: Yard) -> None:
    job_id = yard.submit()
    with yard.scheduler():
        with yard.worker() as worker:
            yard.open_gate(1)
            yard.wait_training(job_id, epochs=1)
            wait_until(lambda: len(yard.artifacts(job_id)) >= 1, what="the checkpoint is stored")
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait()
        yard.open_gate(2, 3)
        with yard.worker(TRAINYARD_WORKER_NAME="w2"):
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
    with yard.scheduler(), yard.worker() as frozen:
        yard.wait_training(job_id)
        os.kill(frozen.pid, signal.SIGSTOP)
        try:
            with yard.worker(TRAINYARD_WORKER_NAME="w2"):
                yard.wait_training(job_id, attempt=2)
                os.kill(frozen.pid, signal.SIGCONT)
                wait_until(
                    lambda: "no lease any more" in (yard.folder / "w1.log").read_text(),
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
    job_id = yard.submit(resources={"max_runtime_seconds": 1})
    with yard.scheduler(), yard.worker() as worker:
        yard.wait_training(job_id)
        trainer = trainer_of(worker)
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

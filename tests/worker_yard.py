"""A yard for tests of workers: real worker and scheduler processes, fake trainers.

Owns the test's own connections and the waits on what the processes write into SQL.
"""

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
import sqlalchemy as sa

from shared import catalogue, jobs
from shared.artifacts import ArtifactStore
from shared.database import Database
from shared.models import Artifact, Attempt, Epoch, Job, Status, Worker
from shared.queue import Bell, connect, list_key
from shared.settings import Settings
from shared.submit import submit_job
from tests.fake_trainer import Behaviour
from tests.parts import environment, process
from tests.waiting import wait_until


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
        self.store = ArtifactStore(self.settings.resolved_artifacts_url)
        self.env = environment(
            self.settings,
            TRAINYARD_LEASE_SECONDS="2",
            TRAINYARD_HEARTBEAT_SECONDS="0.5",
            FAKE_TRAINER_GATE=str(self.gate),
        )

    @contextlib.contextmanager
    def worker(
        self, name: str = "w1", *, fault: str = "", **changes: str
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a worker with fake trainers, and with a fault of `tests.faults.worker`, if any."""
        env = self.env | {"TRAINYARD_WORKER_NAME": name, "FAULT": fault} | changes
        module = "tests.faults.worker" if fault else "tests.fake_worker"
        with process(module, env, self.log(name)) as worker:
            yield worker

    def freeze(self, frozen: subprocess.Popen[bytes]) -> None:
        """Stop a process, but not in the middle of a write.

        SQLite's one write lock would stop with it, and everybody else would wait for SIGCONT.
        """
        with self.database.write() as session:
            session.connection()  # begins now, not with a first statement that never comes
            frozen.send_signal(signal.SIGSTOP)
            # Its threads stop one after the other, and the last may be waiting for this lock.
            os.waitid(os.P_PID, frozen.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def log(self, name: str) -> Path:
        """Return the file of what a process has printed."""
        return self.folder / f"{name}.log"

    def wait_log(self, name: str, text: str, timeout_seconds: float = 30) -> None:
        """Wait until a process has printed `text`."""
        wait_until(
            lambda: self.log(name).exists() and text in self.log(name).read_text(errors="replace"),
            timeout_seconds,
            what=f"{name} prints {text!r}",
        )

    @contextlib.contextmanager
    def scheduler(self, **changes: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a scheduler."""
        with process("worker.scheduler", self.env | changes, self.log("scheduler")) as it:
            yield it

    def submit(self, behaviour: Behaviour = Behaviour.WELL, *, epochs: int = 3, **spec: Any) -> int:
        """Submit a job."""
        body = {"spec": {"seed": int(behaviour), "epochs": epochs, **spec}}
        return submit_job(self.database, self.bell, self.settings, body).job.id

    def cancel(self, job_id: int) -> None:
        """Ask for the job to be cancelled."""
        with self.database.write() as session:
            jobs.request_cancel(session, job_id)

    def pause(self, job_id: int) -> None:
        """Ask for the job to be paused."""
        with self.database.write() as session:
            jobs.request_pause(session, job_id)

    def resume(self, job_id: int) -> None:
        """Ask for the job to go on."""
        with self.database.write() as session:
            jobs.resume(session, job_id)

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

    def run_another(self, timeout_seconds: float = 30) -> None:
        """Check that a job which is submitted now runs to its end."""
        self.open_gate(1)
        self.wait(self.submit(epochs=1), Status.SUCCEEDED, timeout_seconds)

    def wait_idle(self, name: str = "w1") -> None:
        """Wait until every slot of the worker is free and no message is on its way."""

        def idle() -> bool:
            with self.database.read() as session:
                row = session.get(Worker, name)
            return (
                row is not None
                and all(slot["job_id"] is None for slot in row.slots)
                and not redis.exists(list_key("default"), list_key("unacked"))
            )

        with connect(self.settings.resolved_redis_url, timeout_seconds=5) as redis:
            wait_until(idle, what=f"worker {name} is idle")

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

    def seconds_of(self, job_id: int) -> float:
        """Return how long the job's newest attempt has kept its lease, by the database's clock."""
        newest = self.attempts(job_id)[-1]
        return (newest.heartbeat_at - newest.claimed_at).total_seconds()

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


def make_yard(settings: Settings, database: Database, folder: Path) -> Yard:
    """Prepare a yard in an empty folder, with a migrated database that knows the data sets."""
    with database.write() as session:
        catalogue.register_bundled(session)
    return Yard(settings, database, folder)


def trainer_of(worker: subprocess.Popen[bytes]) -> psutil.Process:
    """Return the trainer that has been at it the longest: the one that trains."""
    children = psutil.Process(worker.pid).children()
    return min(children, key=lambda child: child.create_time())

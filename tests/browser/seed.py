"""A yard full of jobs in every state, for the browser tests and for looking at the pages.

`python -m tests.browser.seed DATA_DIR` fills a data folder; a web server started on it shows it.
Writes rows directly, past the state machine: only tests may do that.
"""

from __future__ import annotations

import math
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from shared import catalogue, jobs
from shared.artifacts import ArtifactStore
from shared.database import Database
from shared.models import Attempt, Epoch, Gauge, Job, JobEvent, Outcome, Status, Worker
from shared.protocol import Layer, Machine, Progress, Started, as_json
from shared.schema import upgrade
from shared.settings import Settings
from shared.spec.architecture import layers
from shared.spec.job import DatasetRef, JobSpec, parse_submission
from shared.spec.schedules import learning_rate
from tests.browser.files import add_artifacts
from tests.browser.plans import PLANS, Plan, ordinary

WORKER = "gpu-lab-1"
VERSIONS = {
    "trainyard": "0.1.0+c8221fc90446",
    "python": "3.11.9",
    "tensorflow": "2.21.0",
    "keras": "3.15.1",
    "numpy": "2.4.0",
    "cuda": "12.9.1",
    "cudnn": "9",
    "driver": "580.95.05",
}
STEPS = 600
# How a seeded attempt is broken off: why, seconds of work lost, of silence, and to the next claim.
_BREAKS: dict[Outcome | None, tuple[str | None, float, float, float]] = {
    Outcome.LOST: ("No heartbeat for 20 s.", 7.4, 20.0, 3.0),
    Outcome.PREEMPTED: ("The machine is taken back: notice of the cloud.", 0.0, 0.0, 9.0),
}
_OUTCOMES = {
    Status.PAUSED: Outcome.PAUSED,
    Status.SUCCEEDED: Outcome.SUCCEEDED,
    Status.FAILED: Outcome.FAILED,
    Status.CANCELLED: Outcome.CANCELLED,
}


def seed(database: Database, store: ArtifactStore, *, more: int = 60) -> dict[str, int]:
    """Fill the database with `more` finished jobs, one job of each plan, and three workers.

    Returns:
        The job id of each plan, by its name.
    """
    with database.write() as session:
        catalogue.register_bundled(session)
        seeder = Seeder(session, store, datetime.now(UTC))
        for index in range(more):
            seeder.add(ordinary(seeder.dice, index))
        by_age = sorted(PLANS.items(), key=lambda item: -item[1].age_minutes)
        ids = {name: seeder.add(plan) for name, plan in by_age}
        seeder.add_workers(ids)
    return ids


class Seeder:
    """Writes jobs as if they had been trained.

    Args:
        session: for writing.
        store: takes the artifacts.
        now: the present, which ages are counted from.
    """

    def __init__(self, session: Session, store: ArtifactStore, now: datetime) -> None:
        self.session = session
        self.store = store
        self.now = now
        self.dice = random.Random(7)

    def add(self, plan: Plan) -> int:
        """Add one job with its epochs, attempts, events and artifacts; return its number."""
        body: dict[str, Any] = {"preset": plan.preset, "tags": list(plan.tags)}
        body |= {"spec": plan.changes} | ({"name": plan.name} if plan.name else {})
        version = catalogue.resolve(self.session, DatasetRef())
        job, _ = jobs.submit(
            self.session, parse_submission(body), dataset_version=version, max_attempts=5
        )
        self.session.refresh(job)
        self._set_back(job, self.now - timedelta(minutes=plan.age_minutes))
        if plan.status is not Status.QUEUED:
            self._run(job, plan)
        self.session.flush()
        return job.id

    def add_workers(self, ids: dict[str, int]) -> None:
        """Add a living worker that runs the running jobs, one that drains, one that was lost."""
        running = (ids["running"], ids["starting"], ids["troubled"])
        slots = [
            {"index": index, "device": "NVIDIA L4", "gpus": 1, "job_id": job, "warm": False}
            for index, job in enumerate(running)
        ]
        idle = {"index": 0, "device": "CPU", "gpus": 0, "job_id": None, "warm": True}
        # Ahead, so that it stays alive for as long as somebody looks at the pages.
        self._add_worker(WORKER, slots, self.now + timedelta(days=1))
        draining = self._add_worker("lab-2", [idle], self.now + timedelta(days=1))
        draining.drain_requested_at = self.now - timedelta(minutes=8)
        draining.drain_reason = "Asked by command line, 10.0.0.7: a new disk."
        self._add_worker("spot-7", [], self.now - timedelta(hours=25))

    def _add_worker(self, name: str, slots: list[Any], heartbeat_at: datetime) -> Worker:
        worker = Worker(name=name, hostname=name, pid=412, queues=["default", "gpu"], slots=slots)
        worker.info = {"versions": VERSIONS, "cores": 16}
        worker.started_at, worker.heartbeat_at = self.now - timedelta(hours=31), heartbeat_at
        self.session.add(worker)
        return worker

    def _set_back(self, job: Job, submitted_at: datetime) -> None:
        job.submitted_at = job.queued_at = submitted_at
        for event in self.session.query(JobEvent).where(JobEvent.job_id == job.id):
            event.at = submitted_at

    def _run(self, job: Job, plan: Plan) -> None:
        job.status, claimed_at = plan.status, job.submitted_at + timedelta(seconds=0.4)
        job.claimed_at, job.first_step_at = claimed_at, claimed_at + timedelta(seconds=0.6)
        job.run_info = as_json(started(JobSpec.model_validate(job.spec)))
        job.failure, job.outcome_detail = plan.failure, plan.detail
        job.crashes = plan.ends.count(Outcome.LOST)
        job.lost_seconds = 7.4 * job.crashes
        for epoch in range(1, plan.epochs_done + 1):
            self._add_epoch(job, plan, epoch, job.first_step_at)
        if plan.status is Status.RUNNING:
            job.progress = as_json(progress(job))
        self._add_attempts(job, plan, claimed_at)
        if plan.status is Status.SUCCEEDED:
            job.test_accuracy = job.final_eval_accuracy
            add_artifacts(self.session, self.store, job)

    def _add_epoch(self, job: Job, plan: Plan, number: int, began: datetime) -> None:
        noise = self.dice.gauss(0, 0.0007)
        evaluation = min(plan.reach - 0.25 * math.exp(-plan.speed * number) + noise, 0.9999)
        train = min(plan.reach + 0.004 - 0.36 * math.exp(-plan.speed * number), 0.9999)
        row = Epoch(job_id=job.id, epoch=number, attempt=1, extra=None)
        row.train_accuracy, row.train_loss = train, 3.2 * (1.0003 - train)
        row.eval_accuracy, row.eval_loss = evaluation, 3.4 * (1 - evaluation) + 0.002 * number
        row.learning_rate = learning_rate(JobSpec.model_validate(job.spec), number)
        row.seconds = plan.epoch_seconds * self.dice.uniform(0.97, 1.03)
        row.images_per_second = 60_000 / row.seconds
        row.recorded_at = began + timedelta(seconds=plan.epoch_seconds * number)
        self.session.add(row)
        job.curve = [*job.curve, [number, train, evaluation]]
        if evaluation > (job.best_eval_accuracy or 0):
            job.best_eval_accuracy, job.best_epoch = evaluation, number
        job.final_train_accuracy, job.final_eval_accuracy = train, evaluation
        job.final_eval_loss, job.epochs_done = row.eval_loss, number

    def _add_attempts(self, job: Job, plan: Plan, claimed_at: datetime) -> None:
        """Cut the time of the finished epochs into attempts of equal length."""
        share = timedelta(seconds=plan.epoch_seconds * max(plan.epochs_done, 1)) / (
            len(plan.ends) + 1
        )
        began = claimed_at
        for outcome in plan.ends:
            ended = began + share + timedelta(seconds=_BREAKS[outcome][2])
            self._add_attempt(job, plan, began, ended, outcome)
            began = ended + timedelta(seconds=_BREAKS[outcome][3])
        last = None if plan.status is Status.RUNNING else began + share
        self._add_attempt(job, plan, began, last, _OUTCOMES.get(plan.status))
        if plan.status is Status.PAUSED:
            self._add_event(job, began + share, "paused", "Paused.", job.attempt)
        elif last is not None:
            job.finished_at, job.duration_seconds = last, (last - claimed_at).total_seconds()

    def _add_attempt(
        self, job: Job, plan: Plan, began: datetime, ended: datetime | None, outcome: Outcome | None
    ) -> None:
        why, lost, silent, _ = _BREAKS.get(outcome, (None, 0.0, 0.0, 0.0))
        job.attempt += 1
        attempt = Attempt(job_id=job.id, number=job.attempt, slot=0, outcome=outcome, detail=why)
        attempt.worker, attempt.device = WORKER if job.attempt % 2 else "spot-7", "NVIDIA L4"
        attempt.lease_token, attempt.lease_expires_at = f"{job.id}-{job.attempt}", self.now
        attempt.claimed_at, attempt.ended_at = began, ended
        attempt.heartbeat_at = (ended or self.now) - timedelta(seconds=silent)
        attempt.first_step_at = began + timedelta(seconds=0.6)
        part = plan.epochs_done * (job.attempt - 1) / (len(plan.ends) + 1)
        attempt.started_epoch = 1 + int(part)
        attempt.started_step = round(STEPS * (part - int(part)))
        attempt.lost_seconds = lost
        self.session.add(attempt)
        if plan.gauges:
            self._add_gauges(job, ((ended or self.now) - began).total_seconds(), gpu=plan.gauges)
        number = job.attempt
        self._add_event(job, began, "claimed", f"Worker {attempt.worker} took the job.", number)
        if ended is not None and outcome is not None:
            message = why or job.outcome_detail or f"{outcome.value.capitalize()}."
            kind = "saved" if outcome is Outcome.PAUSED else outcome.value
            self._add_event(job, ended, kind, message, number)

    def _add_gauges(self, job: Job, seconds: float, *, gpu: str) -> None:
        """Measure an attempt: it imports, trains evenly, and warms the GPU up."""
        span = max(2, math.ceil(seconds / 160))
        for second in range(span, round(seconds) + 1, span):
            row = Gauge(job_id=job.id, attempt=job.attempt, second=second, span_seconds=span)
            busy = 0.15 if second <= 4 else 1.0
            row.cpu_percent = busy * self.dice.gauss(168, 7)
            row.memory_bytes = round(2**30 * (0.9 + 0.5 * busy + self.dice.uniform(0, 0.02)))
            if gpu == "gpu":
                row.gpu_percent = min(100.0, busy * self.dice.gauss(88, 4))
                row.gpu_memory_bytes = round(2**30 * (0.6 + 5.2 * busy))
                row.gpu_celsius = round(68 - 30 * math.exp(-second / 40))
                row.gpu_watts = 28 + busy * self.dice.gauss(38, 2)
            self.session.add(row)

    def _add_event(self, job: Job, at: datetime, kind: str, message: str, attempt: int) -> None:
        event = JobEvent(job_id=job.id, attempt=attempt, at=at, kind=kind, message=message)
        self.session.add(event)
        self.session.flush()


def started(spec: JobSpec) -> Started:
    """Return what a trainer says when it begins: the model's real layers on MNIST."""
    rows = [Layer.model_validate(row.as_dict()) for row in layers(spec.model, (28, 28, 1), 10)]
    return Started(
        epoch=1,
        step=0,
        steps_per_epoch=STEPS,
        train_images=60_000,
        eval_images=10_000,
        parameters=sum(row.parameters for row in rows),
        layers=rows,
        device="NVIDIA L4",
        precision="float32",
        versions=VERSIONS,
        machine=Machine(
            processor="AMD EPYC 9354 32-Core Processor",
            cores=16,
            intra_op_threads=16,
            inter_op_threads=16,
        ),
        seed=spec.seed,
        dataset_version=spec.dataset.version or "",
    )


def progress(job: Job) -> Progress:
    """Return where a running job stands: in its next epoch, at step 372."""
    return Progress(
        phase="train",
        epoch=job.epochs_done + 1,
        step=372,
        steps=STEPS,
        train_accuracy=(job.final_train_accuracy or 0.62) + 0.001,
        train_loss=0.021 if job.epochs_done else 1.2,
        learning_rate=learning_rate(JobSpec.model_validate(job.spec), job.epochs_done + 1),
        images_per_second=2857.0,
    )


def main() -> None:
    """Seed the data folder named on the command line."""
    settings = Settings(data_dir=Path(sys.argv[1]))
    upgrade(settings.resolved_database_url)
    database = Database(settings.resolved_database_url)
    print(seed(database, ArtifactStore(settings.resolved_artifacts_url)))


if __name__ == "__main__":
    main()

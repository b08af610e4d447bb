"""A yard full of jobs in every state, for the browser tests and for looking at the pages.

`python -m tests.browser.seed DATA_DIR` fills a data folder; a web server started on it shows it.
Writes rows directly, past the state machine: only tests may do that.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from shared.artifacts import ArtifactStore
from shared.database import Database
from shared.models import (
    Artifact,
    Attempt,
    Base,
    Dataset,
    DatasetVersion,
    Epoch,
    Job,
    JobEvent,
    Outcome,
    Status,
    Worker,
)
from shared.settings import Settings
from shared.spec.job import parse_submission

VERSION = hashlib.sha256(b"mnist").hexdigest()
WORKER = "gpu-lab-1"


@dataclass(frozen=True)
class Plan:
    """One job to seed.

    Attributes:
        reach, speed: the evaluation accuracy that its curve tends to, and how fast.
        epochs_done: finished epochs; None: none.
        age_minutes: how long ago it was submitted.
        epoch_seconds: time of one epoch.
    """

    status: Status
    preset: str = "hello-world"
    name: str | None = None
    tags: tuple[str, ...] = ()
    reach: float = 0.98
    speed: float = 0.9
    epochs_done: int = 0
    age_minutes: float = 60.0
    epoch_seconds: float = 2.4
    changes: dict[str, Any] = field(default_factory=dict)
    failure: dict[str, str] | None = None
    detail: str | None = None
    losses: int = 0


PLANS = {
    "running": Plan(
        Status.RUNNING,
        "deep-cnn",
        "deep-cnn-augmented",
        ("baseline", "week-48"),
        0.9932,
        0.8,
        epochs_done=6,
        age_minutes=3.2,
        epoch_seconds=21.0,
    ),
    "starting": Plan(Status.RUNNING, "lenet5", age_minutes=0.4, epochs_done=0),
    "queued": Plan(
        Status.QUEUED,
        "adam",
        "adam-large-batch",
        ("sweep",),
        age_minutes=1.5,
        changes={"batch_size": 512},
    ),
    "queued_next": Plan(Status.QUEUED, "mlp", age_minutes=1.1),
    "succeeded": Plan(
        Status.SUCCEEDED,
        "hello-world",
        tags=("tutorial",),
        reach=0.9872,
        epochs_done=10,
        age_minutes=14,
        detail="All 10 epochs are done.",
    ),
    "early": Plan(
        Status.SUCCEEDED,
        "higher-learning-rate",
        "sgd-0.1",
        ("sweep", "learning-rate"),
        0.9868,
        1.4,
        epochs_done=7,
        age_minutes=42,
        detail="Stopped early: training accuracy fell below that of the epoch before.",
    ),
    "failed": Plan(
        Status.FAILED,
        "adam",
        "adam-at-1.0",
        ("learning-rate",),
        0.41,
        0.3,
        epochs_done=2,
        age_minutes=75,
        changes={"learning_rate": 1.0},
        failure={
            "kind": "diverged",
            "evidence": "The loss became NaN at epoch 3, step 214, at a learning rate of 1.0.",
            "suggestion": "Try a tenth of the learning rate, or add a warm-up.",
        },
    ),
    "cancelled": Plan(
        Status.CANCELLED,
        "deep-cnn",
        "deep-cnn-too-slow",
        reach=0.985,
        epochs_done=3,
        age_minutes=190,
        epoch_seconds=63.0,
        detail="Cancelled on request.",
    ),
    "resumed": Plan(
        Status.SUCCEEDED,
        "lenet5",
        "lenet-after-two-losses",
        ("spot", "baseline"),
        0.9905,
        0.8,
        epochs_done=10,
        age_minutes=60 * 26,
        epoch_seconds=4.2,
        losses=2,
        detail="All 10 epochs are done.",
    ),
    "single": Plan(
        Status.SUCCEEDED,
        "mlp",
        "one-epoch",
        reach=0.955,
        epochs_done=1,
        age_minutes=60 * 30,
        changes={"epochs": 1},
        detail="All 1 epochs are done.",
    ),
}
_MODELS = (
    "hello-world",
    "less-data",
    "higher-learning-rate",
    "adam",
    "mlp",
    "lenet5",
    "deep-cnn",
)


def seed(database: Database, store: ArtifactStore, *, more: int = 60) -> dict[str, int]:
    """Fill the database with one job of each plan, `more` finished ones, and two workers.

    Returns:
        The job id of each plan, by its name.
    """
    dice = random.Random(7)
    now = datetime.now(UTC)
    ids: dict[str, int] = {}
    with database.write() as session:
        _add_dataset(session, now)
        for index in range(more):
            _add_job(session, store, _ordinary(dice, index), dice, now)
        for name, plan in sorted(PLANS.items(), key=lambda item: -item[1].age_minutes):
            ids[name] = _add_job(session, store, plan, dice, now)
        _add_workers(session, ids, now)
    return ids


def _ordinary(dice: random.Random, index: int) -> Plan:
    preset = dice.choice(_MODELS)
    reach = {"less-data": 0.948, "mlp": 0.978, "deep-cnn": 0.9935, "lenet5": 0.989}.get(
        preset, 0.985
    )
    return Plan(
        Status.SUCCEEDED,
        preset,
        f"{preset}-{index + 1}",
        dice.choice(((), ("sweep",), ("baseline",))),
        reach=reach + dice.uniform(-0.004, 0.003),
        speed=dice.uniform(0.5, 1.3),
        epochs_done=10,
        age_minutes=60 * 31 + 97 * (60 - index),
        epoch_seconds=dice.uniform(1.5, 9),
        detail="All 10 epochs are done.",
    )


def _add_dataset(session: Session, now: datetime) -> None:
    dataset = Dataset(
        name="mnist",
        title="MNIST",
        description="Handwritten digits, 28 x 28 pixels, ten classes.",
        attribution="Y. LeCun, C. Cortes, C. Burges; CC BY-SA 3.0",
        created_at=now - timedelta(days=30),
    )
    session.add(dataset)
    session.flush()
    session.add(
        DatasetVersion(
            dataset_id=dataset.id,
            version=VERSION,
            uri="bundled:mnist",
            train_images=60_000,
            test_images=10_000,
            height=28,
            width=28,
            channels=1,
            classes=[str(digit) for digit in range(10)],
            created_at=now - timedelta(days=30),
        )
    )


def _add_job(
    session: Session,
    store: ArtifactStore,
    plan: Plan,
    dice: random.Random,
    now: datetime,
) -> int:
    body: dict[str, Any] = {
        "preset": plan.preset,
        "tags": list(plan.tags),
        "spec": plan.changes,
    }
    if plan.name:
        body["name"] = plan.name
    submission = parse_submission(body)
    spec = submission.spec
    submitted = now - timedelta(minutes=plan.age_minutes)
    job = Job(
        name=submission.name,
        status=plan.status,
        tags=submission.tags,
        preset=submission.preset,
        spec=spec.model_dump(mode="json"),
        queue=spec.resources.queue,
        gpus=spec.resources.gpus,
        dataset=spec.dataset.name,
        dataset_version=VERSION,
        model=spec.model.kind,
        optimizer=spec.optimizer.kind,
        schedule=spec.schedule.kind,
        learning_rate=spec.learning_rate,
        batch_size=spec.batch_size,
        epochs_total=spec.epochs,
        submitted_at=submitted,
        queued_at=submitted,
        max_attempts=5,
        curve=[],
        crashes=plan.losses,
        lost_seconds=7.4 * plan.losses,
        attempt=0,
    )
    session.add(job)
    session.flush()
    _add_event(session, job, submitted, "submitted", "Submitted.")
    if plan.status is not Status.QUEUED:
        _add_run(session, store, job, plan, dice, now)
    return job.id


def _add_run(
    session: Session,
    store: ArtifactStore,
    job: Job,
    plan: Plan,
    dice: random.Random,
    now: datetime,
) -> None:
    job.claimed_at = job.submitted_at + timedelta(seconds=0.4)
    job.first_step_at = job.claimed_at + timedelta(seconds=0.6)
    job.run_info = _started(job)
    seconds = plan.epoch_seconds * plan.epochs_done + 1.4
    if plan.status is not Status.RUNNING:
        job.finished_at = job.claimed_at + timedelta(seconds=seconds + job.lost_seconds)
        job.duration_seconds = seconds + job.lost_seconds
    job.failure, job.outcome_detail = plan.failure, plan.detail
    _add_epochs(session, job, plan, dice)
    _add_attempts(session, job, plan, now)
    if plan.status is Status.RUNNING:
        job.progress = _progress(job, plan)
    if plan.status is Status.SUCCEEDED:
        job.test_accuracy = job.final_eval_accuracy
        job.result = {
            "event": "finished",
            "reason": "epochs_done",
            "detail": plan.detail,
            "best_epoch": job.best_epoch,
            "weights_epoch": job.epochs_done,
            "weights_sha256": hashlib.sha256(str(job.id).encode()).hexdigest(),
            "test_accuracy": job.final_eval_accuracy,
            "test_loss": job.final_eval_loss,
        }
        _add_artifacts(session, store, job)
        _add_event(session, job, job.finished_at or now, "succeeded", plan.detail or "")


def _add_epochs(session: Session, job: Job, plan: Plan, dice: random.Random) -> None:
    assert job.first_step_at is not None
    for epoch in range(1, plan.epochs_done + 1):
        eval_accuracy = plan.reach - 0.25 * math.exp(-plan.speed * epoch) + dice.gauss(0, 0.0007)
        train = plan.reach + 0.004 - 0.36 * math.exp(-plan.speed * epoch) + dice.gauss(0, 0.0003)
        schedule = job.spec["schedule"]
        row = Epoch(
            job_id=job.id,
            epoch=epoch,
            attempt=1,
            train_accuracy=min(train, 0.9999),
            train_loss=3.2 * max(1.0003 - train, 0.0004),
            eval_accuracy=min(eval_accuracy, 0.9999),
            eval_loss=3.4 * (1 - eval_accuracy) + 0.002 * epoch,
            learning_rate=job.learning_rate * schedule.get("rate", 1.0) ** (epoch - 1),
            seconds=plan.epoch_seconds * dice.uniform(0.97, 1.03),
            images_per_second=60_000 / plan.epoch_seconds * dice.uniform(0.97, 1.03),
            recorded_at=job.first_step_at + timedelta(seconds=plan.epoch_seconds * epoch),
        )
        session.add(row)
        job.curve = [*job.curve, [epoch, row.train_accuracy, row.eval_accuracy]]
        if job.best_eval_accuracy is None or row.eval_accuracy > job.best_eval_accuracy:
            job.best_eval_accuracy, job.best_epoch = row.eval_accuracy, epoch
        job.final_train_accuracy, job.final_eval_accuracy = (
            row.train_accuracy,
            row.eval_accuracy,
        )
        job.final_eval_loss, job.epochs_done = row.eval_loss, epoch


def _add_attempts(session: Session, job: Job, plan: Plan, now: datetime) -> None:
    assert job.claimed_at is not None
    start = job.claimed_at
    share = timedelta(seconds=plan.epoch_seconds * max(plan.epochs_done, 1) / (plan.losses + 1))
    endings = {
        Status.SUCCEEDED: Outcome.SUCCEEDED,
        Status.FAILED: Outcome.FAILED,
        Status.CANCELLED: Outcome.CANCELLED,
    }
    for number in range(1, plan.losses + 2):
        last = number == plan.losses + 1
        outcome = endings.get(job.status) if last else Outcome.LOST
        ended = (job.finished_at if last else start + share) if outcome else None
        session.add(
            Attempt(
                job_id=job.id,
                number=number,
                worker=WORKER if number % 2 else "spot-7",
                slot=0,
                lease_token=f"{job.id}-{number}",
                claimed_at=start,
                lease_expires_at=now + timedelta(seconds=20),
                heartbeat_at=now,
                first_step_at=start + timedelta(seconds=0.6),
                ended_at=ended,
                outcome=outcome,
                detail=None if last else "No heartbeat for 20 s.",
                device="CPU: 8 cores",
                started_epoch=1 + (number - 1) * 3,
                started_step=0,
                lost_seconds=0.0 if last else 7.4,
            )
        )
        _add_event(session, job, start, "claimed", f"Attempt {number} on {WORKER}.", number)
        if not last:
            _add_event(session, job, start + share, "lost", "No heartbeat for 20 s.", number)
        start += share + timedelta(seconds=24)
    job.attempt = plan.losses + 1


def _add_event(
    session: Session,
    job: Job,
    at: datetime,
    kind: str,
    message: str,
    attempt: int | None = None,
) -> None:
    session.add(
        JobEvent(job_id=job.id, attempt=attempt, at=at, kind=kind, message=message, data=None)
    )


def _progress(job: Job, plan: Plan) -> dict[str, Any]:
    return {
        "event": "progress",
        "phase": "train",
        "epoch": plan.epochs_done + 1,
        "step": 372,
        "steps": 600,
        "train_accuracy": (job.final_train_accuracy or 0.62) + 0.001,
        "train_loss": 0.021,
        "learning_rate": 0.000262,
        "images_per_second": 2857.0,
    }


def _started(job: Job) -> dict[str, Any]:
    layers = [
        ("conv2d", "Conv2D", [26, 26, 28], 280),
        ("flatten", "Flatten", [18928], 0),
        ("dense", "Dense", [128], 2_422_912),
        ("dense_1", "Dense", [10], 1_290),
    ]
    return {
        "event": "started",
        "epoch": 1,
        "step": 0,
        "steps_per_epoch": 600,
        "train_images": 60_000,
        "eval_images": 10_000,
        "parameters": 2_424_482,
        "layers": [
            {
                "name": name,
                "kind": kind,
                "output_shape": shape,
                "parameters": parameters,
            }
            for name, kind, shape, parameters in layers
        ],
        "device": "CPU: 8 cores",
        "precision": "float32",
        "resumed_from": None,
        "rejected_checkpoints": {},
        "versions": {"python": "3.11.9", "tensorflow": "2.21.0", "keras": "3.15.1"},
    }


def _add_artifacts(session: Session, store: ArtifactStore, job: Job) -> None:
    files = {
        "confusion_matrix.json": (
            "confusion_matrix",
            "application/json",
            _confusion(job),
        ),
        "history.csv": ("history", "text/csv", b"epoch,train_accuracy\n1,0.9\n"),
        "model.keras": ("model", "application/octet-stream", b"k" * 180_000),
        "model.tflite": ("litert", "application/octet-stream", b"t" * 60_000),
        "log.txt": ("log", "text/plain", _log(job)),
    }
    for name, (kind, media_type, content) in files.items():
        path = f"jobs/{job.id}/1/{name}"
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            store.put(Path(file.name), path)
        session.add(
            Artifact(
                job_id=job.id,
                attempt=job.attempt,
                name=name,
                kind=kind,
                media_type=media_type,
                path=path,
                bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                created_at=job.finished_at,
            )
        )


def _confusion(job: Job) -> bytes:
    dice = random.Random(job.id)
    accuracy = job.final_eval_accuracy or 0.9
    matrix = [[0] * 10 for _ in range(10)]
    for label in range(10):
        wrong = round(1000 * (1 - accuracy))
        for _ in range(wrong):
            matrix[label][
                dice.choice([(label + 4) % 10, (label + 5) % 10, dice.randrange(10)])
            ] += 1
        matrix[label][label] += 1000 - wrong
    return json.dumps({"classes": [str(digit) for digit in range(10)], "matrix": matrix}).encode()


def _log(job: Job) -> bytes:
    lines = [f"epoch {epoch:>2}  eval_accuracy {accuracy:.4f}" for epoch, _, accuracy in job.curve]
    return "\n".join(["Built the model.", *lines, "Wrote the artifacts."]).encode()


def _add_workers(session: Session, ids: dict[str, int], now: datetime) -> None:
    slots = [
        {
            "index": 0,
            "device": "NVIDIA L4",
            "gpus": 1,
            "job_id": ids["running"],
            "warm": False,
        },
        {
            "index": 1,
            "device": "NVIDIA L4",
            "gpus": 1,
            "job_id": ids["starting"],
            "warm": False,
        },
        {"index": 2, "device": "NVIDIA L4", "gpus": 1, "job_id": None, "warm": True},
    ]
    versions = {
        "versions": {"python": "3.11.9", "tensorflow": "2.21.0", "keras": "3.15.1"},
        "processor": "AMD EPYC 9354",
        "cores": 16,
        "memory_bytes": 128 * 2**30,
    }
    session.add(
        Worker(
            name=WORKER,
            hostname=WORKER,
            pid=412,
            queues=["default", "gpu"],
            slots=slots,
            info=versions,
            started_at=now - timedelta(hours=31),
            # Ahead, so that it stays alive for as long as somebody looks at the pages.
            heartbeat_at=now + timedelta(days=1),
            stopped_at=None,
        )
    )
    session.add(
        Worker(
            name="spot-7",
            hostname="spot-7",
            pid=97,
            queues=["default"],
            slots=[{"index": 0, "device": "CPU", "gpus": 0, "job_id": None, "warm": False}],
            info=versions,
            started_at=now - timedelta(hours=30),
            heartbeat_at=now - timedelta(hours=25),
            stopped_at=None,
        )
    )


def main() -> None:
    """Seed the data folder named on the command line."""
    settings = Settings(data_dir=Path(sys.argv[1]))
    database = Database(settings.resolved_database_url)
    Base.metadata.create_all(database.engine)
    print(seed(database, ArtifactStore(settings.resolved_artifacts_url)))


if __name__ == "__main__":
    main()

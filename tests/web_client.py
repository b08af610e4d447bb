"""The web application for tests: a client of it, and jobs in any state.

Writes rows past the state machine: only tests may do that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from shared import catalogue
from shared.database import Database
from shared.datasets.bundled import BUNDLED
from shared.models import Epoch, Job, Status
from shared.settings import Settings
from shared.spec.presets import PRESETS
from web.app import create_app
from web.yard import KEY, Yard

SUBMITTED = datetime(2026, 1, 1, tzinfo=UTC)
VERSION = BUNDLED["mnist"].content.version


@contextmanager
def serving(settings: Settings, database: Database | None = None) -> Iterator[FlaskClient]:
    """Give a client of a new app, and close the app's parts at the end."""
    app = create_app(settings, database=database)
    app.testing = True
    try:
        yield app.test_client()
    finally:
        yard_of(app.test_client()).close()


def yard_of(client: FlaskClient) -> Yard:
    """Return the parts of the client's app."""
    yard: Yard = client.application.extensions[KEY]
    return yard


def json_of(answer: TestResponse) -> Any:
    """Return the answer's document."""
    assert answer.is_json, answer.text
    return answer.json


def add_datasets(database: Database) -> None:
    """Enter the bundled data sets."""
    with database.write() as session:
        catalogue.register_bundled(session)


def job_values(**changes: Any) -> dict[str, Any]:
    """Return the columns of a job that waits, with some changed."""
    spec = PRESETS["hello-world"].spec
    document = spec.model_dump(mode="json")
    document["dataset"]["version"] = VERSION
    return {
        "name": "hello-world",
        "status": Status.QUEUED,
        "tags": [],
        "priority": 0,
        "preset": "hello-world",
        "parent_id": None,
        "idempotency_key": None,
        "spec": document,
        "queue": "default",
        "gpus": 0,
        "dataset": "mnist",
        "dataset_version": VERSION,
        "model": spec.model.kind,
        "optimizer": spec.optimizer.kind,
        "schedule": spec.schedule.kind,
        "learning_rate": spec.learning_rate,
        "batch_size": spec.batch_size,
        "epochs_total": spec.epochs,
        "submitted_at": SUBMITTED,
        "queued_at": SUBMITTED,
        "max_attempts": 5,
        "curve": [],
        "best_eval_accuracy": None,
        "duration_seconds": None,
        "epochs_done": 0,
        "attempt": 0,
        **changes,
    }


def add_jobs(database: Database, rows: list[dict[str, Any]]) -> list[int]:
    """Insert jobs, and return their numbers."""
    with database.write() as session:
        found = session.scalars(
            sa.insert(Job).returning(Job.id, sort_by_parameter_order=True),
            [job_values(**row) for row in rows],
        )
        return list(found)


def add_job(database: Database, **changes: Any) -> int:
    """Insert a job, and return its number."""
    return add_jobs(database, [changes])[0]


def add_epoch(database: Database, job_id: int, epoch: int, *, attempt: int = 1) -> None:
    """Record a finished epoch, as a worker would."""
    with database.write() as session:
        row = Epoch(
            job_id=job_id,
            epoch=epoch,
            attempt=attempt,
            train_accuracy=0.9,
            train_loss=0.3,
            eval_accuracy=0.8,
            eval_loss=0.4,
            learning_rate=0.001,
            seconds=1.5,
            images_per_second=40_000.0,
            recorded_at=SUBMITTED + timedelta(seconds=epoch),
        )
        session.merge(row)
        session.execute(sa.update(Job).where(Job.id == job_id).values(epochs_done=epoch))

"""How fast the list of jobs is, filtered and sorted, with many jobs."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import sqlalchemy as sa
from flask.testing import FlaskClient

from shared.database import Database
from shared.models import Job
from shared.schema import upgrade
from shared.settings import Settings
from shared.spec.presets import PRESETS
from tests.bench.figures import Figure, percentile
from tests.services import PostgresServer
from web.app import create_app

QUERIES = (
    "",
    "sort=-best_eval_accuracy",
    "sort=duration_seconds",
    "status=failed&sort=-best_eval_accuracy",
    "status=succeeded&model=lenet5&sort=-best_eval_accuracy",
    "status=queued&sort=-learning_rate",
    "model=mlp&dataset=mnist&sort=name",
    "q=rare&sort=-best_eval_accuracy",
    "tag=rare&sort=-best_eval_accuracy",
    "param.optimizer.kind=adam&sort=-test_accuracy",
)
_REPEATS = 30
_CHUNK_ROWS = 10_000
_PAGE_ROWS = 50
_MANY_ROWS = 10_000
_START = datetime(2026, 1, 1, tzinfo=UTC)


def figures(folder: Path, rows: int) -> Iterator[Figure]:
    """Measure on SQLite and PostgreSQL, in this process: the server's own work, no network.

    Args:
        folder: for the SQLite database.
        rows: jobs in the list.
    """
    folder.mkdir(parents=True, exist_ok=True)
    yield _figure("SQLite", f"sqlite:///{folder / 'lists.db'}", folder, rows)
    server = PostgresServer()
    try:
        server.start()
        yield _figure("PostgreSQL", server.create("lists"), folder, rows)
    finally:
        server.close()


def _figure(kind: str, url: str, folder: Path, rows: int) -> Figure:
    upgrade(url)
    database = Database(url)
    _fill(database, rows)
    settings = Settings(data_dir=folder, database_url=url, redis_url="redis://127.0.0.1:1/0")
    client = create_app(settings, database=database).test_client()
    times = {query: [_milliseconds(client, query) for _ in range(_REPEATS)] for query in QUERIES}
    database.dispose()
    everything = [value for values in times.values() for value in values]
    slowest = max(times, key=lambda query: median(times[query]))
    return Figure(
        f"jobs list, filter and sort, page of {_PAGE_ROWS}, {rows:,} jobs, {kind}, p95",
        percentile(everything, 95),
        "ms",
        15.0 if rows <= _MANY_ROWS else 30.0,
        f"p50 {median(everything):.1f} ms; slowest: {slowest!r}, median "
        f"{median(times[slowest]):.1f} ms",
    )


def _milliseconds(client: FlaskClient, query: str) -> float:
    began = time.perf_counter()
    answer = client.get(f"/api/v1/jobs?limit={_PAGE_ROWS}&{query}")
    taken = (time.perf_counter() - began) * 1000
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return taken


def _fill(database: Database, rows: int) -> None:
    draw = random.Random(0)
    for first in range(0, rows, _CHUNK_ROWS):
        chunk = range(first, min(first + _CHUNK_ROWS, rows))
        with database.engine.begin() as connection:
            connection.execute(sa.insert(Job), [_row(number, draw) for number in chunk])
    # What PostgreSQL does by itself soon after such a load.
    after = "ANALYZE jobs" if database.engine.dialect.name == "sqlite" else "VACUUM (ANALYZE) jobs"
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(sa.text(after))


def _row(number: int, draw: random.Random) -> dict[str, Any]:
    preset = draw.choice(sorted(PRESETS))
    spec = PRESETS[preset].spec
    status = draw.choices(["succeeded", "failed", "cancelled", "queued"], [90, 6, 3, 1])[0]
    trained = status == "succeeded"
    accuracy = draw.betavariate(20, 2)
    rare = draw.random() < 0.001
    at = _START + timedelta(seconds=number)
    return {
        "name": f"{'rare' if rare else preset} {number}",
        "status": status,
        "priority": 0,
        "tags": ["rare"] if rare else [f"tag{draw.randrange(20)}"],
        "preset": preset,
        "spec": spec.model_dump(mode="json"),
        "queue": "default",
        "gpus": 0,
        "dataset": "mnist",
        "dataset_version": "0" * 64,
        "model": spec.model.kind,
        "optimizer": spec.optimizer.kind,
        "schedule": spec.schedule.kind,
        "learning_rate": 10 ** draw.uniform(-5, 0),
        "batch_size": 2 ** draw.randrange(4, 11),
        "epochs_total": spec.epochs,
        "submitted_at": at,
        "queued_at": at,
        "claimed_at": at if trained else None,
        "first_step_at": at if trained else None,
        "finished_at": None if status == "queued" else at + timedelta(minutes=5),
        "attempt": 1,
        "crashes": 0,
        "max_attempts": 5,
        "epochs_done": 10 if trained else 0,
        "best_eval_accuracy": accuracy if trained else None,
        "best_epoch": 10 if trained else None,
        "final_train_accuracy": accuracy if trained else None,
        "final_eval_accuracy": accuracy if trained else None,
        "final_eval_loss": 1 - accuracy if trained else None,
        "test_accuracy": accuracy if trained else None,
        "duration_seconds": draw.expovariate(1 / 300) if trained else None,
        "lost_seconds": 0.0,
        "curve": [[epoch, accuracy, accuracy] for epoch in range(1, 11)] if trained else [],
    }

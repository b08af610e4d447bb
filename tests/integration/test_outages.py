"""SQL or Redis away while jobs run: training goes on, and nothing is missing afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from shared.database import Database
from shared.models import Attempt, Status
from shared.settings import Settings
from shared.submit import QUEUE_AWAY, submit_job
from tests.history import check_history
from tests.services import PostgresServer, RedisServer
from tests.waiting import wait_until
from tests.worker_yard import Yard, make_yard

pytestmark = pytest.mark.usefixtures("no_process_left")


@pytest.fixture
def postgres_yard(postgresql_url: str, redis_url: str, tmp_path: Path) -> Iterator[Yard]:
    settings = Settings(data_dir=tmp_path / "var", database_url=postgresql_url, redis_url=redis_url)
    database = Database(postgresql_url)
    yield make_yard(settings, database, tmp_path)
    database.dispose()


def test_training_goes_on_while_sql_is_away_and_no_row_is_missing(
    postgres_yard: Yard, postgres_server: PostgresServer
) -> None:
    yard = postgres_yard
    job_id = yard.submit(epochs=4)
    lease = {"TRAINYARD_LEASE_SECONDS": "10"}
    with yard.scheduler(**lease), yard.worker(**lease):
        yard.open_gate(1)
        yard.wait_training(job_id, epochs=1)
        postgres_server.stop()
        try:
            yard.open_gate(2, 3, 4)
            wait_until(
                lambda: "SQL is away" in (yard.folder / "w1.log").read_text(),
                what="the supervisor notices that SQL is away",
            )
        finally:
            postgres_server.start()
            yard.database.dispose()
        yard.wait(job_id, Status.SUCCEEDED, timeout_seconds=60)

    assert [epoch for epoch, _ in yard.epochs(job_id)] == [1, 2, 3, 4]
    with yard.database.read() as session:
        attempts = session.scalar(sa.select(sa.func.count()).select_from(Attempt))
    assert attempts == 1
    check_history(yard.database)


def test_a_job_submitted_without_redis_is_accepted_and_starts_later(
    postgres_yard: Yard, redis_server: RedisServer
) -> None:
    yard = postgres_yard
    yard.open_gate(1)
    redis_server.stop()
    try:
        body = {"spec": {"epochs": 1}}
        submission = submit_job(yard.database, yard.bell, yard.settings, body)
        assert submission.warning == QUEUE_AWAY
        assert submission.created
    finally:
        redis_server.start()
    with yard.scheduler(), yard.worker():
        yard.wait(submission.job.id, Status.SUCCEEDED)
    check_history(yard.database)


def test_a_worker_that_saw_redis_restart_takes_the_next_job(
    postgres_yard: Yard, redis_server: RedisServer
) -> None:
    yard = postgres_yard
    running = yard.submit(epochs=2)
    with yard.scheduler(), yard.worker(TRAINYARD_LEASE_SECONDS="60"):
        yard.wait_training(running)
        redis_server.stop()
        yard.open_gate(1)
        yard.wait_training(running, epochs=1)
        redis_server.start()
        yard.open_gate(2)
        yard.wait(running, Status.SUCCEEDED)
        later = yard.submit(epochs=1)
        yard.wait(later, Status.SUCCEEDED, timeout_seconds=60)
    check_history(yard.database)

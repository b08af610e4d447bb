"""The figures that we promise: what a lost worker costs by default, and a long outage of SQL."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from shared.database import Database
from shared.models import Outcome, Status
from shared.settings import Settings
from tests.history import check_history
from tests.services import PostgresServer
from tests.waiting import wait_until
from tests.worker_yard import Yard, make_yard

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_NOTICED_SECONDS = 25.0
_ELSEWHERE_SECONDS = 40.0
_OUTAGE_SECONDS = 60.0


def test_a_lost_worker_is_noticed_and_its_job_runs_elsewhere_in_time(
    yard: Yard, settings: Settings
) -> None:
    defaults = {
        "TRAINYARD_LEASE_SECONDS": str(settings.lease_seconds),
        "TRAINYARD_HEARTBEAT_SECONDS": str(settings.heartbeat_seconds),
    }
    job_id = yard.submit()
    with yard.scheduler(**defaults), yard.worker("w1", **defaults) as worker:
        yard.wait_training(job_id)
        with yard.worker("w2", **defaults):
            yard.wait_log("w2", "is ready")
            # The scheduler judges nobody before it has seen the database for a whole lease.
            wait_until(
                lambda: yard.seconds_of(job_id) > settings.lease_seconds,
                2 * settings.lease_seconds,
                what="the scheduler may judge",
            )
            worker.kill()
            killed_at = time.monotonic()
            wait_until(
                lambda: yard.attempts(job_id)[0].outcome is Outcome.LOST,
                _NOTICED_SECONDS,
                what="the loss is noticed",
            )
            wait_until(
                lambda: (
                    yard.attempts(job_id)[-1].number == 2
                    and yard.attempts(job_id)[-1].first_step_at is not None
                ),
                _ELSEWHERE_SECONDS - (time.monotonic() - killed_at),
                what="the job runs elsewhere",
            )
            yard.open_gate(1, 2, 3)
            yard.wait(job_id, Status.SUCCEEDED)
    check_history(yard.database, yard.store)


def test_nothing_is_missing_after_postgresql_was_stopped_for_a_minute(
    postgresql_url: str,
    postgres_server: PostgresServer,
    redis_url: str,
    tmp_path: Path,
    no_process_left: None,
) -> None:
    settings = Settings(data_dir=tmp_path / "var", database_url=postgresql_url, redis_url=redis_url)
    yard = make_yard(settings, Database(postgresql_url), tmp_path)
    job_id = yard.submit(epochs=5)
    with yard.scheduler(), yard.worker():
        yard.open_gate(1)
        yard.wait_training(job_id, epochs=1)
        postgres_server.stop()
        stopped_at = time.monotonic()
        try:
            yard.open_gate(2, 3, 4, 5)
            wait_until(
                lambda: time.monotonic() - stopped_at > _OUTAGE_SECONDS,
                _OUTAGE_SECONDS + 5,
                what="the outage has lasted a minute",
            )
        finally:
            postgres_server.start()
            yard.database.dispose()
        yard.wait(job_id, Status.SUCCEEDED, 60)
        yard.run_another()
    assert yard.epochs(job_id) == [(number, 1) for number in range(1, 6)]
    check_history(yard.database, yard.store)
    yard.database.dispose()

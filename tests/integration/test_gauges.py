"""Gauges in SQL: bounded, guarded by the lease, and written by real workers; on both databases."""

from __future__ import annotations

import itertools
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from shared import catalogue, jobs, recording
from shared.database import Database
from shared.gauges import MAX_POINTS, Point
from shared.jobs import Lease, Slot
from shared.live import Subscriber
from shared.models import Gauge, Status
from shared.settings import Settings
from shared.spec import parse_submission
from shared.spec.job import DatasetRef
from tests.history import check_history
from tests.worker_yard import make_yard

_BATCH = 5


@pytest.fixture
def lease(database: Database) -> Lease:
    with database.write() as session:
        catalogue.register_bundled(session)
        version = catalogue.resolve(session, DatasetRef())
        jobs.submit(session, parse_submission({}), dataset_version=version, max_attempts=5)
    return claim(database)


def claim(database: Database) -> Lease:
    with database.write() as session:
        lease = jobs.claim(session, Slot("w1", 0, ("default",)), lease_seconds=60)
    assert lease is not None
    return lease


def rows(database: Database) -> list[Gauge]:
    with database.read() as session:
        return list(session.scalars(sa.select(Gauge).order_by(Gauge.attempt, Gauge.second)))


def run(database: Database, lease: Lease, seconds: int, span_seconds: float) -> float:
    """Record as a supervisor does, for so many seconds; return the span in the end."""
    second, batch = 0.0, list[Point]()
    while second < seconds:
        second += span_seconds
        batch.append(Point(lease.attempt, round(second), span_seconds, 100.0, round(second)))
        if len(batch) == _BATCH or second >= seconds:
            with database.write() as session:
                span_seconds = max(span_seconds, recording.gauges(session, lease, batch))
            batch = []
    return span_seconds


def test_points_are_kept_as_they_are_until_there_are_too_many(
    database: Database, lease: Lease
) -> None:
    assert run(database, lease, 60, 2.0) == 2.0

    found = rows(database)
    assert [row.second for row in found] == list(range(2, 61, 2))
    assert {(row.attempt, row.cpu_percent, row.gpu_percent) for row in found} == {(1, 100.0, None)}


def test_a_job_of_a_day_keeps_some_hundreds_of_even_points(
    database: Database, lease: Lease
) -> None:
    seconds = 24 * 3600
    assert run(database, lease, seconds, 2.0) == 256.0

    found = rows(database)
    assert MAX_POINTS / 2 <= len(found) <= MAX_POINTS
    assert sum(row.span_seconds == 256.0 for row in found) > 0.9 * len(found)
    assert sum(row.span_seconds for row in found) == pytest.approx(seconds, abs=256)
    assert found[-1].memory_bytes == max(row.second for row in found)


def test_the_next_attempt_goes_on_with_the_span_that_the_job_has_reached(
    database: Database, lease: Lease
) -> None:
    run(database, lease, 3 * MAX_POINTS, 2.0)
    with database.write() as session:
        jobs.give_back(session, lease, detail="")
    second = claim(database)

    with database.write() as session:
        span_seconds = recording.gauges(session, second, [Point(2, 2, 2.0, 50.0)])
    assert span_seconds == 4.0
    assert rows(database)[-1].attempt == 2


def test_a_spool_that_repeats_itself_stores_nothing_twice(database: Database, lease: Lease) -> None:
    for _ in range(2):
        run(database, lease, 20, 2.0)
    assert len(rows(database)) == 10


def test_a_worker_measures_its_trainer(
    service_settings: Settings, database: Database, tmp_path: Path
) -> None:
    yard = make_yard(service_settings, database, tmp_path)
    job_id = yard.submit(epochs=1)
    with closing(Subscriber(service_settings.resolved_redis_url)) as live, yard.worker():
        live.subscribe()
        shown = (message for message in live.messages(60) if message.type == "gauge")
        assert len(list(itertools.islice(shown, 3))) == 3
        yard.open_gate(1)
        yard.wait(job_id, Status.SUCCEEDED)

    found = rows(database)
    assert len(found) >= 3
    for before, row in itertools.pairwise(found):
        assert abs(row.span_seconds - (row.second - before.second)) <= 1
    for row in found:
        assert row.span_seconds > 1
        assert row.cpu_percent is not None
        assert 0 <= row.cpu_percent < 150
        assert row.memory_bytes is not None
        assert 10 * 2**20 < row.memory_bytes < 2**30
        assert row.gpu_percent is None
    assert [row.second for row in found] == sorted({row.second for row in found})
    check_history(database)

"""Faults 8 and 20: Redis restarted without its data, and a Redis that answers nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.database import Database
from shared.models import Status
from shared.settings import Settings
from shared.submit import submit_job
from tests.faults.proxy import BlackHoleProxy
from tests.history import check_history
from tests.services import RedisServer
from tests.waiting import wait_until
from tests.worker_yard import Yard, make_yard

_START_SECONDS = 20.0  # bound on the start of a waiting job once Redis answers


def test_jobs_start_after_redis_came_back_empty_to_an_idle_worker(
    yard: Yard, redis_server: RedisServer
) -> None:
    with yard.scheduler(), yard.worker():
        yard.run_another()
        redis_server.stop()
        ids = [submit_deaf(yard) for _ in range(2)]
        redis_server.start()
        yard.open_gate(1)
        for job_id in ids:
            yard.wait(job_id, Status.SUCCEEDED, _START_SECONDS)
        yard.run_another(_START_SECONDS)
    check_history(yard.database, yard.store)


@pytest.mark.slow
def test_jobs_that_waited_start_after_redis_came_back_empty_to_a_busy_worker(
    yard: Yard, redis_server: RedisServer
) -> None:
    running, waiting = yard.submit(epochs=1), yard.submit(epochs=1)
    with yard.scheduler(), yard.worker():
        yard.wait_training(running)
        redis_server.stop()
        redis_server.start()
        assert yard.bell.waiting("default") == 0
        yard.open_gate(1)
        yard.wait(running, Status.SUCCEEDED)
        yard.wait(waiting, Status.SUCCEEDED, _START_SECONDS)
        yard.run_another(_START_SECONDS)
    check_history(yard.database, yard.store)


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[BlackHoleProxy]:
    with BlackHoleProxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def behind_proxy(
    sqlite_url: str, redis_url: str, tmp_path: Path, proxy: BlackHoleProxy, no_process_left: None
) -> Yard:
    """Give a yard, on SQLite alone, whose way to an empty Redis leads through the proxy."""
    settings = Settings(
        data_dir=tmp_path / "var",
        database_url=sqlite_url,
        redis_url=f"redis://127.0.0.1:{proxy.port}/0",
    )
    return make_yard(settings, Database(sqlite_url), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("seconds", [15, 120])
def test_a_redis_that_drops_every_byte_stops_no_training_and_jobs_start_afterwards(
    behind_proxy: Yard, proxy: BlackHoleProxy, seconds: int
) -> None:
    yard = behind_proxy
    running = yard.submit(epochs=2)
    with yard.scheduler(), yard.worker(TRAINYARD_SLOTS="2"):
        yard.wait_training(running)
        proxy.open_hole()
        opened = time.monotonic()
        yard.open_gate(1)
        yard.wait_training(running, epochs=1)
        submitted = time.monotonic()
        waiting = submit_deaf(yard)
        assert time.monotonic() - submitted < 10
        wait_until(
            lambda: time.monotonic() - opened > seconds, seconds + 10, what="the hole has lasted"
        )
        proxy.close_hole()
        yard.wait(waiting, Status.SUCCEEDED, 60)
        yard.open_gate(2)
        yard.wait(running, Status.SUCCEEDED)
        yard.run_another(_START_SECONDS)
    assert [yard.job(job_id).attempt for job_id in (running, waiting)] == [1, 1]
    check_history(yard.database, yard.store)


@pytest.mark.slow
def test_a_consumer_whose_connection_is_dead_without_a_word_is_noticed(
    behind_proxy: Yard, proxy: BlackHoleProxy
) -> None:
    yard = behind_proxy
    with yard.scheduler(), yard.worker():
        yard.run_another()
        yard.wait_idle()
        proxy.open_hole(for_new=False)
        yard.run_another(_START_SECONDS)
        yard.run_another(_START_SECONDS)
    check_history(yard.database, yard.store)


@pytest.mark.slow
def test_a_consumer_that_asks_redis_for_nothing_is_replaced_and_started_anew(yard: Yard) -> None:
    switch = yard.folder / "deaf"
    with yard.scheduler(), yard.worker(fault=f"deaf_consumer:{switch}"):
        yard.run_another()
        yard.wait_idle()
        switch.touch()
        wait_until(lambda: not switch.exists(), what="the consumer is deaf")
        yard.run_another(_START_SECONDS)
        yard.wait_idle()
        yard.run_another(_START_SECONDS)
    assert yard.log("w1").read_text().count("Celery has taken no message for 2 s") == 1
    check_history(yard.database, yard.store)


def submit_deaf(yard: Yard) -> int:
    """Submit a job for a single epoch that no message tells of."""
    submission = submit_job(yard.database, yard.bell, yard.settings, {"spec": {"epochs": 1}})
    assert submission.warning is not None
    return submission.job.id

"""Faults 11, 15 and 25: messages lost, delivered again, or of another version; a wrong clock."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
from celery import Celery

from shared.models import Outcome, Status
from shared.queue import TASK_NAME, connect, list_key, make_celery
from tests.history import check_history
from tests.waiting import wait_until
from tests.worker_yard import Yard


@contextmanager
def frozen(yard: Yard, worker: subprocess.Popen[bytes]) -> Iterator[redis.Redis]:
    """Let an idle worker hear nothing while the block lasts; give a connection to its Redis."""
    yard.wait_log("w1", "is ready")
    yard.wait_idle()
    with connect(yard.settings.resolved_redis_url, timeout_seconds=5) as client:
        yard.freeze(worker)
        try:
            wait_until(
                lambda: client.info("clients")["blocked_clients"] == 0,
                what="Redis keeps no message for the worker",
            )
            yield client
        finally:
            worker.send_signal(signal.SIGCONT)


@pytest.mark.slow
def test_a_message_that_is_deleted_is_sent_again(yard: Yard) -> None:
    with yard.worker() as worker:
        with frozen(yard, worker) as client:
            job_id = yard.submit(epochs=1)
            assert client.delete(list_key("default")) == 1
        yard.open_gate(1)
        with yard.scheduler():
            yard.wait(job_id, Status.SUCCEEDED)
    check_history(yard.database, yard.store)


def test_a_worker_killed_between_message_and_claim_takes_no_job_with_it(yard: Yard) -> None:
    with yard.worker() as worker:
        with frozen(yard, worker) as client:
            job_id = yard.submit(epochs=1)
            with yard.worker("killed", fault="die_before_claim") as killed:
                assert killed.wait(30) == -signal.SIGKILL
            client.delete(list_key("default"))  # what it rang for itself at its start
            # Asked while the other hears nothing: once awake, it may look for work by itself.
            assert yard.job(job_id).attempt == 0
        yard.open_gate(1)
        with yard.scheduler():
            yard.wait(job_id, Status.SUCCEEDED)
    check_history(yard.database, yard.store)


@pytest.mark.slow
def test_a_job_longer_than_the_visibility_timeout_runs_once(yard: Yard) -> None:
    job_id = yard.submit(epochs=2)
    seconds = 2
    with yard.scheduler(), yard.worker(fault=f"visibility_timeout:{seconds}"):
        yard.wait_training(job_id)
        began = yard.seconds_of(job_id)
        wait_until(
            lambda: yard.seconds_of(job_id) - began > 3 * seconds,
            what="the job has run for longer than three visibility time-outs",
        )
        yard.open_gate(1, 2)
        yard.wait(job_id, Status.SUCCEEDED)
        yard.run_another()
    assert yard.job(job_id).attempt == 1
    check_history(yard.database, yard.store)


def _unknown_task(app: Celery) -> None:
    app.send_task("trainyard.run_job", args=[1], queue="default")


def _other_arguments(app: Celery) -> None:
    app.send_task(TASK_NAME, kwargs={"job": 1, "priority": "high"}, queue="default")


def _pickle(app: Celery) -> None:
    app.send_task(TASK_NAME, args=["default", 1], queue="default", serializer="pickle")


def _no_celery_message(app: Celery) -> None:
    with connect(app.conf.broker_url, timeout_seconds=5) as client:
        client.lpush(list_key("default"), json.dumps({"job": 1}))


@pytest.mark.slow
@pytest.mark.parametrize("send", [_unknown_task, _other_arguments, _pickle, _no_celery_message])
def test_a_message_of_another_version_harms_nothing(yard: Yard, send: object) -> None:
    assert callable(send)
    app = make_celery(yard.settings)
    send(app)
    app.close()
    with yard.scheduler(), yard.worker():
        yard.wait_log("w1", "is ready")
        yard.run_another()
        wait_until(lambda: yard.bell.waiting("default") == 0, what="every message is consumed")
        yard.run_another()
    check_history(yard.database, yard.store)


@pytest.mark.slow
def test_a_worker_that_meets_rubbish_hands_its_jobs_back_and_says_that_it_failed(
    yard: Yard,
) -> None:
    job_id = yard.submit(epochs=2)
    with yard.scheduler():
        with yard.worker(TRAINYARD_SLOTS="2") as worker:
            yard.wait_training(job_id)
            with connect(yard.settings.resolved_redis_url, timeout_seconds=5) as client:
                client.lpush(list_key("default"), "not JSON at all")
            assert worker.wait(30) == 1
        assert [a.outcome for a in yard.attempts(job_id)] == [Outcome.PREEMPTED]
        yard.open_gate(1, 2)
        with yard.worker("w2"):
            yard.wait(job_id, Status.SUCCEEDED)
    check_history(yard.database, yard.store)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_a_worker_whose_clock_is_wrong_keeps_its_lease(yard: Yard, seconds: int) -> None:
    job_id = yard.submit(epochs=2)
    lease_seconds = float(yard.env["TRAINYARD_LEASE_SECONDS"])
    with yard.scheduler(), yard.worker(fault=f"clock_off:{seconds}"):
        yard.wait_training(job_id)
        began = yard.seconds_of(job_id)
        wait_until(
            lambda: yard.seconds_of(job_id) - began > 2 * lease_seconds,
            what="the job has run for longer than two leases",
        )
        yard.open_gate(1, 2)
        job = yard.wait(job_id, Status.SUCCEEDED)
    assert [attempt.outcome for attempt in yard.attempts(job_id)] == [Outcome.SUCCEEDED]
    assert job.duration_seconds is not None
    assert 0 < job.duration_seconds < 60
    check_history(yard.database, yard.store)

"""Fault 22: SIGTERM with little time, twice, in the middle of a claim; SIGKILL afterwards."""

from __future__ import annotations

import os
import signal
import time

import pytest

from shared.models import Outcome, Status
from tests.fake_trainer import Behaviour
from tests.history import check_history
from tests.waiting import wait_until
from tests.worker_yard import Yard, trainer_of


@pytest.mark.slow
@pytest.mark.parametrize("grace_seconds", [2, 15])
def test_a_worker_killed_before_its_grace_is_over_loses_its_lease_and_no_job(
    yard: Yard, grace_seconds: int
) -> None:
    job_id = yard.submit(Behaviour.DEAF)
    with yard.scheduler():
        with yard.worker(TRAINYARD_GRACE_SECONDS="600") as worker:
            yard.open_gate(1)
            yard.wait_training(job_id, epochs=1)
            wait_until(lambda: yard.artifacts(job_id), what="the checkpoint is stored")
            trainer = trainer_of(worker)
            worker.send_signal(signal.SIGTERM)
            told = time.monotonic()
            wait_until(
                lambda: time.monotonic() - told > grace_seconds,
                grace_seconds + 5,
                what="the time of whoever stops the worker is over",
            )
            assert worker.poll() is None
            assert yard.job(job_id).status is Status.RUNNING
            worker.kill()
            wait_until(lambda: not trainer.is_running(), what="its trainer has ended")
        yard.open_gate(2, 3)
        with yard.worker("w2"):
            yard.wait(job_id, Status.SUCCEEDED)
            yard.run_another()
    assert [a.outcome for a in yard.attempts(job_id)] == [Outcome.LOST, Outcome.SUCCEEDED]
    assert yard.epochs(job_id) == [(1, 1), (2, 2), (3, 2)]
    check_history(yard.database, yard.store)


@pytest.mark.parametrize(
    "second", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_second_signal_does_not_keep_the_job_from_being_saved(
    yard: Yard, second: signal.Signals
) -> None:
    job_id = yard.submit()
    with yard.worker() as worker:
        yard.open_gate(1)
        yard.wait_training(job_id, epochs=1)
        worker.send_signal(signal.SIGTERM)
        worker.send_signal(second)
        assert worker.wait(30) == 0
    assert [a.outcome for a in yard.attempts(job_id)] == [Outcome.PREEMPTED]
    assert yard.job(job_id).crashes == 0
    check_history(yard.database, yard.store)
    yard.open_gate(2, 3)
    with yard.worker("w2"):
        yard.wait(job_id, Status.SUCCEEDED)
    assert yard.epochs(job_id) == [(1, 1), (2, 2), (3, 2)]
    check_history(yard.database, yard.store)


def test_a_worker_told_to_stop_while_it_claims_gives_the_job_back(yard: Yard) -> None:
    job_id = yard.submit(epochs=1)
    with yard.worker(fault="stop_in_claim") as worker:
        assert worker.wait(30) == 0
    assert yard.job(job_id).status is Status.QUEUED
    assert [a.outcome for a in yard.attempts(job_id)] == [Outcome.PREEMPTED]
    yard.open_gate(1)
    with yard.worker("w2"):
        yard.wait(job_id, Status.SUCCEEDED)
    check_history(yard.database, yard.store)


def test_a_worker_told_to_stop_while_it_prepares_a_job_gives_it_back_at_once(yard: Yard) -> None:
    switch = yard.folder / "slow"
    switch.touch()
    job_id = yard.submit(epochs=1)
    with yard.worker(fault=f"slow_preparation:{switch}", TRAINYARD_GRACE_SECONDS="600") as worker:
        yard.wait_log("w1", "The preparing takes long.")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    (attempt,) = yard.attempts(job_id)
    assert attempt.outcome is Outcome.PREEMPTED
    assert attempt.detail == "The worker stopped; it had not begun yet."
    check_history(yard.database, yard.store)


def test_a_job_is_paused_while_it_is_prepared(yard: Yard) -> None:
    switch = yard.folder / "slow"
    switch.touch()
    job_id = yard.submit(epochs=1)
    with yard.worker(fault=f"slow_preparation:{switch}"):
        yard.wait_log("w1", "The preparing takes long.")
        yard.pause(job_id)
        yard.wait(job_id, Status.PAUSED)
        switch.unlink()
        yard.run_another()
    assert [a.outcome for a in yard.attempts(job_id)] == [Outcome.PAUSED]
    check_history(yard.database, yard.store)


def test_a_pause_taken_back_too_late_is_told_as_what_it_was(yard: Yard) -> None:
    job_id = yard.submit(Behaviour.DEAF, epochs=1)
    with yard.worker(TRAINYARD_GRACE_SECONDS="6"):
        yard.wait_training(job_id)
        yard.pause(job_id)
        wait_until((yard.gate / "told").exists, what="the trainer is told to stop")
        yard.resume(job_id)
        yard.wait_training(job_id, attempt=2)
        yard.open_gate(1)
        yard.wait(job_id, Status.SUCCEEDED)
    first = yard.attempts(job_id)[0]
    assert first.outcome is Outcome.PAUSED
    assert first.detail == "Stopped on request; there was no time for a checkpoint."
    assert first.lost_seconds > 0
    assert yard.job(job_id).crashes == 0
    check_history(yard.database, yard.store)


@pytest.mark.slow
def test_a_worker_that_is_stopped_before_it_is_ready_claims_nothing(yard: Yard) -> None:
    job_id = yard.submit(epochs=1)
    with yard.worker() as worker:
        wait_until(
            (yard.settings.data_dir / "workers" / "w1.lock").exists,
            what="the worker begins",
        )
        os.kill(worker.pid, signal.SIGTERM)
        worker.wait(30)
    job = yard.job(job_id)
    assert job.status is Status.QUEUED
    assert job.crashes == 0
    check_history(yard.database, yard.store)
    yard.open_gate(1)
    with yard.worker("w2"):
        yard.wait(job_id, Status.SUCCEEDED)

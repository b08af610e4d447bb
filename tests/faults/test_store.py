"""Faults 7 and 14 again: a store that is away when a job begins, or takes too long when it ends."""

from __future__ import annotations

import signal

from shared.models import Outcome, Status
from tests.fake_trainer import Behaviour
from tests.history import check_history
from tests.waiting import wait_until
from tests.worker_yard import Yard, trainer_of


def test_a_job_waits_for_its_checkpoints_and_never_begins_anew_without_them(yard: Yard) -> None:
    switch = yard.folder / "silent"
    job_id = yard.submit()
    with yard.worker(fault=f"silent_store:{switch}") as worker:
        yard.open_gate(1)
        yard.wait_training(job_id, epochs=1)
        wait_until(lambda: checkpoint_stored(yard, job_id), what="the checkpoint is stored")
        switch.touch()
        trainer_of(worker).kill()
        wait_until(lambda: len(yard.attempts(job_id)) > 2, what="it was handed back and taken")
        switch.unlink()
        yard.open_gate(2, 3)
        yard.wait(job_id, Status.SUCCEEDED, 60)
    first, second, *_, last = yard.attempts(job_id)
    assert (first.outcome, second.outcome) == (Outcome.FAILED, Outcome.PREEMPTED)
    assert second.detail == (
        "It could not be prepared: The artifact store cannot be used: it is silent."
    )
    assert last.started_epoch == 2
    assert yard.job(job_id).crashes == 1
    assert [epoch for epoch, _ in yard.epochs(job_id)] == [1, 2, 3]
    check_history(yard.database, yard.store)


def test_a_store_that_permits_no_reading_is_a_crash_and_no_hand_back_without_end(
    yard: Yard,
) -> None:
    switch = yard.folder / "refusing"
    job_id = yard.submit()
    with yard.worker(fault=f"refusing_store:{switch}") as worker:
        yard.open_gate(1)
        yard.wait_training(job_id, epochs=1)
        wait_until(lambda: checkpoint_stored(yard, job_id), what="the checkpoint is stored")
        switch.touch()
        trainer_of(worker).kill()
        wait_until(lambda: len(yard.attempts(job_id)) > 2, what="it was tried and taken again")
        switch.unlink()
        yard.open_gate(2, 3)
        yard.wait(job_id, Status.SUCCEEDED, 60)
    second = yard.attempts(job_id)[1]
    assert second.outcome is Outcome.FAILED
    assert "Access Denied" in (second.detail or "")
    assert yard.job(job_id).crashes == len(yard.attempts(job_id)) - 1
    check_history(yard.database, yard.store)


def test_a_job_whose_results_could_not_be_stored_in_time_is_handed_back(yard: Yard) -> None:
    switch = yard.folder / "slow"
    switch.touch()
    job_id = yard.submit(epochs=1)
    yard.open_gate(1)
    with yard.worker(fault=f"slow_store:{switch}", TRAINYARD_GRACE_SECONDS="2") as worker:
        yard.wait_log("w1", "attempt 1: succeeded")
        worker.send_signal(signal.SIGTERM)
        wait_until(lambda: yard.job(job_id).status is Status.QUEUED, what="the job is handed back")
        switch.unlink()
        worker.wait(30)
    with yard.worker("w2"):
        yard.wait(job_id, Status.SUCCEEDED)
    first = yard.attempts(job_id)[0]
    assert first.outcome is Outcome.PREEMPTED
    assert first.detail == "The worker stopped before the results were stored."
    assert "history.csv" in yard.artifacts(job_id)
    check_history(yard.database, yard.store)


def test_the_grace_time_is_one_for_trainer_store_and_records(yard: Yard) -> None:
    switch = yard.folder / "slow"
    switch.touch()
    job_id = yard.submit(Behaviour.DEAF)
    grace_seconds = 10
    with yard.worker(
        fault=f"slow_store:{switch}", TRAINYARD_GRACE_SECONDS=str(grace_seconds)
    ) as worker:
        yard.open_gate(1)
        yard.wait_training(job_id, epochs=1)
        worker.send_signal(signal.SIGTERM)
        wait_until(
            lambda: yard.job(job_id).status is Status.QUEUED,
            1.8 * grace_seconds,  # twice that, if store and trainer had one each
            what="the job is handed back",
        )
        switch.unlink()
    check_history(yard.database, yard.store)


def checkpoint_stored(yard: Yard, job_id: int) -> bool:
    return any(name.endswith(".npz") for name in yard.artifacts(job_id))

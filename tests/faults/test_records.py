"""Fault 12 again: SQL is away when a job is prepared, or refuses a record when it ends."""

from __future__ import annotations

from shared.models import Outcome, Status
from tests.history import check_history
from tests.worker_yard import Yard


def test_a_job_has_not_succeeded_when_a_record_is_refused_after_its_trainer_ended(
    yard: Yard,
) -> None:
    switch = yard.folder / "refusing"
    switch.touch()
    job_id = yard.submit(epochs=1)
    yard.open_gate(1)
    with yard.worker(fault=f"late_refusal:{switch}"):
        yard.wait_log("w1", "attempt 1: succeeded")
        yard.wait_log("w1", "SQL hesitates.")
        switch.unlink()
        yard.wait(job_id, Status.SUCCEEDED)
    first, second = yard.attempts(job_id)
    assert (first.outcome, second.outcome) == (Outcome.FAILED, Outcome.SUCCEEDED)
    assert first.detail == "A record could not be written: refused"
    assert "history.csv" in yard.artifacts(job_id)
    # Whether the checkpoint was recorded before the file that was refused is a matter of chance.
    assert yard.epochs(job_id) in ([(1, 1)], [(1, 2)])
    check_history(yard.database, yard.store)


def test_a_job_whose_verdict_is_refused_is_tried_again_at_once(yard: Yard) -> None:
    switch = yard.folder / "refusing"
    switch.touch()
    job_id = yard.submit(epochs=1)
    yard.open_gate(1)
    with yard.worker(fault=f"refused_success:{switch}"):
        yard.wait(job_id, Status.SUCCEEDED)
    outcomes = [attempt.outcome for attempt in yard.attempts(job_id)]
    assert outcomes == [Outcome.FAILED, Outcome.SUCCEEDED]
    check_history(yard.database, yard.store)


def test_a_job_is_handed_back_uncounted_when_sql_is_away_while_it_is_prepared(yard: Yard) -> None:
    switch = yard.folder / "away"
    switch.touch()
    job_id = yard.submit(epochs=1)
    yard.open_gate(1)
    with yard.worker(fault=f"blind_preparation:{switch}"):
        yard.wait_log("w1", "attempt 1: given back")
        switch.unlink()
        job = yard.wait(job_id, Status.SUCCEEDED)
    first = yard.attempts(job_id)[0]
    assert first.outcome is Outcome.PREEMPTED
    assert first.detail == "It could not be prepared: SQL was away."
    assert job.crashes == 0
    check_history(yard.database, yard.store)

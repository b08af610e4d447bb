"""Fault 12 again: SQL is there, and refuses a record for good when the job is nearly over."""

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
    assert yard.epochs(job_id) == [(1, 1)]
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

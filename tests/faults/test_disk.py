"""Fault 7: no space left for checkpoints, artifacts, logs, or for anything at all."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from shared.models import Outcome, Status
from tests.fake_trainer import Behaviour
from tests.history import check_history
from tests.waiting import wait_until
from tests.worker_yard import Yard, trainer_of


def test_an_earlier_checkpoint_outlives_a_store_without_space(yard: Yard) -> None:
    switch = yard.folder / "full"
    job_id = yard.submit()
    with yard.worker(fault=f"full_store:{switch}") as worker:
        yard.open_gate(1)
        yard.wait_training(job_id, epochs=1)
        wait_until(lambda: checkpoints(yard, job_id), what="a checkpoint is stored")
        switch.touch()
        yard.open_gate(2)
        yard.wait_training(job_id, epochs=2)
        trainer_of(worker).kill()
        yard.wait_training(job_id, attempt=2, epochs=2)
        switch.unlink()
        yard.open_gate(3)
        yard.wait(job_id, Status.SUCCEEDED)
        yard.run_another()
    assert yard.attempts(job_id)[1].started_epoch == 2
    assert [epoch for epoch, _ in yard.epochs(job_id)] == [1, 2, 3]
    check_history(yard.database, yard.store)


@pytest.mark.slow
def test_a_result_that_finds_no_space_is_named_and_not_accepted(yard: Yard) -> None:
    switch = yard.folder / "full"
    job_id = yard.submit(epochs=1)
    yard.open_gate(1)
    with yard.worker(fault=f"full_store:{switch}"):
        switch.touch()
        yard.wait_log("w1", "attempt 1: succeeded")
        wait_until(lambda: yard.job(job_id).crashes == 1, what="the result is refused")
        switch.unlink()
        yard.wait(job_id, Status.SUCCEEDED)
    first = yard.attempts(job_id)[0]
    assert first.outcome is Outcome.FAILED
    assert first.detail is not None
    assert "history.csv could not be stored: [Errno 28] No space left" in first.detail
    check_history(yard.database, yard.store)


@pytest.mark.slow
def test_a_log_that_finds_no_space_holds_up_no_trainer(yard: Yard) -> None:
    job_id = yard.submit(Behaviour.SHOUTS)
    yard.open_gate(1, 2, 3)
    with yard.worker(fault="full_log"):
        yard.wait(job_id, Status.SUCCEEDED)
    assert "log-1.txt" not in yard.artifacts(job_id)
    assert "No space left on device" in yard.log("w1").read_text()
    check_history(yard.database, yard.store)


def test_a_worker_that_can_prepare_nothing_leaves_the_queue_to_others(yard: Yard) -> None:
    work = yard.settings.data_dir / "work" / "broken"
    work.parent.mkdir(parents=True)
    work.write_text("not a folder")
    ids = [yard.submit(epochs=1) for _ in range(4)]
    yard.open_gate(1)
    with yard.worker("broken"):
        wait_until(
            lambda: sum(yard.job(job_id).crashes for job_id in ids) >= 1,
            what="the broken worker has tried a job",
        )
        with yard.worker():
            for job_id in ids:
                yard.wait(job_id, Status.SUCCEEDED)
        broken = [a for job_id in ids for a in yard.attempts(job_id) if a.worker == "broken"]
    broken.sort(key=lambda attempt: attempt.claimed_at)
    for number, (earlier, later) in enumerate(itertools.pairwise(broken)):
        assert later.claimed_at - earlier.claimed_at >= timedelta(seconds=2 * 2**number)
    assert "Worker broken could not prepare the job" in (broken[0].detail or "")
    check_history(yard.database, yard.store)


def checkpoints(yard: Yard, job_id: int) -> list[str]:
    """Return the names of the job's stored checkpoints."""
    return [name for name in yard.artifacts(job_id) if name.startswith("checkpoints/")]

"""Fault 6: cancel in each state a job can be in, twice, and after its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shared import jobs
from shared.errors import Conflict
from shared.models import Outcome, Status
from tests.fake_trainer import Behaviour
from tests.history import check_history
from tests.waiting import wait_until
from tests.worker_yard import Yard, trainer_of

# Two would do on an idle machine. Whoever waits where a cancel must not takes longer than this: for
# the store's tries 15 s, for the rest without end.
_EFFECTIVE_SECONDS = 10.0


@contextmanager
def promptly() -> Iterator[None]:
    """Check that what the block waits for comes as soon as a cancel should."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < _EFFECTIVE_SECONDS


def cancel_twice(yard: Yard, job_id: int) -> None:
    """Ask, ask again, see it cancelled in time, and see a third wish refused."""
    with promptly():
        with yard.database.write() as session:  # in one: the job may be over before another
            if not jobs.request_cancel(session, job_id).status.terminal:
                jobs.request_cancel(session, job_id)
        yard.wait(job_id, Status.CANCELLED)
    with pytest.raises(Conflict, match="is over"):
        yard.cancel(job_id)


@pytest.mark.slow
def test_a_waiting_job_is_never_claimed(yard: Yard) -> None:
    job_id = yard.submit()
    cancel_twice(yard, job_id)
    with yard.worker():
        yard.run_another()
    assert yard.job(job_id).attempt == 0
    check_history(yard.database, yard.store)


def test_a_job_that_is_still_being_prepared(yard: Yard) -> None:
    switch = yard.folder / "slow"
    switch.touch()
    job_id = yard.submit()
    with yard.worker(fault=f"slow_preparation:{switch}"):
        yard.wait_log("w1", "The preparing takes long.")
        cancel_twice(yard, job_id)
        switch.unlink()
        yard.run_another()
    check_history(yard.database)


def test_a_job_whose_trainer_still_imports_its_libraries(yard: Yard) -> None:
    hold = yard.gate / "hold-import"
    hold.touch()
    job_id = yard.submit()
    with yard.worker():
        yard.wait(job_id, Status.RUNNING)
        cancel_twice(yard, job_id)
        hold.unlink()
        yard.run_another()
    check_history(yard.database, yard.store)


@pytest.mark.parametrize(
    ("behaviour", "phase"),
    [
        pytest.param(Behaviour.HANGS, "train", id="that hears nothing"),
        pytest.param(
            Behaviour.HOLDS_CHECKPOINT,
            "train",
            id="that writes a checkpoint",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            Behaviour.HOLDS_FINISH, "finish", id="that writes its artifacts", marks=pytest.mark.slow
        ),
    ],
)
def test_a_job_with_a_trainer(yard: Yard, behaviour: Behaviour, phase: str) -> None:
    job_id = yard.submit(behaviour, epochs=1)
    yard.open_gate(1)
    with yard.worker() as worker:
        wait_until(
            lambda: (progress := yard.job(job_id).progress) and progress["phase"] == phase,
            what=f"the job is in phase {phase}",
        )
        if behaviour is Behaviour.HOLDS_CHECKPOINT:
            work = yard.settings.data_dir / "work"
            wait_until(lambda: list(work.rglob("*.partial")), what="a checkpoint is half written")
        trainer = trainer_of(worker)
        cancel_twice(yard, job_id)
        assert not trainer.is_running()
        yard.run_another()
    assert [attempt.outcome for attempt in yard.attempts(job_id)] == [Outcome.CANCELLED]
    check_history(yard.database, yard.store)


def test_a_job_whose_result_waits_for_a_store_that_is_away(yard: Yard) -> None:
    switch = yard.folder / "full"
    job_id = yard.submit(epochs=1)
    with yard.worker(fault=f"absent_store:{switch}"):
        yard.wait_training(job_id)
        switch.touch()
        yard.open_gate(1)
        yard.wait_log("w1", "attempt 1: succeeded")
        cancel_twice(yard, job_id)
        switch.unlink()
        yard.run_another()
    check_history(yard.database, yard.store)


@pytest.mark.slow
def test_a_paused_job_and_a_resumed_one(yard: Yard) -> None:
    job_id = yard.submit()
    with yard.worker():
        yard.wait_training(job_id)
        with yard.database.write() as session:
            jobs.request_pause(session, job_id)
        yard.wait(job_id, Status.PAUSED)
        cancel_twice(yard, job_id)
        yard.run_another()
    check_history(yard.database, yard.store)

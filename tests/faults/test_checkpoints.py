"""Fault 14: death at each stage of a checkpoint, and bytes that flip in the store."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from shared.models import Artifact, Outcome, Status
from tests.fake_trainer import Behaviour
from tests.faults.worker import STAGES
from tests.history import check_history
from tests.waiting import wait_until
from tests.worker_yard import Yard, trainer_of


def checkpoints(yard: Yard, job_id: int) -> list[Artifact]:
    """Return the rows of the job's checkpoints, newest first."""
    with yard.database.read() as session:
        return list(
            session.scalars(
                sa.select(Artifact)
                .where(Artifact.job_id == job_id, Artifact.kind == "checkpoint")
                .order_by(Artifact.epoch.desc())
            )
        )


def wait_stored(
    yard: Yard, job_id: int, position: int, *, unless: Callable[[], bool] = lambda: False
) -> None:
    """Wait until the checkpoint at the start of epoch `position` is stored."""

    def stored() -> bool:
        return unless() or position in [row.epoch for row in checkpoints(yard, job_id)]

    wait_until(stored, what=f"the checkpoint at epoch {position} is stored")


@pytest.mark.slow
def test_half_a_checkpoint_is_none(yard: Yard) -> None:
    job_id = yard.submit(Behaviour.DIES_SAVING)
    with yard.worker():
        yard.open_gate(1)
        wait_stored(yard, job_id, 2)
        yard.open_gate(2, 3)
        yard.wait(job_id, Status.SUCCEEDED)
    assert yard.attempts(job_id)[1].started_epoch == 2
    assert [epoch for epoch, _ in yard.epochs(job_id)] == [1, 2, 3]
    check_history(yard.database, yard.store)


@pytest.mark.parametrize(
    "stage",
    [pytest.param(stage, marks=() if stage == "stored" else pytest.mark.slow) for stage in STAGES],
)
def test_a_worker_killed_while_it_publishes_leaves_an_earlier_checkpoint(
    yard: Yard, stage: str
) -> None:
    job_id = yard.submit(epochs=5)
    with yard.worker(fault=f"die_publishing:{stage}") as worker:
        for epoch in (1, 2, 3):
            yard.open_gate(epoch)
            wait_stored(yard, job_id, epoch + 1, unless=lambda: worker.poll() is not None)
        assert worker.wait(30) == -signal.SIGKILL
    check_files_of_checkpoints(yard, job_id)
    newest = checkpoints(yard, job_id)[0].epoch
    assert newest is not None
    assert newest >= 2
    with yard.scheduler():
        wait_until(lambda: yard.attempts(job_id)[0].outcome is Outcome.LOST, what="it is lost")
    yard.open_gate(1, 2, 3, 4, 5)
    with yard.worker("w2"):
        yard.wait(job_id, Status.SUCCEEDED)
        yard.run_another()
    attempts = yard.attempts(job_id)
    assert [a.outcome for a in attempts] == [Outcome.LOST, Outcome.SUCCEEDED]
    assert attempts[1].started_epoch == newest
    assert [epoch for epoch, _ in yard.epochs(job_id)] == [1, 2, 3, 4, 5]
    check_history(yard.database, yard.store)


def check_files_of_checkpoints(yard: Yard, job_id: int) -> None:
    """Check that every checkpoint that SQL knows lies in the store."""
    for row in checkpoints(yard, job_id):
        assert yard.store.exists(row.path), row.path


@pytest.mark.parametrize(
    ("flipped", "resumes_at"),
    [
        pytest.param(1, 2, id="the newest"),
        pytest.param(2, 1, id="both", marks=pytest.mark.slow),
    ],
)
def test_a_damaged_checkpoint_is_passed_over(yard: Yard, flipped: int, resumes_at: int) -> None:
    job_id = yard.submit()
    with yard.worker() as worker:
        for epoch in (1, 2):
            yard.open_gate(epoch)
            wait_stored(yard, job_id, epoch + 1)
        damaged = checkpoints(yard, job_id)[:flipped]
        for row in damaged:
            flip_a_byte(yard, row.path)
        trainer_of(worker).kill()
        yard.open_gate(3)
        yard.wait(job_id, Status.SUCCEEDED)
    assert yard.attempts(job_id)[1].started_epoch == resumes_at
    assert [epoch for epoch, _ in yard.epochs(job_id)] == [1, 2, 3]
    assert yard.log("w1").read_text().count("is damaged and is not used") == flipped
    check_history(yard.database, yard.store)


def flip_a_byte(yard: Yard, path: str) -> None:
    """Change one bit of a file in the store, in place."""
    file = yard.settings.data_dir / "artifacts" / path
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)

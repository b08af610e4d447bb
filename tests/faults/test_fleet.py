"""Fault 21: every worker killed with fifty jobs queued, then a third of them again and again."""

from __future__ import annotations

import random

import pytest
import sqlalchemy as sa

from shared.models import Attempt, Job, Outcome, Status
from tests.faults.fleet import Fleet
from tests.history import check_history
from tests.waiting import wait_until
from tests.worker_yard import Yard

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

_JOBS = 50
_EPOCHS = 3
_WORKERS = ("w1", "w2", "w3")
_SEED = 21


def test_all_jobs_finish_however_often_workers_are_killed(yard: Yard) -> None:
    chance = random.Random(_SEED)
    yard.settings = yard.settings.model_copy(update={"max_attempts": 100})
    ids = [yard.submit(epochs=_EPOCHS) for _ in range(_JOBS)]
    free_run = {"FAKE_TRAINER_GATE": "", "FAKE_TRAINER_EPOCH_SECONDS": "0.2"}
    with yard.scheduler(), Fleet(yard, TRAINYARD_SLOTS="2", **free_run) as fleet:
        for name in _WORKERS:
            fleet.start(name)
        wait_done(yard, 1)
        for name in _WORKERS:
            fleet.kill(name)
        for name in _WORKERS:
            fleet.start(name)
        while (before := done(yard)) < _JOBS:
            wait_done(yard, min(before + 8, _JOBS))
            victim = chance.choice(_WORKERS)
            fleet.kill(victim)
            fleet.start(victim)
        yard.run_another(60)

    assert {yard.job(job_id).status for job_id in ids} == {Status.SUCCEEDED}
    for job_id in ids:
        assert [epoch for epoch, _ in yard.epochs(job_id)] == list(range(1, _EPOCHS + 1))
    assert lost(yard) > 0, "no job was hit: the test has shown nothing"
    check_history(yard.database, yard.store)


def done(yard: Yard) -> int:
    """Count the jobs that have succeeded."""
    with yard.database.read() as session:
        return (
            session.scalar(
                sa.select(sa.func.count()).select_from(Job).where(Job.status == Status.SUCCEEDED)
            )
            or 0
        )


def wait_done(yard: Yard, count: int) -> None:
    """Wait until so many jobs have succeeded."""
    wait_until(lambda: done(yard) >= count, 120, what=f"{count} jobs are done")


def lost(yard: Yard) -> int:
    """Count the attempts that died with their worker."""
    with yard.database.read() as session:
        return (
            session.scalar(
                sa.select(sa.func.count())
                .select_from(Attempt)
                .where(Attempt.outcome == Outcome.LOST)
            )
            or 0
        )

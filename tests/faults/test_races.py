"""Fault 17: everybody who may end an attempt tries at the same moment, and one of them does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.orm import Session

from shared import catalogue, jobs
from shared.database import Database
from shared.errors import Conflict, LeaseLost
from shared.jobs import Lease, Slot
from shared.models import Job, Status
from shared.spec import parse_submission
from tests.history import check_history

_ROUNDS = 15
_SLOT = Slot("w1", 0, ("default",))
_RESULT = {"reason": "epochs_done", "test_accuracy": 0.5}

Act = Callable[[Session, Lease], object]


def succeed(session: Session, lease: Lease) -> None:
    """Finish, as its supervisor does."""
    jobs.succeed(session, lease, result=_RESULT, detail="All epochs are done.")


def lose(session: Session, _: Lease) -> None:
    """Expire stale leases, as the scheduler does."""
    jobs.expire_leases(session)


def lose_worker(session: Session, _: Lease) -> None:
    """Hand back what a worker had, as its next life does."""
    jobs.expire_worker(session, _SLOT.worker)


def time_out(session: Session, lease: Lease) -> None:
    """Enforce the limit of time, as the scheduler does."""
    jobs.time_out(session, lease.job_id, limit_seconds=1)


def give_back(session: Session, lease: Lease) -> None:
    """Hand the job back, as a draining supervisor does."""
    jobs.give_back(session, lease, detail="The worker stopped.")


def cancel(session: Session, lease: Lease) -> None:
    """Wish it cancelled, as a person does."""
    jobs.request_cancel(session, lease.job_id)


def pause(session: Session, lease: Lease) -> None:
    """Wish it paused, as a person does."""
    jobs.request_pause(session, lease.job_id)


@pytest.mark.parametrize(
    "acts",
    [
        pytest.param((succeed, lose), id="a completion and the scheduler"),
        pytest.param((succeed, lose, lose), id="a completion and two schedulers"),
        pytest.param((succeed, time_out, lose), id="a completion, a limit and the scheduler"),
        pytest.param((give_back, lose, lose_worker), id="a drain, the scheduler and a new life"),
        pytest.param((succeed, cancel, lose), id="a completion, a cancel and the scheduler"),
        pytest.param((lose, cancel, pause), id="the scheduler, a cancel and a pause"),
        pytest.param((succeed, succeed), id="a completion written twice"),
    ],
)
def test_an_attempt_ends_once(database: Database, acts: tuple[Act, ...]) -> None:
    with database.write() as session:
        catalogue.register_bundled(session)
    with ThreadPoolExecutor(len(acts)) as pool:
        for _ in range(_ROUNDS):
            job_id = submit(database)
            lease = claim_stale(database)
            assert lease.job_id == job_id
            at_once = threading.Barrier(len(acts))
            for future in [pool.submit(perform, database, lease, act, at_once) for act in acts]:
                future.result(30)
            check_history(database)
            clear(database, job_id)


def perform(database: Database, lease: Lease, act: Act, at_once: threading.Barrier) -> None:
    """Act with the others; to come too late is no error."""
    at_once.wait(10)
    try:
        with database.write() as session:
            act(session, lease)
    except (LeaseLost, Conflict):
        pass


def submit(database: Database) -> int:
    """Queue a job."""
    submission = parse_submission({"name": "race"})
    with database.write() as session:
        version = catalogue.resolve(session, submission.spec.dataset)
        job, _ = jobs.submit(session, submission, dataset_version=version, max_attempts=3)
        return job.id


def claim_stale(database: Database) -> Lease:
    """Claim the waiting job with a lease that is over already."""
    with database.write() as session:
        lease = jobs.claim(session, _SLOT, lease_seconds=-1)
    assert lease is not None
    return lease


def clear(database: Database, job_id: int) -> None:
    """Take the job out of the way of the next round."""
    with database.write() as session:
        job = session.get_one(Job, job_id)
        if job.status in (Status.QUEUED, Status.PAUSED):
            jobs.request_cancel(session, job_id)
        else:
            assert job.status.terminal

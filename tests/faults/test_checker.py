"""The history checker finds what it is there to find."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared import catalogue, jobs, protocol, recording
from shared.artifacts import ArtifactStore
from shared.database import Database, utc_now
from shared.jobs import Slot
from shared.models import Artifact, Attempt, Epoch, Job, JobEvent, Outcome, Status
from shared.spec import parse_submission
from tests.history import check_history

_SLOT = Slot("w1", 0, ("default",))


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(f"file://{tmp_path / 'artifacts'}")


@pytest.fixture
def history(database: Database, store: ArtifactStore, tmp_path: Path) -> Database:
    """Give the history of a job that was lost once, and succeeded with two epochs and a file."""
    with database.write() as session:
        catalogue.register_bundled(session)
        submission = parse_submission({"name": "checked", "spec": {"epochs": 2}})
        version = catalogue.resolve(session, submission.spec.dataset)
        jobs.submit(session, submission, dataset_version=version, max_attempts=3)
        jobs.claim(session, _SLOT, lease_seconds=-1)
    with database.write() as session:
        jobs.expire_leases(session)
        lease = jobs.claim(session, _SLOT, lease_seconds=60)
        assert lease is not None
        for number in (1, 2):
            recording.epoch(session, lease, epoch(number))
        recording.artifact(session, lease, put_file(store, tmp_path), "jobs/1/history.csv")
        jobs.succeed(session, lease, result={"test_accuracy": 0.5}, detail="Done.")
    return database


def epoch(number: int) -> protocol.Epoch:
    """Return an epoch's figures."""
    return protocol.Epoch(
        epoch=number,
        train_accuracy=0.5,
        train_loss=0.5,
        eval_accuracy=0.5,
        eval_loss=0.5,
        learning_rate=0.001,
        seconds=1,
        images_per_second=1000,
    )


def put_file(store: ArtifactStore, folder: Path) -> protocol.Artifact:
    """Store a file, and return what a trainer says of it."""
    local = folder / "history.csv"
    local.write_bytes(b"epoch\n")
    store.put(local, "jobs/1/history.csv")
    return protocol.Artifact(
        path=local,
        name="history.csv",
        kind="history",
        media_type="text/csv",
        bytes=6,
        sha256=hashlib.sha256(b"epoch\n").hexdigest(),
    )


def test_a_good_history_passes(history: Database, store: ArtifactStore) -> None:
    check_history(history, store)


def _gap(session: Session) -> None:
    session.execute(sa.delete(Epoch).where(Epoch.epoch == 1))


def _two_results(session: Session) -> None:
    session.execute(sa.update(Attempt).values(outcome=Outcome.SUCCEEDED))


def _result_of_a_lost_job(session: Session) -> None:
    values = {"status": Status.FAILED, "failure": {"kind": "lost"}}
    session.execute(sa.update(Job).values(**values))


def _two_ends(session: Session) -> None:
    jobs.add_event(session, 1, "failed", "Also.")


def _uncounted_loss(session: Session) -> None:
    session.execute(sa.delete(JobEvent).where(JobEvent.kind == "lost"))


def _too_many_losses(session: Session) -> None:
    session.execute(sa.update(Job).values(max_attempts=0))


def _nobody(session: Session) -> None:
    session.execute(sa.update(Job).values(status=Status.RUNNING, finished_at=None))


def _silent_owner(session: Session) -> None:
    _nobody(session)
    values = {"outcome": None, "lease_expires_at": utc_now(-1)}
    session.execute(sa.update(Attempt).where(Attempt.number == 2).values(**values))


def _another_file(session: Session) -> None:
    session.execute(sa.update(Artifact).values(sha256="0" * 64))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_gap, "has epochs"),
        (_two_results, "2 accepted results"),
        (_result_of_a_lost_job, "has an accepted result"),
        (_two_ends, "succeeded.*failed"),
        (_uncounted_loss, "0 losses"),
        (_too_many_losses, "1 losses"),
        (_nobody, "runs with 0 leases"),
        (_silent_owner, "stale lease"),
        (_another_file, "history.csv"),
    ],
)
def test_a_spoilt_history_does_not(
    history: Database, store: ArtifactStore, spoil: Callable[[Session], None], complaint: str
) -> None:
    with history.write() as session:
        spoil(session)
    with pytest.raises(AssertionError, match=complaint):
        check_history(history, store)

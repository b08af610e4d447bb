"""The history checker: what must hold of every database, whatever happened to its workers."""

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.artifacts import ArtifactStore
from shared.database import Database, utc_now
from shared.datasets import BUNDLED_SCHEME
from shared.datasets.derived import DERIVED
from shared.datasets.layout import ARRAYS, DESCRIPTION
from shared.models import Artifact, Attempt, DatasetVersion, Epoch, Job, JobEvent, Outcome, Status
from worker.uploader import KEPT_CHECKPOINTS

_ENDINGS = tuple(status.value for status in Status if status.terminal)
_LOSSES = ("lost", "crashed")


def check_history(database: Database, store: ArtifactStore | None = None) -> None:
    """Assert the promise of design.md, section 4, for every job.

    Each job is terminal, waiting, or owned by exactly one live lease, and ends once; a job that
    succeeded has exactly one accepted result; its epochs are 1..n once each; attempts stay within
    the cap; every published file that `store` is asked for is there, and is what its row says; so
    is every version of a data set.
    """
    with database.read() as session:
        for job in session.scalars(sa.select(Job).order_by(Job.id)):
            _check_job(session, job)
            _check_epochs(session, job)
            _check_endings(session, job)
            if store is not None:
                _check_files(session, store, job)
        if store is not None:
            _check_versions(session, store)


def _check_job(session: Session, job: Job) -> None:
    attempts = session.scalars(
        sa.select(Attempt).where(Attempt.job_id == job.id).order_by(Attempt.number)
    ).all()
    assert [a.number for a in attempts] == list(range(1, job.attempt + 1)), f"job {job.id}"
    open_attempts = [a for a in attempts if a.outcome is None]
    if job.status is Status.RUNNING:
        now = session.scalars(sa.select(utc_now())).one()
        assert len(open_attempts) == 1, f"job {job.id} runs with {len(open_attempts)} leases"
        assert open_attempts[0].lease_expires_at > now, f"job {job.id} runs on a stale lease"
    else:
        assert not open_attempts, f"job {job.id} is {job.status} and has an open attempt"
    assert (job.finished_at is not None) == job.status.terminal, f"job {job.id}"
    accepted = [a for a in attempts if a.outcome is Outcome.SUCCEEDED]
    if job.status is Status.SUCCEEDED:
        assert len(accepted) == 1, f"job {job.id} has {len(accepted)} accepted results"
        assert accepted[0] is attempts[-1], f"job {job.id}"
        assert job.result is not None, f"job {job.id} succeeded without a result"
    else:
        assert not accepted, f"job {job.id} is {job.status} and has an accepted result"
    if job.status is Status.FAILED:
        assert job.failure is not None, f"job {job.id} failed without a reason"


def _check_epochs(session: Session, job: Job) -> None:
    epochs = list(
        session.scalars(sa.select(Epoch.epoch).where(Epoch.job_id == job.id).order_by(Epoch.epoch))
    )
    assert epochs == list(range(1, len(epochs) + 1)), f"job {job.id} has epochs {epochs}"
    assert job.epochs_done == len(epochs), f"job {job.id}"


def _check_endings(session: Session, job: Job) -> None:
    kinds = list(session.scalars(sa.select(JobEvent.kind).where(JobEvent.job_id == job.id)))
    ends = [kind for kind in kinds if kind in _ENDINGS]
    assert ends == ([job.status.value] if job.status.terminal else []), f"job {job.id}: {ends}"
    losses = sum(kind in _LOSSES for kind in kinds)
    assert losses == job.crashes <= job.max_attempts, f"job {job.id}: {losses} losses"


def _check_versions(session: Session, store: ArtifactStore) -> None:
    for version in session.scalars(sa.select(DatasetVersion)):
        if version.uri.startswith(BUNDLED_SCHEME):
            continue
        with store.open(f"{version.uri}/{DESCRIPTION}") as file:
            assert json.load(file)["version"] == version.version, version.uri
        for array in (*ARRAYS, *DERIVED):
            assert store.exists(f"{version.uri}/{array}.npy"), f"{version.uri} lacks {array}"


def _check_files(session: Session, store: ArtifactStore, job: Job) -> None:
    rows = session.scalars(sa.select(Artifact).where(Artifact.job_id == job.id)).all()
    checkpoints = [row for row in rows if row.kind == "checkpoint"]
    assert len(checkpoints) <= KEPT_CHECKPOINTS, f"job {job.id} keeps {len(checkpoints)}"
    for row in rows:
        if row.kind == "log":  # overwritten as it grows: a killed worker leaves one ahead of SQL
            assert store.exists(row.path), f"job {job.id} has no {row.name}"
            continue
        with store.open(row.path) as file:
            content = file.read()
        assert hashlib.sha256(content).hexdigest() == row.sha256, f"job {job.id}: {row.name}"
        assert len(content) == row.bytes, f"job {job.id}: {row.name}"

"""What an attempt needs before it starts: its spec, its data set, its checkpoints."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from shared import catalogue, jobs, recording
from shared.artifacts import ArtifactStore
from shared.database import Database
from shared.datasets.cache import DatasetCache
from shared.datasets.layout import Description
from shared.errors import NotFound
from shared.jobs import Lease
from shared.models import DatasetVersion
from shared.protocol import Run
from shared.spec import JobSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Stored:
    name: str
    path: str
    sha256: str


def gather(
    database: Database, store: ArtifactStore, lease: Lease, *, work_dir: Path, cache: DatasetCache
) -> Run:
    """Collect the inputs of an attempt.

    Args:
        database: for the spec and the rows of the checkpoints.
        store: for the checkpoints' files.
        lease: the attempt's.
        work_dir: the attempt's own folder, existing.
        cache: the data sets that this machine keeps.

    Returns:
        The trainer's assignment.

    Raises:
        InvalidInput: the data set is gone.
        StoreUnavailable: the artifact store does not answer.
    """
    with database.read() as session:
        spec = JobSpec.model_validate(jobs.get(session, lease.job_id).spec)
        version = catalogue.resolve(session, spec.dataset)
        rows = recording.checkpoints(session, lease.job_id)
        stored = [_Stored(row.name, row.path, row.sha256) for row in rows]
    return Run(
        spec=spec,
        dataset_dir=fetch_dataset(version, cache),
        work_dir=work_dir,
        checkpoints=_fetch_checkpoints(store, stored, work_dir / "resume"),
    )


def fetch_dataset(version: DatasetVersion, cache: DatasetCache) -> Path:
    """Bring a version of a data set to this machine, unless it is there; return where it lies.

    Raises:
        TrainyardError: it cannot be had whole.
    """
    return cache.fetch(version.uri, description_of(version))


def description_of(version: DatasetVersion) -> Description:
    """Return what a version holds, as its folder says it."""
    return Description(
        version=version.version,
        train_images=version.train_images,
        test_images=version.test_images,
        height=version.height,
        width=version.width,
        channels=version.channels,
        classes=tuple(version.classes),
    )


def _fetch_checkpoints(store: ArtifactStore, stored: list[_Stored], folder: Path) -> list[Path]:
    """Fetch the checkpoints, best first, leaving out what is missing or damaged.

    A store that is away is no reason to leave one out: the job would begin anew without it.
    """
    fetched: list[Path] = []
    for checkpoint in stored:
        folder.mkdir(parents=True, exist_ok=True)
        local = folder / Path(checkpoint.name).name
        try:
            store.get(checkpoint.path, local)
        except NotFound as error:
            log.warning("Checkpoint %s is gone: %s", checkpoint.name, error)
            continue
        if _sha256(local) != checkpoint.sha256:
            log.warning("Checkpoint %s is damaged and is not used.", checkpoint.name)
            continue
        fetched.append(local)
    return fetched


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

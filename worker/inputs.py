"""What an attempt needs before it starts: its spec, its data set, its checkpoints."""

from __future__ import annotations

import errno
import hashlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from shared import catalogue, jobs, recording
from shared.artifacts import ArtifactStore
from shared.database import Database
from shared.datasets.cache import DatasetCache
from shared.datasets.layout import Description
from shared.errors import NotFound, StoreRefused
from shared.jobs import Lease
from shared.models import DatasetVersion
from shared.protocol import Run
from shared.spec import JobSpec

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

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
        OSError, StoreRefused: no checkpoint can be read, though there are some.
    """
    with database.read() as session:
        spec = JobSpec.model_validate(jobs.get(session, lease.job_id).spec)
        version = catalogue.resolve(session, spec.dataset)
        rows = recording.checkpoints(session, lease.job_id)
        stored = [_Stored(row.name, row.path, row.sha256) for row in rows]
    try:
        dataset_dir = fetch_dataset(version, cache)
    except NotFound:
        store.require_root()
        raise
    return Run(
        spec=spec,
        dataset_dir=dataset_dir,
        work_dir=work_dir,
        checkpoints=_fetch_checkpoints(store, stored, work_dir / "resume"),
    )


def in_background(work: Callable[[], Run]) -> Future[Run]:
    """Do `work` in a thread of its own, which may be left alone at any time.

    A store may be slow and a lock held by others; nobody who waits for the outcome must be deaf.
    """
    outcome: Future[Run] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is the waiting thread's to judge
            outcome.set_exception(error)

    threading.Thread(target=run, name="preparation", daemon=True).start()
    return outcome


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
    """Fetch the checkpoints, best first, leaving out what is missing, damaged or cannot be read.

    A store that is away is no reason to leave one out, nor is a full disk here: the job would
    begin anew without it. So it would if none could be read at all.
    """
    fetched: list[Path] = []
    unread: OSError | StoreRefused | None = None
    if stored:
        folder.mkdir(exist_ok=True)
    for checkpoint in stored:
        local = folder / Path(checkpoint.name).name
        try:
            store.get(checkpoint.path, local)
        except NotFound as error:
            store.require_root()
            log.warning("Checkpoint %s is gone: %s", checkpoint.name, error)
        except (OSError, StoreRefused) as error:
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                raise
            log.warning("Checkpoint %s cannot be read: %s", checkpoint.name, error)
            unread = unread or error
        else:
            if _sha256(local) == checkpoint.sha256:
                fetched.append(local)
            else:
                log.warning("Checkpoint %s is damaged and is not used.", checkpoint.name)
    if unread is not None and not fetched:
        raise unread
    return fetched


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

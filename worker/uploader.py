"""Publishes an attempt's files: into the artifact store first, then into SQL.

A thread of its own, so that a slow store delays neither training nor records. Every attempt
writes into its own folder, so that one which lost its job cannot touch what was accepted.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.orm import Session

from shared import protocol, recording
from shared.artifacts import ArtifactStore
from shared.jobs import Lease
from worker.recorder import Recorder

KEPT_CHECKPOINTS = 2
_TRIES = 6
_FIRST_PAUSE_SECONDS = 0.5

log = logging.getLogger(__name__)


class Uploader:
    """One thread that publishes files in order.

    A checkpoint or log that a newer one has overtaken is skipped.

    Args:
        store: where files go.
        recorder: where their rows go.
        lease: the attempt's.
        tries: times a file is tried before it counts as failed.
        first_pause_seconds: pause after the first failure; it doubles from there.
    """

    def __init__(
        self,
        store: ArtifactStore,
        recorder: Recorder,
        lease: Lease,
        *,
        tries: int = _TRIES,
        first_pause_seconds: float = _FIRST_PAUSE_SECONDS,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._lease = lease
        self._tries = tries
        self._first_pause_seconds = first_pause_seconds
        self.folder = f"jobs/{lease.job_id}/attempt-{lease.attempt}"
        self.failed: str | None = None  # why an artifact could not be published
        self._artifacts: list[protocol.Artifact] = []
        self._checkpoint: protocol.Checkpoint | None = None
        self._log: Path | None = None
        self._closing = False
        self._abandoned = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="uploader", daemon=True)
        self._thread.start()

    def put(self, event: protocol.Artifact | protocol.Checkpoint) -> None:
        """Publish the file that an event names."""
        with self._changed:
            if isinstance(event, protocol.Checkpoint):
                self._checkpoint = event
            else:
                self._artifacts.append(event)
            self._changed.notify()

    def forget_after(self, epoch: int, step: int) -> None:
        """Remove the checkpoints that this attempt, which starts here, could not use."""
        useless: list[str] = []

        def write(session: Session) -> None:
            useless[:] = recording.forget_checkpoints_after(session, self._lease, epoch, step)

        self._recorder.put(write, then=lambda: self._delete(useless))

    def put_log(self, path: Path) -> None:
        """Publish the log as it is now."""
        with self._changed:
            self._log = path
            self._changed.notify()

    def close(self, timeout_seconds: float | None = None) -> bool:
        """Wait until everything is published; return False if the time ran out first."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """Drop what has not been published and let the thread end."""
        self._abandoned.set()
        with self._changed:
            self._closing = True
            self._changed.notify()

    def _run(self) -> None:
        while (work := self._next()) is not None and not self._abandoned.is_set():
            try:
                work()
            except Exception as error:
                log.exception("A file of job %d could not be published.", self._lease.job_id)
                self.failed = f"A file could not be published: {error}"

    def _next(self) -> Callable[[], None] | None:
        """Wait for work; return None when there is none and there will be none."""
        with self._changed:
            while True:
                if self._artifacts:
                    artifact = self._artifacts.pop(0)
                    return lambda: self._publish_artifact(artifact)
                if self._checkpoint is not None:
                    checkpoint, self._checkpoint = self._checkpoint, None
                    return lambda: self._publish_checkpoint(checkpoint)
                if self._log is not None:
                    path, self._log = self._log, None
                    return lambda: self._publish_log(path)
                if self._closing:
                    return None
                self._changed.wait()

    def _publish_artifact(self, event: protocol.Artifact) -> None:
        path = f"{self.folder}/{event.name}"
        error = self._store_file(event.path, path)
        if error is not None:
            self.failed = f"{event.name} could not be stored: {error}"
            return
        self._recorder.put(lambda s: recording.artifact(s, self._lease, event, path))

    def _publish_checkpoint(self, event: protocol.Checkpoint) -> None:
        path = f"{self.folder}/checkpoints/{event.path.name}"
        error = self._store_file(event.path, path)
        if error is not None:
            log.warning("Checkpoint %s was not stored: %s", event.path.name, error)
            return
        outdated: list[str] = []

        def write(session: Session) -> None:
            recording.artifact(session, self._lease, event, path)
            old = recording.checkpoints(session, self._lease.job_id)[KEPT_CHECKPOINTS:]
            outdated[:] = [row.path for row in old]
            recording.forget_artifacts(session, self._lease, [row.name for row in old])

        self._recorder.put(write, then=lambda: self._delete(outdated))

    def _publish_log(self, local: Path) -> None:
        name = f"log-{self._lease.attempt}.txt"
        path = f"{self.folder}/{name}"
        snapshot = local.with_name(f"{local.name}.snapshot")  # the log itself may grow meanwhile
        try:
            content = local.read_bytes()
            snapshot.write_bytes(content)
        except OSError as error:
            log.warning("The log was not stored: %s", error)
            return
        problem = self._store_file(snapshot, path)
        if problem is not None:
            log.warning("The log was not stored: %s", problem)
            return
        event = protocol.Artifact(
            path=local,
            name=name,
            kind="log",
            media_type="text/plain; charset=utf-8",
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        self._recorder.put(lambda s: recording.artifact(s, self._lease, event, path))

    def _store_file(self, local: Path, path: str) -> str | None:
        """Store a file, trying again while the store is away; return what went wrong."""
        pause_seconds = self._first_pause_seconds
        for left in reversed(range(self._tries)):
            try:
                self._store.put(local, path)
                return None
            except FileNotFoundError as error:
                if not local.exists():  # overtaken: the trainer keeps its newest only
                    return str(error)
                problem = str(error)
            except Exception as error:  # noqa: BLE001 - every fsspec backend has its own kinds
                problem = str(error)
            if left == 0 or self._abandoned.wait(pause_seconds):
                break
            pause_seconds *= 2
        return problem

    def _delete(self, paths: list[str]) -> None:
        for path in paths:
            try:
                self._store.delete(path)
            except Exception as error:  # noqa: BLE001 - one that stays costs space, no more
                log.warning("Old checkpoint %s was not deleted: %s", path, error)

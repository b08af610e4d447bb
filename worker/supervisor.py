"""Supervises one attempt from claim to verdict.

Sits between SQL and the trainer: keeps the lease, hands the trainer its inputs, records what it
reports, and ends it when the job is cancelled, the lease is lost or the worker stops. Never
imports TensorFlow, and never lets SQL, Redis or the artifact store hold up training.
"""

from __future__ import annotations

import logging
import math
import queue
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared import protocol, recording
from shared.artifacts import ArtifactStore
from shared.database import Database
from shared.datasets.cache import DatasetCache
from shared.errors import InvalidInput, StoreRefused, StoreUnavailable
from shared.gauges import Point
from shared.jobs import Lease
from shared.live import Publisher
from shared.settings import Settings
from worker.drain import Drain, StopOrder
from worker.gauges import Averager, Gauges
from worker.heartbeat import Heartbeat
from worker.inputs import gather, in_background
from worker.job_log import JobLog
from worker.machine_memory import MemoryWatch
from worker.recorder import Recorder, is_outage
from worker.standby import Standby
from worker.trainer_process import TrainerProcess, describe_exit
from worker.uploader import Uploader
from worker.verdicts import Verdict, Verdicts

_TICK_SECONDS = 0.2
_RECORD_SECONDS = 2.0
_LOG_UPLOAD_SECONDS = 5.0
# What a cancelled job still publishes (the end of its log) must not delay the cancel.
_CANCEL_PATIENCE_SECONDS = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Yard:
    """What every supervisor of a worker shares."""

    settings: Settings
    database: Database
    store: ArtifactStore
    publisher: Publisher

    @cached_property
    def datasets(self) -> DatasetCache:
        """The versions of data sets that this machine keeps."""
        settings = self.settings
        return DatasetCache(
            settings.dataset_cache_dir, self.store, most_bytes=settings.dataset_cache_bytes
        )


class Supervisor:
    """The supervision of one attempt.

    Args:
        yard: database, store, live channel, settings.
        lease: the attempt's.
        standby: where the trainer comes from.
        drain: set when the worker stops and hands its jobs back.
        gpus: indices of the GPUs that the trainer works on.
    """

    def __init__(
        self,
        yard: Yard,
        lease: Lease,
        standby: Standby,
        drain: Drain,
        gpus: Sequence[int] = (),
    ) -> None:
        self._yard = yard
        self._lease = lease
        self._verdicts = Verdicts(lease, lambda: self._progress)
        self._standby = standby
        self._drain = drain
        self._gpus = gpus
        self._averager = Averager(lease.attempt, began=time.monotonic())
        self._progress: dict[str, Any] | None = None
        self._started = False
        self._seen_first_step = False
        self._log_due = 0.0
        self._prepared = False
        self._work_dir = (
            yard.settings.worker_work_dir / f"job-{lease.job_id}-{lease.attempt}-{lease.token[:8]}"
        )
        self._log = JobLog(self._work_dir / "log.txt")

    def run(self) -> bool:
        """Run the attempt to its end; whatever happens, the job is left in a defined state.

        Returns:
            Whether the job could begin; if not, this machine may be the reason.
        """
        heartbeat = Heartbeat(
            self._yard.database, self._lease, self._yard.settings, lambda: self._progress
        )
        self._recorder = Recorder(self._yard.database, heartbeat.lost.set)
        self._uploader = Uploader(self._yard.store, self._recorder, self._lease)
        try:
            with heartbeat:
                self._changed()
                verdict = self._verdict(heartbeat)
                self._conclude(verdict, heartbeat)
        finally:
            self._recorder.abandon()
            self._uploader.abandon()
            self._log.close()
            shutil.rmtree(self._work_dir, ignore_errors=True)
            self._changed()
        return self._prepared

    # --- until the verdict ----------------------------------------------------------------------

    def _verdict(self, heartbeat: Heartbeat) -> Verdict:
        try:
            self._work_dir.mkdir(parents=True)
            gathering = in_background(self._gather)
            while not wait([gathering], _TICK_SECONDS).done:
                if (verdict := self._unwanted(heartbeat)) is not None:
                    self._prepared = True
                    return verdict
            assignment = gathering.result()
            trainer = self._standby.take()
        except Exception as error:  # noqa: BLE001 - the job must not stay without an owner
            return self._unprepared(error)
        self._prepared = True
        trainer.attach_log(self._log.write)
        try:
            trainer.send(assignment)
            with self._gauges(trainer):
                return self._follow(trainer, heartbeat)
        finally:
            trainer.kill()
            if not self._drain.is_set():
                self._standby.refill()

    def _gather(self) -> protocol.Run:
        return gather(
            self._yard.database,
            self._yard.store,
            self._lease,
            work_dir=self._work_dir,
            cache=self._yard.datasets,
        )

    def _unwanted(self, heartbeat: Heartbeat) -> Verdict | None:
        """See whether a job that is still being prepared shall not begin here now."""
        if (verdict := self._requested(heartbeat)) is not None:
            return verdict
        where = "it had not begun yet"
        if self._drain.is_set():
            return self._verdicts.given_back(f"The worker stopped; {where}.")
        return self._verdicts.paused(where) if heartbeat.paused.is_set() else None

    def _unprepared(self, error: Exception) -> Verdict:
        """Judge what kept a job from being prepared."""
        if isinstance(error, InvalidInput):  # the data set has been deleted meanwhile
            self._prepared = True
            return self._verdicts.failed("data", str(error), "Choose a data set that there is.")
        if isinstance(error, StoreUnavailable) and not isinstance(error, StoreRefused):
            return self._verdicts.given_back(f"It could not be prepared: {error}.")
        if isinstance(error, SQLAlchemyError) and is_outage(error):
            return self._verdicts.given_back("It could not be prepared: SQL was away.")
        log.error("Job %d cannot be started.", self._lease.job_id, exc_info=error)
        return self._verdicts.crashed(
            f"Worker {self._yard.settings.worker_name} could not prepare the job: {error}",
            "Look at that worker's log, disk and artifact store; then retry.",
        )

    def _follow(self, trainer: TrainerProcess, heartbeat: Heartbeat) -> Verdict:
        """Handle the trainer's events and everybody's requests until one of them decides."""
        memory = MemoryWatch()
        order: StopOrder | None = None
        stall_seconds = self._yard.settings.stall_seconds
        stalls_at = time.monotonic() + stall_seconds
        while True:
            if (verdict := self._requested(heartbeat)) is not None:
                return verdict
            if order is None and (self._drain.is_set() or heartbeat.paused.is_set()):
                trainer.send(protocol.Stop())
                order = StopOrder(pause=not self._drain.is_set(), given_at=time.monotonic())
            if order is not None and order.is_overdue(self._drain, time.monotonic()):
                return self._verdicts.stopped(order, "there was no time for a checkpoint")
            self._publish_log()
            memory.look()
            try:
                event = trainer.events.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                if time.monotonic() > stalls_at:
                    return self._verdicts.stalled(stall_seconds)
                continue
            stalls_at = time.monotonic() + stall_seconds
            if event is None:
                return self._ended(trainer.wait(1.0), memory)
            if isinstance(event, protocol.Stopped):
                where = f"saved at epoch {event.epoch}, step {event.step}"
                return self._verdicts.stopped(order, where)
            if (verdict := self._handle(event)) is not None:
                return verdict

    def _requested(self, heartbeat: Heartbeat) -> Verdict | None:
        if heartbeat.lost.is_set():
            return self._verdicts.lost()
        if heartbeat.cancelled.is_set():
            return self._verdicts.cancelled()
        if self._recorder.error is not None:
            return self._verdicts.not_recorded(self._recorder.error)
        return None

    def _ended(self, code: int | None, memory: MemoryWatch) -> Verdict:
        """Judge a trainer that ended by itself, and without a result."""
        how = describe_exit(code)
        if code == -signal.SIGKILL and (evidence := memory.evidence()) is not None:
            return self._verdicts.killed_for_memory(f"{how} {evidence}")
        self._prepared = self._started
        return self._verdicts.crashed(how)

    def _handle(self, event: protocol.Event) -> Verdict | None:
        match event:
            case protocol.Progress():
                self._take_progress(event)
            case protocol.Started():
                self._started = True
                self._recorder.put(
                    lambda s: recording.started(s, self._lease, event), then=self._changed
                )
                self._uploader.forget_after(event.epoch, event.step)
            case protocol.Epoch():
                self._recorder.put(
                    lambda s: recording.epoch(s, self._lease, event),
                    then=lambda: self._publish("epoch", protocol.as_json(event)),
                )
            case protocol.Checkpoint() | protocol.Artifact():
                self._uploader.put(event)
            case protocol.Finished():
                return self._verdicts.succeeded(event)
            case protocol.Failed(kind="internal"):  # not the job's own doing, as far as one knows
                self._prepared = self._started  # a broken GPU must not go through the queue
                return self._verdicts.crashed(event.evidence, event.suggestion)
            case protocol.Failed():
                return self._verdicts.failed(event.kind, event.evidence, event.suggestion)
            case protocol.Ready() | protocol.Stopped():
                pass
        return None

    def _take_progress(self, event: protocol.Progress) -> None:
        self._progress = protocol.as_json(event)
        self._publish("progress", self._progress)
        if not self._seen_first_step:
            self._seen_first_step = True
            self._recorder.put(
                lambda s: recording.first_step(s, self._lease, event), then=self._changed
            )
            self._standby.refill()

    def _gauges(self, trainer: TrainerProcess) -> Gauges:
        return Gauges(
            trainer.pid,
            self._gpus,
            self._averager,
            write=lambda points: self._recorder.put(lambda s: self._write_gauges(s, points)),
            show=lambda point: self._publish("gauge", asdict(point)),
        )

    def _write_gauges(self, session: Session, points: list[Point]) -> None:
        self._averager.span_seconds = recording.gauges(session, self._lease, points)

    # --- after the verdict ----------------------------------------------------------------------

    def _conclude(self, verdict: Verdict, heartbeat: Heartbeat) -> None:
        """Publish and record what is left, then write the verdict, as long as the lease holds."""
        log.info("Job %d, attempt %d: %s.", self._lease.job_id, self._lease.attempt, verdict.word)
        if verdict.record is None:
            return
        self._publish_log(at_once=True)
        published = self._wait(self._uploader.close, heartbeat, lambda: self._patience(heartbeat))
        recorded = self._wait(
            self._recorder.close, heartbeat, lambda: self._patience(heartbeat, _RECORD_SECONDS)
        )
        if verdict.word == "succeeded":
            verdict = self._accepted(verdict, heartbeat, complete=published and recorded)
        self._write(verdict, heartbeat)
        if self._recorder.error is not None:  # what SQL refuses must not leave the job without end
            self._write(self._verdicts.not_recorded(self._recorder.error), heartbeat)

    def _accepted(self, verdict: Verdict, heartbeat: Heartbeat, *, complete: bool) -> Verdict:
        """Return `succeeded`, unless something of the result did not arrive."""
        if not complete and heartbeat.cancelled.is_set():
            return self._verdicts.cancelled()
        if not complete:
            return self._verdicts.given_back("The worker stopped before the results were stored.")
        if self._uploader.failed is not None:
            return self._verdicts.not_stored(self._uploader.failed)
        if self._recorder.error is not None:
            return self._verdicts.not_recorded(self._recorder.error)
        return verdict

    def _write(self, verdict: Verdict, heartbeat: Heartbeat) -> None:
        """Write a verdict through a recorder of its own: the old one may write nothing more."""
        assert verdict.record is not None
        self._recorder.abandon()
        if heartbeat.lost.is_set():
            return
        self._recorder = Recorder(self._yard.database, heartbeat.lost.set)
        self._recorder.put(verdict.record)
        self._wait(self._recorder.close, heartbeat, lambda: self._drain.left(_RECORD_SECONDS))

    def _wait(
        self,
        close: Callable[[float], bool],
        heartbeat: Heartbeat,
        patience_seconds: Callable[[], float | None],
    ) -> bool:
        """Wait for a thread to finish its work, no longer than the lease and patience hold.

        Returns:
            Whether it has finished.
        """
        gives_up_at = math.inf
        while not (closed := close(_TICK_SECONDS)) and not heartbeat.lost.is_set():
            if (seconds := patience_seconds()) is not None:
                gives_up_at = min(gives_up_at, time.monotonic() + seconds)
            if time.monotonic() > gives_up_at:
                break
        return closed

    def _patience(self, heartbeat: Heartbeat, least_seconds: float = 0.0) -> float | None:
        if heartbeat.cancelled.is_set():
            return _CANCEL_PATIENCE_SECONDS
        return self._drain.left(least_seconds)

    # --- live -----------------------------------------------------------------------------------

    def _publish(self, kind: str, data: dict[str, Any]) -> None:
        data = {**data, "attempt": self._lease.attempt}
        self._yard.publisher.publish(self._lease.job_id, kind, data)

    def _changed(self) -> None:
        self._yard.publisher.publish(self._lease.job_id, "job")

    def _publish_log(self, *, at_once: bool = False) -> None:
        if lines := self._log.take_fresh():
            self._publish("log", {"lines": lines})
        if not at_once and time.monotonic() < self._log_due:
            return
        self._log_due = time.monotonic() + _LOG_UPLOAD_SECONDS
        if self._log.take_changed():
            self._uploader.put_log(Path(self._log.path))

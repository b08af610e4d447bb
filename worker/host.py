"""The worker as a whole: its slots, its row in `workers`, and the loop that empties the queue."""

from __future__ import annotations

import fcntl
import logging
import os
import platform
import queue
import shutil
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared import jobs, preflights, workers
from shared.database import utc_now
from shared.errors import ConfigurationError, NotFound, QueueUnavailable
from shared.jobs import Lease, Slot
from shared.models import Worker
from shared.queue import Bell
from shared.tickets import Ticket
from worker.devices import Device, devices
from worker.drain import Drain
from worker.importer import Importer
from worker.preflight import Pilot
from worker.recorder import is_outage
from worker.standby import Standby
from worker.supervisor import Supervisor, Yard
from worker.trainer_process import TrainerProcess

# How soon a request to drain is seen.
_LOOK_SECONDS = 0.5
# A machine that cannot prepare a job (no space, no store) must not go through the whole queue:
# its slot rests, longer each time, and leaves the jobs to others.
_FIRST_REST_SECONDS = 2.0
_LONGEST_REST_SECONDS = 60.0

log = logging.getLogger(__name__)


@dataclass
class SlotState:
    """A slot, its device, its standby, what it does, and jobs in a row it could not prepare."""

    slot: Slot
    device: Device
    standby: Standby
    job_id: int | None = field(default=None)
    preflight_id: int | None = field(default=None)
    unprepared: int = field(default=0)


class Host:
    """A worker with its slots.

    Args:
        yard: database, store, live channel, settings.
        found: the devices, one a slot.
        spawn: starts a trainer in an environment; another one in tests.
    """

    def __init__(
        self,
        yard: Yard,
        found: list[Device] | None = None,
        spawn: Callable[[dict[str, str]], TrainerProcess] = TrainerProcess,
    ) -> None:
        settings = yard.settings
        self.yard = yard
        self.drain = Drain(settings.grace_seconds)  # take no job, and hand back those that run
        self._stopping = threading.Event()  # drain, and never take one again
        self._lock_file: IO[str] | None = None
        self._slots = [
            _slot_state(settings.worker_name, index, settings.queue_names, device, spawn)
            for index, device in enumerate(
                found
                or devices(
                    settings.slots,
                    slots_per_gpu=settings.slots_per_gpu,
                    gpus_per_slot=settings.gpus_per_slot,
                )
            )
        ]
        self._free: queue.SimpleQueue[SlotState] = queue.SimpleQueue()
        for state in self._slots:
            self._free.put(state)
        self._importer = Importer(yard, self.drain) if settings.imports else None
        self._heartbeat = threading.Thread(target=self._report_until_stopped, daemon=True)
        self._changed = threading.Event()

    @property
    def slot_count(self) -> int:
        """Number of jobs that run at once."""
        return len(self._slots)

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping.is_set()

    @property
    def has_free_slot(self) -> bool:
        """Whether a job could start now."""
        return not self.drain.is_set() and not self._free.empty()

    def start(self) -> None:
        """Take the worker's name, hand back what its last life left, warm up, and report.

        Raises:
            ConfigurationError: another worker of this name runs in this data folder.
        """
        self._lock_file = _lock(self.yard.settings.data_dir, self.yard.settings.worker_name)
        shutil.rmtree(self._work_dir, ignore_errors=True)
        for state in self._slots:
            state.standby.refill()
        self._hand_back_leftovers()
        self._report(started=True)
        self._heartbeat.start()
        if self._importer is not None:
            self._importer.start()

    def work(self) -> None:
        """Do what waits on a free slot until nothing is left or the worker stops.

        Pre-flights first: they are short, and a person waits for the answer.
        """
        state = self._free.get()
        try:
            while not self.drain.is_set() and (right := self._claim(state)) is not None:
                if isinstance(right, Ticket):
                    self._try_out(state, right)
                elif self._supervise(state, right):
                    state.unprepared = 0
                else:
                    self._rest(state)
        finally:
            self._free.put(state)

    def begin_stop(self) -> None:
        """Hand back the running jobs and take no more; safe in a signal handler."""
        self._stopping.set()
        self.drain.set()
        self._changed.set()

    def begin_leaving(self, reason: str) -> None:
        """Begin to stop, and let the worker's row say why; not safe in a signal handler."""
        self.begin_stop()
        try:
            with self.yard.database.write() as session:
                workers.request_drain(session, self.yard.settings.worker_name, reason=reason)
        except (SQLAlchemyError, NotFound) as error:
            log.warning("The worker's row does not say why it drains: %s", error)

    def stop(self) -> None:
        """End the standby trainers and sign off; running attempts have ended by now."""
        self.begin_stop()
        if self._importer is not None:
            self._importer.stop()
        if self._heartbeat.is_alive():
            self._heartbeat.join(self.yard.settings.heartbeat_seconds)
        for state in self._slots:
            state.standby.close()
        self._report(stopped=True)
        if self._lock_file is not None:
            self._lock_file.close()

    @property
    def _work_dir(self) -> Path:
        return self.yard.settings.worker_work_dir

    def _claim(self, state: SlotState) -> Ticket | Lease | None:
        lease_seconds = self.yard.settings.lease_seconds
        try:
            with self.yard.database.write() as session:
                return preflights.claim(
                    session, state.slot, lease_seconds=lease_seconds
                ) or jobs.claim(session, state.slot, lease_seconds=lease_seconds)
        except SQLAlchemyError as error:
            if not is_outage(error):
                raise
            log.warning("Nothing claimed, SQL is away: %s", error)
            return None  # the scheduler rings again

    def _rest(self, state: SlotState) -> None:
        """Leave the queue to others for a while."""
        seconds = min(_FIRST_REST_SECONDS * 2**state.unprepared, _LONGEST_REST_SECONDS)
        state.unprepared += 1
        log.warning("Slot %d rests for %g s.", state.slot.index, seconds)
        self.drain.wait(seconds)

    def _supervise(self, state: SlotState, lease: Lease) -> bool:
        """Run an attempt; return False if no trainer could be given the job."""
        log.info("Job %d, attempt %d: slot %d.", lease.job_id, lease.attempt, state.slot.index)
        state.job_id = lease.job_id
        self._changed.set()
        try:
            supervisor = Supervisor(
                self.yard, lease, state.standby, self.drain, gpus=state.device.gpu_indices
            )
            return supervisor.run()
        except Exception:
            # The lease runs out by itself; the slot must live on.
            log.exception("The supervision of job %d broke.", lease.job_id)
            return False
        finally:
            state.job_id = None
            self._changed.set()

    def _try_out(self, state: SlotState, ticket: Ticket) -> None:
        """Answer a pre-flight."""
        log.info("Pre-flight %d: slot %d.", ticket.id, state.slot.index)
        state.preflight_id = ticket.id
        self._changed.set()
        try:
            Pilot(self.yard, ticket, state.standby, self.drain).run()
        except Exception:  # its right to answer runs out by itself; the slot must live on
            log.exception("Pre-flight %d broke.", ticket.id)
        finally:
            state.preflight_id = None
            self._changed.set()

    def _hand_back_leftovers(self) -> None:
        """End the attempts of this worker's last life: its lock proves that it is over."""
        try:
            with self.yard.database.write() as session:
                for lease in jobs.expire_worker(session, self.yard.settings.worker_name):
                    log.warning("Job %d goes back into the queue.", lease.job_id)
        except SQLAlchemyError as error:
            log.warning("SQL is away, leases will run out by themselves: %s", error)

    # --- the row in `workers` -------------------------------------------------------------------

    def _report_until_stopped(self) -> None:
        report_at = 0.0
        while not self._stopping.is_set():
            changed = self._changed.wait(_LOOK_SECONDS)
            self._changed.clear()
            self._obey_drain()
            if changed or time.monotonic() >= report_at:
                self._report()
                report_at = time.monotonic() + self.yard.settings.heartbeat_seconds
        self._report()  # its last jobs may take a while yet: nobody shall count on its slots

    def _obey_drain(self) -> None:
        """Begin or end to drain, as people ask; a worker that stops drains anyway."""
        try:
            with self.yard.database.read() as session:
                wanted = workers.drain_requested(session, self.yard.settings.worker_name)
        except SQLAlchemyError as error:
            log.warning("The worker cannot look whether it shall drain: %s", error)
            return
        if self._stopping.is_set() or wanted == self.drain.is_set():
            return
        if wanted:
            log.info("The worker drains: it hands its jobs back and takes no more.")
            self.drain.set()
        else:
            self.drain.clear()
            if self._stopping.is_set():  # told to in between
                self.drain.set()
            for state in self._slots:
                state.standby.refill()
            log.info("The worker takes jobs again.")

    def _report(self, *, started: bool = False, stopped: bool = False) -> None:
        try:
            with self.yard.database.write() as session:
                _write_row(session, self._row(), started=started, stopped=stopped)
        except SQLAlchemyError as error:
            log.warning("The worker could not report: %s", error)

    def _row(self) -> dict[str, Any]:
        settings = self.yard.settings
        return {
            "name": settings.worker_name,
            "hostname": socket.gethostname(),
            "pid": os.getpid(),
            "queues": settings.queue_names,
            "slots": [
                {
                    "index": state.slot.index,
                    "device": state.device.name,
                    "gpus": state.slot.gpus,
                    "job_id": state.job_id,
                    "preflight_id": state.preflight_id,
                    "warm": state.standby.warm,
                }
                for state in self._slots
            ],
            "info": _machine()
            | {
                "versions": self._slots[0].standby.versions,
                "imports": self._importer is not None,
                "import_id": self._importer and self._importer.import_id,
                "stopping": self.stopping,
            },
        }


def ring_for_waiting_work(bell: Bell, queues: list[str], slots: int) -> None:
    """Wake this worker's own slots once, for jobs that were queued before it started."""
    try:
        for name in queues:
            for _ in range(slots):
                bell.ring(name)
    except QueueUnavailable as error:
        log.warning("%s The scheduler rings later.", error)


def _slot_state(
    worker: str,
    index: int,
    queues: list[str],
    device: Device,
    spawn: Callable[[dict[str, str]], TrainerProcess],
) -> SlotState:
    slot = Slot(worker, index, tuple(queues), device.gpus)
    return SlotState(slot, device, Standby(lambda: spawn(device.environment)))


def _lock(data_dir: Path, worker: str) -> IO[str]:
    folder = data_dir / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / f"{worker}.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise ConfigurationError(
            f"A worker named {worker!r} runs already in this data folder; "
            "give this one another name with TRAINYARD_WORKER_NAME."
        ) from error
    return file


def _machine() -> dict[str, Any]:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "platform": platform.platform(terse=True),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": pages,
        "python": platform.python_version(),
    }


def _write_row(session: Session, row: dict[str, Any], *, started: bool, stopped: bool) -> None:
    values = {**row, "heartbeat_at": utc_now(), "stopped_at": utc_now() if stopped else None}
    if started:  # whoever starts it anew wants it to work
        values |= {"started_at": utc_now(), "drain_requested_at": None, "drain_reason": None}
    changed = session.execute(
        sa.update(Worker).where(Worker.name == row["name"]).values(**values).returning(Worker.name)
    ).first()
    if changed is None:
        session.execute(sa.insert(Worker).values(**{"started_at": utc_now(), **values}))

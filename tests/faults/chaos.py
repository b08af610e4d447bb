"""Random faults on a running yard, and their repairs; see `tests.faults.soak`."""

from __future__ import annotations

import contextlib
import heapq
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable

import psutil
import redis
import sqlalchemy as sa
from flask.testing import FlaskClient
from sqlalchemy.exc import SQLAlchemyError

from shared import imports, jobs, workers
from shared.errors import Conflict, NotFound
from shared.models import Job, Status
from tests.fake_trainer import Behaviour
from tests.faults.fleet import Fleet
from tests.faults.proxy import BlackHoleProxy
from tests.importing import try_start
from tests.sent_files import digits, table
from tests.services import PostgresServer, RedisServer, Service
from tests.waiting import wait_until
from tests.worker_yard import Yard

WORKERS = ("w1", "w2", "w3")
_ACTIVE_JOBS = 10
_JOBS_A_ROUND = 3
_HARMLESS = (Behaviour.WELL, Behaviour.WELL, Behaviour.WELL, Behaviour.SHOUTS, Behaviour.DIES_ONCE)
_HEAL_SECONDS = 240.0
_IMPORTS_A_ROUND = 0.15
_DATASETS = ("flowers", "blooms", "leaves")


class Chaos:
    """The yard under fire, and what is broken in it right now.

    Args:
        yard: the yard, whose services and fleet run.
        fleet: its workers.
        broker: its Redis.
        proxy: before Redis.
        web: a client of its web application.
        schedulers: its two.
        postgres: its PostgreSQL; None on SQLite.
        chance: decides what happens.
    """

    def __init__(
        self,
        yard: Yard,
        fleet: Fleet,
        broker: RedisServer,
        proxy: BlackHoleProxy,
        web: FlaskClient,
        schedulers: tuple[subprocess.Popen[bytes], ...],
        postgres: PostgresServer | None,
        chance: random.Random,
    ) -> None:
        self.accepted: dict[int, int] = {}  # job: epochs
        self.imports: list[int] = []
        self.happened: Counter[str] = Counter()
        self._yard = yard
        self._fleet = fleet
        self._broker = broker
        self._proxy = proxy
        self._web = web
        self._schedulers = schedulers
        self._postgres = postgres
        self._chance = chance
        self._repairs: list[tuple[float, int, Callable[[], None]]] = []
        self._broken: set[str] = set()  # workers that are frozen, or will be started anew
        self._down: set[Service] = set()
        self._began = time.monotonic()

    def run(self, seconds: float) -> None:
        """Let jobs flow and things break for so long."""
        end = time.monotonic() + seconds
        faults = self._faults()
        while time.monotonic() < end:
            self._repair_what_is_due()
            self._submit()
            self._send_data()
            fault = self._chance.choice(faults)
            if (said := self._try(fault)) is not None:
                name = fault.__name__.strip("_")
                self.happened[name] += 1
                print(f"{time.monotonic() - self._began:7.1f} s  {name} {said}".rstrip())
            self._rest(self._chance.uniform(0.5, 2.0))

    def heal(self) -> None:
        """Repair everything, and wait until every job and import has come to its end."""
        while self._repairs:
            heapq.heappop(self._repairs)[2]()
        for name in WORKERS:
            if name not in self._fleet.running:
                self._fleet.start(name)
        with self._yard.database.write() as session:
            for name in WORKERS:
                with contextlib.suppress(NotFound):
                    workers.end_drain(session, name)
            for job_id in session.scalars(sa.select(Job.id).where(Job.status == Status.PAUSED)):
                jobs.resume(session, job_id)
        wait_until(lambda: not self._open_jobs(), _HEAL_SECONDS, what="every job has ended")
        wait_until(lambda: not self._open_imports(), _HEAL_SECONDS, what="every import has ended")
        self._yard.run_another(60)

    # --- faults: each does its harm and says to whom, or returns None ---------------------------

    def _faults(self) -> list[Callable[[], str | None]]:
        weighted = {
            self._kill_worker: 3,
            self._freeze_worker: 3,
            self._stop_worker: 2,
            self._drain_worker: 2,
            self._kill_trainer: 3,
            self._restart_redis: 2,
            self._empty_redis: 2,
            self._cut_off_redis: 2,
            self._freeze_scheduler: 1,
            self._restart_postgres: 2,
            self._pause_job: 2,
            self._cancel_job: 1,
            self._move_job: 1,
            self._kill_reader: 2,
        }
        return [fault for fault, weight in weighted.items() for _ in range(weight)]

    def _kill_worker(self) -> str | None:
        if (name := self._some_worker()) is None:
            return None
        self._fleet.kill(name)
        self._broken.add(name)
        self._later(0, 6, lambda: self._revive(name))
        return name

    def _stop_worker(self) -> str | None:
        """Ask it to stop; kill it if it takes longer than whoever asked waits."""
        if (name := self._some_worker()) is None:
            return None
        self._fleet.signal(name, signal.SIGTERM)
        self._broken.add(name)
        self._later(0.2, 6, lambda: self._revive(name))
        return name

    def _freeze_worker(self) -> str | None:
        """Stop it for less than a lease or for more."""
        if (name := self._some_worker()) is None:
            return None
        self._fleet.signal(name, signal.SIGSTOP)
        self._broken.add(name)
        self._later(1, 8, lambda: self._thaw(name))
        return name

    def _drain_worker(self) -> str | None:
        name = self._chance.choice(WORKERS)
        with self._yard.database.write() as session:
            workers.request_drain(session, name, reason="The soak test wants it.")
        self._later(1, 5, lambda: self._end_drain(name))
        return name

    def _kill_trainer(self) -> str | None:
        if (name := self._some_worker()) is None or not (found := self._fleet.trainers(name)):
            return None
        self._chance.choice(found).kill()
        return f"of {name}"

    def _kill_reader(self) -> str | None:
        """End the process that reads the files of an import."""
        for name in self._fleet.running:
            for reader in self._fleet.readers(name):
                reader.kill()
                return f"of {name}"
        return None

    def _restart_redis(self) -> str | None:
        return self._restart(self._broker)

    def _empty_redis(self) -> str | None:
        if self._broker in self._down:
            return None
        self._broker.flush()
        return ""

    def _cut_off_redis(self) -> str | None:
        """Drop every byte on the connections that there are, and perhaps on new ones."""
        for_new = self._chance.random() < 0.5
        self._proxy.open_hole(for_new=for_new)
        self._later(1, 15, self._proxy.close_hole)
        return "(new connections too)" if for_new else ""

    def _freeze_scheduler(self) -> str | None:
        """Stop one for less than its lead or for more."""
        victim = self._chance.choice(self._schedulers)
        victim.send_signal(signal.SIGSTOP)
        self._later(1, 15, lambda: victim.send_signal(signal.SIGCONT))
        return str(self._schedulers.index(victim) + 1)

    def _restart_postgres(self) -> str | None:
        return None if self._postgres is None else self._restart(self._postgres)

    def _pause_job(self) -> str | None:
        if (job_id := self._some_job()) is None:
            return None
        with self._yard.database.write() as session:
            jobs.request_pause(session, job_id)
        self._later(1, 5, lambda: self._resume(job_id))
        return f"job {job_id}"

    def _cancel_job(self) -> str | None:
        if (job_id := self._some_job()) is None:
            return None
        with self._yard.database.write() as session:
            jobs.request_cancel(session, job_id)
        return f"job {job_id}"

    def _move_job(self) -> str | None:
        job_id, before = self._some_job(), self._some_job()
        if job_id is None or before is None:
            return None
        with self._yard.database.write() as session:
            jobs.move(session, job_id, before=before)
        return f"job {job_id} before {before}"

    # --- repairs --------------------------------------------------------------------------------

    def _later(self, least: float, most: float, repair: Callable[[], None]) -> None:
        due = time.monotonic() + self._chance.uniform(least, most)
        heapq.heappush(self._repairs, (due, len(self._repairs) + self.happened.total(), repair))

    def _repair_what_is_due(self) -> None:
        while self._repairs and self._repairs[0][0] <= time.monotonic():
            due, number, repair = heapq.heappop(self._repairs)
            try:
                repair()
            except SQLAlchemyError:  # PostgreSQL is stopped: a little later, then
                heapq.heappush(self._repairs, (due + 2, number, repair))
                return

    def _restart(self, service: Service) -> str | None:
        if service in self._down:
            return None
        service.stop()
        self._down.add(service)
        self._later(0, 6, lambda: self._start(service))
        return ""

    def _start(self, service: Service) -> None:
        service.start()
        self._down.discard(service)
        self._yard.database.dispose()

    def _revive(self, name: str) -> None:
        if name in self._fleet.running:
            self._fleet.kill(name)
        self._fleet.start(name)
        self._broken.discard(name)

    def _thaw(self, name: str) -> None:
        self._broken.discard(name)
        self._fleet.signal(name, signal.SIGCONT)

    def _end_drain(self, name: str) -> None:
        with self._yard.database.write() as session:
            workers.end_drain(session, name)

    def _resume(self, job_id: int) -> None:
        with contextlib.suppress(Conflict), self._yard.database.write() as session:
            jobs.resume(session, job_id)

    # --- jobs -----------------------------------------------------------------------------------

    def _submit(self) -> None:
        with contextlib.suppress(SQLAlchemyError):
            for _ in range(min(_ACTIVE_JOBS - len(self._open_jobs()), _JOBS_A_ROUND)):
                epochs = self._chance.randint(2, 8)
                behaviour = self._chance.choice(_HARMLESS)
                self.accepted[self._yard.submit(behaviour, epochs=epochs)] = epochs

    # --- imports --------------------------------------------------------------------------------

    def _send_data(self) -> None:
        """Send a small data set now and then, some of them a second time."""
        if self._chance.random() > _IMPORTS_A_ROUND:
            return
        files = {"a.csv": table(digits(self._chance.randint(30, 45)))}
        answer = try_start(self._web, files, self._chance.choice(_DATASETS))
        if answer is not None:
            self.imports.append(answer)

    def _open_imports(self) -> list[int]:
        with self._yard.database.read() as session:
            return [row.id for row in imports.unfinished(session)]

    def _open_jobs(self) -> list[int]:
        with self._yard.database.read() as session:
            return list(
                session.scalars(
                    sa.select(Job.id)
                    .where(Job.status.in_([s for s in Status if not s.terminal]))
                    .order_by(Job.id)
                )
            )

    def _some_job(self) -> int | None:
        found = self._open_jobs()
        return self._chance.choice(found) if found else None

    def _some_worker(self) -> str | None:
        found = [name for name in self._fleet.running if name not in self._broken]
        return self._chance.choice(found) if found else None

    def _try(self, fault: Callable[[], str | None]) -> str | None:
        try:
            return fault()
        except (SQLAlchemyError, redis.RedisError, Conflict, NotFound, psutil.Error):
            return None  # its victim is away just now, or has ended meanwhile

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        wait_until(lambda: time.monotonic() >= end, seconds + 5, what="a moment has passed")

"""`python -m tests.faults.soak --minutes 10`: a yard under random faults, and then the checker.

Real workers (fake trainers), two schedulers, Redis and PostgreSQL; jobs flow all the time, data
sets come in, and every second or two something is killed, frozen, stopped, restarted, emptied,
drained, paused or cancelled. At the end everything is healed, every job and import must come to
its end, and the history checker reads the whole database. The seed decides what happens to whom;
the machine decides when.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import sqlalchemy as sa

from shared import catalogue
from shared.database import Database
from shared.models import Attempt, Epoch, Import, Job, Outcome, Status, TicketStatus
from shared.schema import upgrade
from shared.settings import Settings
from tests.faults.chaos import WORKERS, Chaos
from tests.faults.fleet import Fleet
from tests.faults.proxy import BlackHoleProxy
from tests.history import check_history
from tests.parts import process
from tests.services import PostgresServer, RedisServer
from tests.web_client import serving
from tests.worker_yard import make_yard

_MARK = "PYTHON_TESTED_YARD_MARK"  # no setting's name, and Python's: any process gets it
_MAX_LOSSES = 1000  # so that no job is given up: each must come to its end
# Imports are: when two workers fell silent over one, or its reader was killed.
_DEATHS = ("lost", "out_of_memory")


def judge(database: Database, accepted: dict[int, int]) -> dict[str, int]:
    """Count what was lost or doubled of the accepted jobs."""
    lost = duplicated = cancelled = 0
    with database.read() as session:
        for job_id, epochs in accepted.items():
            job = session.get(Job, job_id)
            if job is None or job.status not in (Status.SUCCEEDED, Status.CANCELLED):
                print(f"LOST: job {job_id}: {job and (job.status, job.failure)}")
                lost += 1
                continue
            cancelled += job.status is Status.CANCELLED
            rows = list(session.scalars(sa.select(Epoch.epoch).where(Epoch.job_id == job_id)))
            if job.status is Status.SUCCEEDED and sorted(rows) != list(range(1, epochs + 1)):
                print(f"LOST: job {job_id} has the epochs {sorted(rows)} of {epochs}")
                lost += 1
            results = session.scalar(
                sa.select(sa.func.count())
                .select_from(Attempt)
                .where(Attempt.job_id == job_id, Attempt.outcome == Outcome.SUCCEEDED)
            )
            duplicated += (results or 0) > 1
        attempts = session.scalar(sa.select(sa.func.count()).select_from(Attempt)) or 0
    return {
        "accepted": len(accepted),
        "cancelled": cancelled,
        "attempts": attempts,
        "lost": lost,
        "duplicated": duplicated,
    }


def judge_imports(database: Database, accepted: list[int]) -> dict[str, int]:
    """Count what was lost of the accepted imports, and what came of the others."""
    lost = made = given_up = 0
    with database.read() as session:
        for import_id in accepted:
            row = session.get(Import, import_id)
            if row is not None and row.status is TicketStatus.DONE and row.report is not None:
                catalogue.find(session, row.name, row.report["version"])
                made += 1
            elif row is not None and (row.failure or {}).get("kind") in _DEATHS:
                given_up += 1
            else:
                print(f"LOST: import {import_id}: {row and (row.status, row.failure)}")
                lost += 1
    return {"data sets imported": made, "given up": given_up, "imports lost": lost}


def orphans(mark: str) -> list[psutil.Process]:
    """Return the processes of this run that still live."""
    found = []
    for running in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if running.pid != os.getpid() and running.environ().get(_MARK) == mark:
                found.append(running)
    return found


@contextlib.contextmanager
def services(kind: str, folder: Path) -> Iterator[tuple[str, RedisServer, PostgresServer | None]]:
    """Run Redis and, unless `kind` is `sqlite`, PostgreSQL; give the database's URL."""
    with contextlib.ExitStack() as stack:
        broker = RedisServer()
        stack.callback(broker.close)
        broker.start()
        if kind == "sqlite":
            url, postgres = f"sqlite:///{folder / 'trainyard.db'}", None
        else:
            postgres = PostgresServer()
            stack.callback(postgres.close)
            postgres.start()
            url = postgres.create("soak")
        upgrade(url)
        yield url, broker, postgres


def soak(seconds: float, seed: int, kind: str, folder: Path) -> dict[str, int]:
    """Run the whole test in `folder`; return what came of it.

    Raises:
        AssertionError: the history checker found something, or a job came to no end.
    """
    mark = uuid.uuid4().hex
    with (
        services(kind, folder) as (url, broker, postgres),
        BlackHoleProxy(broker.port) as proxy,
    ):
        settings = Settings(
            data_dir=folder / "var",
            database_url=url,
            redis_url=f"redis://127.0.0.1:{proxy.port}/0",
            max_attempts=_MAX_LOSSES,
        )
        yard = make_yard(settings, Database(url), folder)
        yard.env |= {
            _MARK: mark,
            "FAKE_TRAINER_GATE": "",
            "FAKE_TRAINER_EPOCH_SECONDS": "0.4",
            "TRAINYARD_SLOTS": "2",
            "TRAINYARD_LEASE_SECONDS": "4",
            "TRAINYARD_GRACE_SECONDS": "10",
        }
        with (
            process("worker.scheduler", yard.env, yard.log("scheduler-1")) as first,
            process("worker.scheduler", yard.env, yard.log("scheduler-2")) as second,
            Fleet(yard) as fleet,
            serving(settings, yard.database) as web,
        ):
            for name in WORKERS:
                fleet.start(name)
            schedulers = (first, second)
            chance = random.Random(seed)
            running = Chaos(yard, fleet, broker, proxy, web, schedulers, postgres, chance)
            running.run(seconds)
            print(f"Healing. Until now: {dict(running.happened.most_common())}")
            running.heal()
        check_history(yard.database, yard.store)
        found = judge(yard.database, running.accepted)
        found |= judge_imports(yard.database, running.imports)
        yard.database.dispose()
    found["orphaned"] = len(orphans(mark))
    return found


def main() -> int:
    """Run, print the counts and the seed; return the exit code."""
    parser = argparse.ArgumentParser(prog="make soak", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    given = parser.parse_args()
    seed = random.randrange(2**32) if given.seed is None else given.seed
    folder = Path(tempfile.mkdtemp(prefix="trainyard-soak-"))
    print(f"Soak of {given.minutes:g} min on {given.database}, seed {seed}, in {folder}")
    try:
        found = soak(given.minutes * 60, seed, given.database, folder)
    except AssertionError as error:
        print(f"FAILED, seed {seed}; logs and database are in {folder}: {error}", file=sys.stderr)
        return 1
    print(", ".join(f"{count} {what}" for what, count in found.items()) + f" (seed {seed})")
    if any(found[what] for what in ("lost", "duplicated", "imports lost", "orphaned")):
        print(f"FAILED; logs and database are in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""When waiting jobs start: the slots that take them, who is ahead, and how long jobs run.

Read in a fixed number of queries however many jobs wait.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.models import Epoch, Job, Status
from shared.workers import Seen

# A job's time is forecast from so many of the newest jobs that succeeded, and so many epochs of
# each: jobs of thousands of epochs cost no more to look at.
_HISTORY_JOBS = 200
_HISTORY_EPOCHS = 20
# A job that seems to be at its end still has its slot.
_LEAST_SECONDS = 1.0


@dataclass(frozen=True)
class Waiting:
    """A job that waits.

    Attributes:
        id, queue, gpus, model: of the job.
        epochs: how many are left; one that was resumed has done some.
        precision: as asked for; None if it asks for no GPU.
    """

    id: int
    queue: str
    gpus: int
    model: str = ""
    epochs: int = 0
    precision: str | None = None


@dataclass(frozen=True)
class Kind:
    """Slots that take the same jobs: their queues, and their GPUs."""

    queues: frozenset[str]
    gpus: int

    def takes(self, queue: str, gpus: int) -> bool:
        """Whether they can run a job."""
        return queue in self.queues and gpus <= self.gpus


@dataclass(frozen=True)
class Place:
    """A slot: its kind, and the job or pre-flight that it is busy with."""

    kind: Kind
    job_id: int | None
    preflight_id: int | None

    @property
    def busy(self) -> bool:
        """Whether it does something now."""
        return self.job_id is not None or self.preflight_id is not None


def places(workers: Iterable[Seen]) -> list[Place]:
    """Return the slots of the workers that take jobs."""
    return [
        Place(
            Kind(frozenset(seen.worker.queues), slot["gpus"]),
            slot["job_id"],
            slot.get("preflight_id"),
        )
        for seen in workers
        if seen.takes_jobs
        for slot in seen.worker.slots
    ]


class Line:
    """The waiting jobs, in the order of the claims, before each kind of slot.

    A job is as far behind as it is at the slots where the fewest are ahead: those that other
    slots alone can take are not.

    Args:
        places: the slots.
    """

    def __init__(self, places: Iterable[Place]) -> None:
        self._slots = Counter(place.kind for place in places)
        self._kinds = sorted(self._slots, key=lambda kind: kind.gpus)
        self._fitting: dict[tuple[str, int], list[Kind]] = {}
        self._ahead: Counter[Kind] = Counter()
        self._in_queue: Counter[str] = Counter()

    def kinds(self, job: Waiting) -> list[Kind]:
        """Return the kinds of slots that take the job, those with the fewest GPUs first."""
        return self._takers(job.queue, job.gpus)

    def slots(self, job: Waiting) -> int:
        """Return how many slots take the job."""
        return sum(self._slots[kind] for kind in self.kinds(job))

    def ahead(self, job: Waiting) -> int:
        """Return how many are ahead of a job; of its queue, if no slot takes it."""
        kinds = self.kinds(job)
        if not kinds:
            return self._in_queue[job.queue]
        return min(self._ahead[kind] for kind in kinds)

    def is_first_of_queue(self, job: Waiting) -> bool:
        """Whether none of its own queue is ahead of a job."""
        return not self._in_queue[job.queue]

    def add(self, queue: str, gpus: int, count: int = 1) -> None:
        """Let jobs join the line at its end."""
        self._in_queue[queue] += count
        for kind in self._takers(queue, gpus):
            self._ahead[kind] += count

    def _takers(self, queue: str, gpus: int) -> list[Kind]:
        if (queue, gpus) not in self._fitting:
            fitting = [kind for kind in self._kinds if kind.takes(queue, gpus)]
            self._fitting[queue, gpus] = fitting
        return self._fitting[queue, gpus]


class Forecast:
    """Plays the queue through: each job goes to the slot that is free first.

    Args:
        session: for reading.
        places: the slots.
    """

    def __init__(self, session: Session, places: list[Place]) -> None:
        self._pace = _pace(session)
        left = self._running(session, places)
        self._free: dict[Kind, list[float]] = defaultdict(list)
        for place in places:
            seconds = left.get(place.job_id) if place.job_id is not None else None
            heapq.heappush(self._free[place.kind], _or_never(seconds) if place.busy else 0.0)

    def start(self, job: Waiting, kinds: list[Kind]) -> float | None:
        """Put the next job on a slot of these kinds; return the seconds until it starts there.

        Returns:
            0 for a slot that is free now; None if nothing is known.
        """
        if not kinds:
            return None
        kind = min(kinds, key=lambda kind: self._free[kind][0])
        at = self._free[kind][0]
        heapq.heapreplace(self._free[kind], at + _or_never(self._seconds(job.model, job.epochs)))
        return None if at == float("inf") else at

    def first_free(self, kinds: list[Kind]) -> float | None:
        """Return the seconds until a slot of these kinds is free; None if nothing is known."""
        at = min(self._free[kind][0] for kind in kinds)
        return None if at == float("inf") else at

    def _seconds(self, model: str, epochs: float) -> float | None:
        each = self._pace.get(model)
        return None if each is None else max(each * epochs, _LEAST_SECONDS)

    def _running(self, session: Session, places: list[Place]) -> dict[int, float | None]:
        """Return the seconds that each running job still needs, by its own epochs if it has any."""
        ids = [place.job_id for place in places if place.job_id is not None]
        means = (
            sa.select(Epoch.job_id, sa.func.avg(Epoch.seconds))
            .where(Epoch.job_id.in_(ids))
            .group_by(Epoch.job_id)
        )
        own = {row[0]: row[1] for row in session.execute(means)}
        left: dict[int, float | None] = {}
        columns = (Job.id, Job.model, Job.epochs_total, Job.epochs_done, Job.progress)
        for row in session.execute(sa.select(*columns).where(Job.id.in_(ids))):
            epochs = row.epochs_total - row.epochs_done - _within_epoch(row.progress)
            each = own.get(row.id)
            left[row.id] = (
                self._seconds(row.model, epochs)
                if each is None
                else max(each * epochs, _LEAST_SECONDS)
            )
        return left


def _pace(session: Session) -> dict[str, float]:
    """Return the seconds of an epoch, by model: of the epochs alone, for a job may have rested."""
    newest = (
        sa.select(Job.id, Job.model)
        .where(Job.status == Status.SUCCEEDED)
        .order_by(Job.id.desc())
        .limit(_HISTORY_JOBS)
        .subquery()
    )
    rows = session.execute(
        sa.select(newest.c.model, sa.func.avg(Epoch.seconds))
        .join(Epoch, Epoch.job_id == newest.c.id)
        .where(Epoch.epoch <= _HISTORY_EPOCHS)
        .group_by(newest.c.model)
    )
    return {row[0]: row[1] for row in rows}


def _within_epoch(progress: dict[str, Any] | None) -> float:
    if not progress or not progress.get("steps") or progress.get("phase") != "train":
        return 0.0
    return float(progress["step"] / progress["steps"])


def _or_never(seconds: float | None) -> float:
    return float("inf") if seconds is None else seconds

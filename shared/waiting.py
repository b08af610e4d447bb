"""Why a job waits: one true sentence, its place, about how long, and what one can do about it.

Read from SQL and the workers' heartbeats, in a fixed number of queries however many jobs wait.
The sentence names the first reason of: queue service away, no worker, none
for the queue, none with enough GPUs, all of them draining, jobs ahead, about to start.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.models import Epoch, Import, Job, Status, TicketStatus
from shared.workers import Seen, seen

# A job's time is forecast from this many of the newest jobs that succeeded.
_HISTORY_JOBS = 200
# More waiting jobs than this are not looked at one by one; those behind have no forecast.
_LONGEST_QUEUE = 10_000


@dataclass(frozen=True)
class Remedy:
    """Something that would help.

    Attributes:
        label: words for a button.
        method, path, body: the API call that does it; no method: the label is advice.
    """

    label: str
    method: str | None = None
    path: str | None = None
    body: dict[str, Any] | None = None


@dataclass(frozen=True)
class Wait:
    """Why one job waits.

    Attributes:
        reason: `queue_away`, `no_worker`, `no_queue`, `no_gpu`, `draining`, `ahead` or `starting`.
        sentence: the same for a person.
        position: place in its queue, from 1.
        start_seconds: forecast of the time until it starts; None if nothing is known.
        remedies: what would help.
    """

    reason: str
    sentence: str
    position: int
    start_seconds: float | None = None
    remedies: list[Remedy] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it JSON-compatible."""
        return asdict(self)


@dataclass(frozen=True)
class _Waiting:
    id: int
    queue: str
    gpus: int
    model: str
    epochs: int


@dataclass(frozen=True)
class _Place:
    """A slot that takes jobs: its queues, its GPUs, and the job it runs."""

    queues: frozenset[str]
    gpus: int
    job_id: int | None

    def takes(self, job: _Waiting) -> bool:
        """Whether it can run the job."""
        return job.queue in self.queues and job.gpus <= self.gpus


def explain(session: Session, *, lease_seconds: float, queue_away: bool) -> dict[int, Wait]:
    """Explain every waiting job.

    Args:
        session: for reading.
        lease_seconds: how old a worker's heartbeat may be.
        queue_away: whether Redis does not answer.

    Returns:
        By job number, in the order in which the jobs will start.
    """
    waiting = _waiting(session)
    if not waiting:
        return {}
    workers = seen(session, lease_seconds)
    places = [place for worker in workers if worker.takes_jobs for place in _places(worker)]
    starts = _forecast(session, waiting, places)
    ahead: dict[str, int] = defaultdict(int)
    found: dict[int, Wait] = {}
    for job in waiting:
        ahead[job.queue] += 1
        found[job.id] = _explain(
            job, ahead[job.queue], workers, places, starts[job.id], queue_away=queue_away
        )
    return found


def explain_preflight(
    session: Session, *, queue: str, gpus: int, lease_seconds: float, queue_away: bool
) -> str:
    """Say in a sentence why a pre-flight waits.

    Args:
        session: for reading.
        queue, gpus: what its slot must serve and have.
        lease_seconds, queue_away: as for `explain`.
    """
    if queue_away:
        return "The queue service is away; it is tried when that is back."
    asked = _Waiting(0, queue, gpus, "", 0)
    workers = seen(session, lease_seconds)
    places = [place for worker in workers if worker.takes_jobs for place in _places(worker)]
    fitting = [place for place in places if place.takes(asked)]
    if not fitting:
        return _nowhere(asked, 1, workers).sentence
    if any(place.job_id is None for place in fitting):
        return "A slot is free; it is tried in a moment."
    left = _running(session, fitting, _Pace.load(session)).values()
    known = [seconds for seconds in left if seconds is not None]
    busy = "The only slot that could try it is" if len(fitting) == 1 else "All slots are"
    return f"{busy} training; it is tried when one is free{_about(min(known, default=None))}."


def explain_imports(session: Session, *, lease_seconds: float) -> dict[int, str]:
    """Say in a sentence why each import waits, by its number.

    Args:
        session: for reading.
        lease_seconds: how old a worker's heartbeat may be.
    """
    open_ = Import.status.in_((TicketStatus.QUEUED, TicketStatus.RUNNING))
    rows = session.execute(sa.select(Import.id, Import.status).where(open_).order_by(Import.id))
    found = [(row.id, row.status is TicketStatus.QUEUED) for row in rows]
    queued = [import_id for import_id, waits in found if waits]
    if not queued:
        return {}
    if (obstacle := import_obstacle(session, lease_seconds=lease_seconds)) is not None:
        return dict.fromkeys(queued, obstacle)
    takers = sum(worker.takes_imports for worker in seen(session, lease_seconds))
    running = len(found) - len(queued)
    return {
        import_id: _imports_ahead(running + place, takers) for place, import_id in enumerate(queued)
    }


def import_obstacle(session: Session, *, lease_seconds: float) -> str | None:
    """Say why no worker would take an import; None if one would. Arguments as above."""
    alive = [worker for worker in seen(session, lease_seconds) if worker.alive]
    if not alive:
        return "No worker is connected: it waits until one is."
    if not any(worker.imports for worker in alive):
        return "None of the connected workers imports (TRAINYARD_IMPORTS): it waits for one."
    if not any(worker.takes_imports for worker in alive):
        return "Every worker that imports drains: it waits until one takes work again."
    return None


def _imports_ahead(count: int, takers: int) -> str:
    if count < takers:
        return "A worker takes it in a moment."
    imports = "1 import" if count == 1 else f"{count} imports"
    where = "the only worker that imports" if takers == 1 else f"{takers} workers"
    return f"{imports} ahead on {where}."


# --- one job ------------------------------------------------------------------------------------


def _explain(
    job: _Waiting,
    position: int,
    workers: list[Seen],
    places: list[_Place],
    start_seconds: float | None,
    *,
    queue_away: bool,
) -> Wait:
    fitting = [place for place in places if place.takes(job)]
    if queue_away:
        sentence = "The queue service is away; jobs start when it is back."
        return Wait("queue_away", sentence, position)
    if not fitting:
        return _nowhere(job, position, workers)
    if start_seconds == 0.0:
        return Wait("starting", "A slot is free; it starts in a moment.", position, 0.0)
    sentence = f"{_ahead(position - 1)} {_on(job, fitting)}{_about(start_seconds)}."
    remedies = [] if position == 1 else [_to_the_front(job)]
    return Wait("ahead", sentence, position, start_seconds, remedies)


def _nowhere(job: _Waiting, position: int, workers: list[Seen]) -> Wait:
    """Explain a job that no slot would take."""
    alive = [worker for worker in workers if worker.alive]
    if not alive:
        sentence = "No worker is connected."
        return Wait("no_worker", sentence, position, remedies=[Remedy(_START_A_WORKER)])
    serving = [worker for worker in alive if job.queue in worker.worker.queues]
    if not serving:
        return _unserved(job, position, alive)
    if all(_most_gpus(worker) < job.gpus for worker in serving):
        return _too_few_gpus(job, position, max(map(_most_gpus, serving)))
    names = sorted(worker.worker.name for worker in serving if worker.state == "draining")
    sentence = (
        f"{_listed(names)} {'drains' if len(names) == 1 else 'drain'}, and no other can run it."
    )
    remedies = [
        Remedy(f"Let {name} take jobs again", "DELETE", f"/api/v1/workers/{name}/drain")
        for name in names
    ]
    return Wait("draining", sentence, position, remedies=remedies)


def _too_few_gpus(job: _Waiting, position: int, most: int) -> Wait:
    """Explain a job that needs more GPUs than any slot for it has, `most` at the most."""
    serves = f"serves queue {job.queue!r}"
    if not most:
        sentence = f"It needs {_gpus(job.gpus)}, and no worker that {serves} has a GPU."
        remedy = _edit(job, "Run it without a GPU", {"gpus": 0})
    else:
        sentence = (
            f"It needs {_gpus(job.gpus)} at once, and no worker that {serves} gives a job "
            f"more than {most}."
        )
        remedy = _edit(job, f"Run it on {_gpus(most)}", {"gpus": most})
    return Wait("no_gpu", sentence, position, remedies=[remedy])


_START_A_WORKER = "Start one: trainyard worker"


def _unserved(job: _Waiting, position: int, alive: list[Seen]) -> Wait:
    queues = sorted({queue for worker in alive for queue in worker.worker.queues})
    sentence = (
        f"No worker serves queue {job.queue!r}; those connected serve "
        f"{_listed([repr(queue) for queue in queues])}."
    )
    remedies = [_edit(job, f"Move it to queue {queue}", {"queue": queue}) for queue in queues[:3]]
    return Wait("no_queue", sentence, position, remedies=remedies)


def _edit(job: _Waiting, label: str, body: dict[str, Any]) -> Remedy:
    return Remedy(label, "PATCH", f"/api/v1/jobs/{job.id}", body)


def _to_the_front(job: _Waiting) -> Remedy:
    return Remedy("Start it next", "POST", f"/api/v1/jobs/{job.id}/move", {"to": "front"})


def _most_gpus(worker: Seen) -> int:
    return max((slot["gpus"] for slot in worker.worker.slots), default=0)


def _gpus(count: int) -> str:
    return "a GPU" if count == 1 else f"{count} GPUs"


def _ahead(count: int) -> str:
    if count == 0:
        return "It is next"
    return "1 job ahead" if count == 1 else f"{count} jobs ahead"


def _on(job: _Waiting, fitting: list[_Place]) -> str:
    kind = "GPU slot" if job.gpus else "slot"
    if len(fitting) == 1:
        return f"on the only {kind}"
    return f"on {len(fitting)} {kind}s"


def _about(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 90:
        return f"; about {max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"; about {minutes} min" if minutes < 90 else f"; about {seconds / 3600:.1f} h"


def _listed(words: list[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


# --- the forecast -------------------------------------------------------------------------------


def _forecast(
    session: Session, waiting: list[_Waiting], places: list[_Place]
) -> dict[int, float | None]:
    """Play the queue through: each job goes to the slot that is free first.

    Returns:
        Seconds until each job starts; None from where a time on its slots is not known.
    """
    pace = _Pace.load(session)
    running = _running(session, places, pace)
    free: list[tuple[float, int]] = []
    for index, place in enumerate(places):
        left = 0.0 if place.job_id is None else running.get(place.job_id)
        heapq.heappush(free, (float("inf") if left is None else left, index))
    starts: dict[int, float | None] = {}
    for job in waiting:
        starts[job.id] = _take_first(free, places, job, pace.seconds(job.model, job.epochs))
    return starts


def _take_first(
    free: list[tuple[float, int]], places: list[_Place], job: _Waiting, seconds: float | None
) -> float | None:
    """Put a job on the first free slot that takes it; return when that is."""
    passed = []
    start = None
    while free:
        at, index = heapq.heappop(free)
        if places[index].takes(job):
            start = at
            end = float("inf") if seconds is None else at + seconds
            passed.append((end, index))
            break
        passed.append((at, index))
    for item in passed:
        heapq.heappush(free, item)
    return None if start is None or start == float("inf") else start


@dataclass(frozen=True)
class _Pace:
    """Seconds an epoch, by model, from the newest jobs that succeeded."""

    by_model: dict[str, float]

    @classmethod
    def load(cls, session: Session) -> _Pace:
        rows = session.execute(
            sa.select(Job.model, Job.duration_seconds, Job.epochs_done)
            .where(Job.status == Status.SUCCEEDED)
            .order_by(Job.id.desc())
            .limit(_HISTORY_JOBS)
        )
        return cls(_mean_pace((row.model, row.duration_seconds, row.epochs_done) for row in rows))

    def seconds(self, model: str, epochs: float) -> float | None:
        pace = self.by_model.get(model)
        return None if pace is None else pace * epochs


def _mean_pace(rows: Iterable[tuple[str, float | None, int]]) -> dict[str, float]:
    seconds: dict[str, float] = defaultdict(float)
    epochs: dict[str, int] = defaultdict(int)
    for model, duration, done in rows:
        if duration is not None and done > 0:
            seconds[model] += duration
            epochs[model] += done
    return {model: seconds[model] / epochs[model] for model in epochs}


def _running(session: Session, places: list[_Place], pace: _Pace) -> dict[int, float | None]:
    """Return the seconds that each running job still needs, from its own epochs if it has any."""
    ids = [place.job_id for place in places if place.job_id is not None]
    own = {
        row.job_id: row.mean
        for row in session.execute(
            sa.select(Epoch.job_id, sa.func.avg(Epoch.seconds).label("mean"))
            .where(Epoch.job_id.in_(ids))
            .group_by(Epoch.job_id)
        )
    }
    left: dict[int, float | None] = {}
    columns = (Job.id, Job.model, Job.epochs_total, Job.epochs_done, Job.progress)
    for row in session.execute(sa.select(*columns).where(Job.id.in_(ids))):
        epochs = row.epochs_total - row.epochs_done - _within_epoch(row.progress)
        each = own.get(row.id)
        left[row.id] = pace.seconds(row.model, epochs) if each is None else each * max(epochs, 0)
    return left


def _within_epoch(progress: dict[str, Any] | None) -> float:
    if not progress or not progress.get("steps") or progress.get("phase") != "train":
        return 0.0
    return float(progress["step"] / progress["steps"])


def _waiting(session: Session) -> list[_Waiting]:
    rows = session.execute(
        sa.select(Job.id, Job.queue, Job.gpus, Job.model, Job.epochs_total)
        .where(Job.status == Status.QUEUED)
        .order_by(Job.priority.desc(), Job.queue_rank, Job.id)
        .limit(_LONGEST_QUEUE)
    )
    return [_Waiting(row.id, row.queue, row.gpus, row.model, row.epochs_total) for row in rows]


def _places(worker: Seen) -> list[_Place]:
    queues = frozenset(worker.worker.queues)
    return [_Place(queues, slot["gpus"], slot["job_id"]) for slot in worker.worker.slots]

"""Why a job waits: one true sentence, its place, about how long, and what one can do about it.

Read from SQL and the workers' heartbeats, in a fixed number of queries however many jobs wait.
The sentence names the first reason of: queue service away, no worker, none
for the queue, none with enough GPUs, all of them draining or stopping, jobs ahead, about to start.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.forecast import Forecast, Line, Place, Waiting, places
from shared.models import Import, Job, Status, TicketStatus
from shared.workers import Seen, seen

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
        position: place among the jobs that its slots could take, from 1; in its queue, if no slot
            takes it.
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


def explain(
    session: Session, *, lease_seconds: float, queue_away: bool, also: int | None = None
) -> dict[int, Wait]:
    """Explain the waiting jobs, the first 10,000 of them.

    Args:
        session: for reading.
        lease_seconds: how old a worker's heartbeat may be.
        queue_away: whether Redis does not answer.
        also: a job to explain however many are ahead of it.

    Returns:
        By job number, in the order in which the jobs will start.
    """
    waiting = _waiting(session)
    if not waiting:
        return {}
    workers = seen(session, lease_seconds)
    slots = places(workers)
    forecast, line = Forecast(session, slots), Line(slots)
    found: dict[int, Wait] = {}
    for job in waiting:
        start_seconds = forecast.start(job, line.kinds(job))
        found[job.id] = _explain(job, line, workers, start_seconds, queue_away=queue_away)
        line.add(job.queue, job.gpus)
    if also is not None and also not in found:
        for job in _waiting(session, Job.id == also):
            line = _line_before(session, job, slots)
            found[also] = _explain(job, line, workers, None, queue_away=queue_away)
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
    asked = Waiting(0, queue, gpus)
    workers = seen(session, lease_seconds)
    fitting = [place for place in places(workers) if place.kind.takes(queue, gpus)]
    if not fitting:
        return _nowhere(asked, 1, workers).sentence
    if not all(place.busy for place in fitting):
        return "A slot is free; it is tried in a moment."
    seconds = Forecast(session, fitting).first_free([place.kind for place in fitting])
    busy = "The only slot that could try it is" if len(fitting) == 1 else "All slots are"
    return f"{busy} busy; it is tried when one is free{_about(seconds)}."


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
    job: Waiting,
    line: Line,
    workers: list[Seen],
    start_seconds: float | None,
    *,
    queue_away: bool,
) -> Wait:
    position = line.ahead(job) + 1
    slots = line.slots(job)
    if queue_away:
        sentence = "The queue service is away; jobs start when it is back."
        return Wait("queue_away", sentence, position)
    if not slots:
        return _nowhere(job, position, workers)
    if start_seconds == 0.0:
        return Wait("starting", "A slot is free; it starts in a moment.", position, 0.0)
    sentence = f"{_ahead(position - 1)} {_on(job, slots)}{_about(start_seconds)}."
    remedies = [] if line.is_first_of_queue(job) else [_to_the_front(job)]
    return Wait("ahead", sentence, position, start_seconds, remedies)


def _nowhere(job: Waiting, position: int, workers: list[Seen]) -> Wait:
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
    return _handing_back(serving, position)


def _handing_back(serving: list[Seen], position: int) -> Wait:
    """Explain a job that only workers could run which drain or stop."""
    names = sorted(worker.worker.name for worker in serving if worker.state == "draining")
    if not names:
        names = sorted(worker.worker.name for worker in serving if worker.state == "stopping")
        sentence = f"{_listed(names)} {_verb('stop', names)}, and no other can run it."
        return Wait("draining", sentence, position, remedies=[Remedy(_START_A_WORKER)])
    sentence = f"{_listed(names)} {_verb('drain', names)}, and no other can run it."
    remedies = [
        Remedy(f"Let {name} take jobs again", "DELETE", f"/api/v1/workers/{name}/drain")
        for name in names
    ]
    return Wait("draining", sentence, position, remedies=remedies)


def _too_few_gpus(job: Waiting, position: int, most: int) -> Wait:
    """Explain a job that needs more GPUs than any slot for it has, `most` at the most."""
    serves = f"serves queue {job.queue!r}"
    if not most:
        sentence = f"It needs {_gpus(job.gpus)}, and no worker that {serves} has a GPU."
        remedy = _without_gpu(job)
    else:
        sentence = (
            f"It needs {_gpus(job.gpus)} at once, and no worker that {serves} gives a job "
            f"more than {most}."
        )
        remedy = _edit(job, f"Run it on {_gpus(most)}", {"gpus": most})
    return Wait("no_gpu", sentence, position, remedies=[remedy])


def _without_gpu(job: Waiting) -> Remedy:
    if job.precision == "mixed_float16":
        return Remedy("float16 needs a GPU: clone the job with precision auto")
    return _edit(job, "Run it without a GPU", {"gpus": 0})


_START_A_WORKER = "Start one: trainyard worker"


def _unserved(job: Waiting, position: int, alive: list[Seen]) -> Wait:
    queues = sorted({queue for worker in alive for queue in worker.worker.queues})
    sentence = (
        f"No worker serves queue {job.queue!r}; those connected serve "
        f"{_listed([repr(queue) for queue in queues])}."
    )
    remedies = [_edit(job, f"Move it to queue {queue}", {"queue": queue}) for queue in queues[:3]]
    return Wait("no_queue", sentence, position, remedies=remedies)


def _edit(job: Waiting, label: str, body: dict[str, Any]) -> Remedy:
    return Remedy(label, "PATCH", f"/api/v1/jobs/{job.id}", body)


def _to_the_front(job: Waiting) -> Remedy:
    return Remedy("Move it to the front", "POST", f"/api/v1/jobs/{job.id}/move", {"to": "front"})


def _most_gpus(worker: Seen) -> int:
    return max((slot["gpus"] for slot in worker.worker.slots), default=0)


def _gpus(count: int) -> str:
    return "a GPU" if count == 1 else f"{count} GPUs"


def _ahead(count: int) -> str:
    if count == 0:
        return "It is next"
    return "1 job ahead" if count == 1 else f"{count} jobs ahead"


def _on(job: Waiting, slots: int) -> str:
    kind = "GPU slot" if job.gpus else "slot"
    return f"on the only {kind}" if slots == 1 else f"on {slots} {kind}s"


def _about(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 90:
        return f"; about {max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"; about {minutes} min" if minutes < 90 else f"; about {seconds / 3600:.1f} h"


def _verb(word: str, subjects: list[str]) -> str:
    return f"{word}s" if len(subjects) == 1 else word


def _listed(words: list[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


# --- what waits ---------------------------------------------------------------------------------


def _waiting(session: Session, *conditions: sa.ColumnElement[bool]) -> list[Waiting]:
    # Only a GPU can make the precision matter, and taking JSON apart costs time.
    precision = sa.case((Job.gpus > 0, Job.spec["precision"].as_string()))
    left = Job.epochs_total - Job.epochs_done
    rows = session.execute(
        sa.select(Job.id, Job.queue, Job.gpus, Job.model, left, precision)
        .where(Job.status == Status.QUEUED, *conditions)
        .order_by(Job.priority.desc(), Job.queue_rank, Job.id)
        .limit(_LONGEST_QUEUE)
    )
    return [Waiting(*row) for row in rows]


def _line_before(session: Session, job: Waiting, slots: list[Place]) -> Line:
    """Count those ahead of a single job in SQL."""
    own = sa.select(-Job.priority, Job.queue_rank, Job.id).where(Job.id == job.id)
    mine = session.execute(own).one()
    rows = session.execute(
        sa.select(Job.queue, Job.gpus, sa.func.count())
        .where(
            Job.status == Status.QUEUED,
            sa.tuple_(-Job.priority, Job.queue_rank, Job.id) < sa.tuple_(*mine),
        )
        .group_by(Job.queue, Job.gpus)
    )
    line = Line(slots)
    for queue, gpus, count in rows:
        line.add(queue, gpus, count)
    return line

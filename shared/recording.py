"""What an attempt writes while it runs: start, first step, epochs, gauges, artifacts.

Every function shows its lease first (`shared.jobs.hold`), so that an attempt which lost its job
stores nothing. Writing the same thing twice is harmless: a spool may repeat itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from shared import protocol
from shared.database import utc_now
from shared.gauges import MAX_POINTS, Point, halve, usual_span_seconds
from shared.jobs import Lease, add_event, hold
from shared.models import Artifact, Attempt, Base, Epoch, Gauge, Job

MAX_CURVE_POINTS = 64


def started(session: Session, lease: Lease, event: protocol.Started) -> None:
    """Record that the model is built: device, versions, layers, and where it starts from.

    Raises:
        LeaseLost: see `shared.jobs.hold`.
    """
    hold(session, lease)
    _update_attempt(
        session, lease, device=event.device, started_epoch=event.epoch, started_step=event.step
    )
    session.execute(
        sa.update(Job).where(Job.id == lease.job_id).values(run_info=protocol.as_json(event))
    )
    message = f"Training on {event.device}."
    if event.resumed_from is not None:
        message = f"Resumed at epoch {event.epoch}, step {event.step}, on {event.device}."
    for name, reason in event.rejected_checkpoints.items():
        message += f" Checkpoint {name} was not used: {reason}"
    kind = "started" if event.resumed_from is None else "resumed"
    where = event.model_dump(include={"device", "precision", "versions", "machine"})
    add_event(session, lease.job_id, kind, message, attempt=lease.attempt, data=where)


def first_step(session: Session, lease: Lease, event: protocol.Progress) -> None:
    """Record the time of the attempt's, and the job's, first finished step.

    Raises:
        LeaseLost: see `shared.jobs.hold`.
    """
    hold(session, lease)
    _update_attempt(
        session, lease, first_step_at=sa.func.coalesce(Attempt.first_step_at, utc_now())
    )
    session.execute(
        sa.update(Job)
        .where(Job.id == lease.job_id)
        .values(
            first_step_at=sa.func.coalesce(Job.first_step_at, utc_now()),
            progress=protocol.as_json(event),
        )
    )


def epoch(session: Session, lease: Lease, event: protocol.Epoch) -> dict[str, Any]:
    """Record a finished epoch, and bring the job's figures up to date.

    Raises:
        LeaseLost: see `shared.jobs.hold`.

    Returns:
        The job's changed figures.
    """
    hold(session, lease)
    values = event.model_dump(exclude={"event", "replayed"})
    values |= {"job_id": lease.job_id, "attempt": lease.attempt, "recorded_at": utc_now()}
    _upsert(session, Epoch, ["job_id", "epoch"], values, replace=not event.replayed)
    figures = _figures(session, lease.job_id, event)
    session.execute(sa.update(Job).where(Job.id == lease.job_id).values(**figures))
    return figures


def gauges(session: Session, lease: Lease, points: Sequence[Point]) -> float:
    """Record what was measured, and make all of the job's points fewer if they are too many.

    Raises:
        LeaseLost: see `shared.jobs.hold`.

    Returns:
        The span in seconds that the attempt's next points shall have.
    """
    hold(session, lease)
    for point in points:
        values = {"job_id": lease.job_id, **asdict(point)}
        _upsert(session, Gauge, ["job_id", "attempt", "second"], values, replace=True)
    kept = _points(session, lease.job_id)
    if len(kept) > MAX_POINTS:
        kept = halve(kept)
        session.execute(sa.delete(Gauge).where(Gauge.job_id == lease.job_id))
        session.execute(
            sa.insert(Gauge), [{"job_id": lease.job_id, **asdict(point)} for point in kept]
        )
    return usual_span_seconds(kept)


def artifact(
    session: Session, lease: Lease, event: protocol.Artifact | protocol.Checkpoint, path: str
) -> None:
    """Record a file that now lies in the artifact store.

    Args:
        session: a writing session.
        lease: the attempt's.
        event: what the trainer said of it.
        path: where it lies in the store.

    Raises:
        LeaseLost: see `shared.jobs.hold`.
    """
    hold(session, lease)
    values = {
        "job_id": lease.job_id,
        "attempt": lease.attempt,
        "path": path,
        "bytes": event.bytes,
        "sha256": event.sha256,
        "created_at": utc_now(),
    }
    if isinstance(event, protocol.Checkpoint):
        values |= {
            "name": f"checkpoints/{event.path.name}",
            "kind": "checkpoint",
            "media_type": "application/octet-stream",
            "epoch": event.epoch,
            "step": event.step,
        }
    else:
        values |= {"name": event.name, "kind": event.kind, "media_type": event.media_type}
    _upsert(session, Artifact, ["job_id", "name"], values, replace=True)


def forget_artifacts(session: Session, lease: Lease, names: list[str]) -> None:
    """Delete the rows of files that are about to be deleted.

    Raises:
        LeaseLost: see `shared.jobs.hold`.
    """
    hold(session, lease)
    session.execute(
        sa.delete(Artifact).where(Artifact.job_id == lease.job_id, Artifact.name.in_(names))
    )


def checkpoints(session: Session, job_id: int) -> list[Artifact]:
    """Return the rows of a job's checkpoints, best first."""
    return list(
        session.scalars(
            sa.select(Artifact)
            .where(Artifact.job_id == job_id, Artifact.kind == "checkpoint")
            .order_by(Artifact.epoch.desc(), Artifact.step.desc(), Artifact.id.desc())
        )
    )


def forget_checkpoints_after(session: Session, lease: Lease, epoch: int, step: int) -> list[str]:
    """Forget the checkpoints further on than where an attempt starts: it could not use them.

    Left alone they would count as the newest, and push the good ones out.

    Raises:
        LeaseLost: see `shared.jobs.hold`.

    Returns:
        Paths of their files in the artifact store.
    """
    rows = checkpoints(session, lease.job_id)
    useless = [row for row in rows if (row.epoch or 0, row.step or 0) > (epoch, step)]
    forget_artifacts(session, lease, [row.name for row in useless])
    return [row.path for row in useless]


def thin(curve: list[Any]) -> list[Any]:
    """Halve a curve that has grown too long, keeping its first and last point."""
    if len(curve) <= MAX_CURVE_POINTS:
        return curve
    last = curve[-1:]
    return curve[:-1:2] + last


def _points(session: Session, job_id: int) -> list[Point]:
    columns = [getattr(Gauge, field.name) for field in fields(Point)]
    rows = session.execute(
        sa.select(*columns).where(Gauge.job_id == job_id).order_by(Gauge.attempt, Gauge.second)
    )
    return [Point(*row) for row in rows]


def _figures(session: Session, job_id: int, event: protocol.Epoch) -> dict[str, Any]:
    best = session.execute(
        sa.select(Epoch.eval_accuracy, Epoch.epoch)
        .where(Epoch.job_id == job_id)
        .order_by(Epoch.eval_accuracy.desc(), Epoch.epoch)
        .limit(1)
    ).one()
    last = session.execute(
        sa.select(Epoch).where(Epoch.job_id == job_id).order_by(Epoch.epoch.desc()).limit(1)
    ).scalar_one()
    curve = session.scalars(sa.select(Job.curve).where(Job.id == job_id)).one()
    curve = [point for point in curve if point[0] < event.epoch]
    curve.append([event.epoch, round(event.train_accuracy, 5), round(event.eval_accuracy, 5)])
    return {
        "epochs_done": last.epoch,
        "best_eval_accuracy": best.eval_accuracy,
        "best_epoch": best.epoch,
        "final_train_accuracy": last.train_accuracy,
        "final_eval_accuracy": last.eval_accuracy,
        "final_eval_loss": last.eval_loss,
        "curve": thin(curve),
    }


def _update_attempt(session: Session, lease: Lease, **values: Any) -> None:
    session.execute(
        sa.update(Attempt)
        .where(Attempt.job_id == lease.job_id, Attempt.number == lease.attempt)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def _upsert(
    session: Session, table: type[Base], key: list[str], values: dict[str, Any], *, replace: bool
) -> None:
    dialect = session.get_bind().dialect.name
    insert = (postgresql if dialect == "postgresql" else sqlite).insert(table).values(**values)
    if replace:
        changes = {name: value for name, value in values.items() if name not in key}
        statement: Any = insert.on_conflict_do_update(index_elements=key, set_=changes)
    else:
        statement = insert.on_conflict_do_nothing(index_elements=key)
    session.execute(statement)

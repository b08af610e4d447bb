"""Everything the job page shows of one job.

Owns how much of a long job is shown: a curve and a table of many thousand epochs are thinned, so
that the page stays small. Must not change anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared import jobs, records
from shared.gauges import FIGURES
from shared.models import Artifact, Attempt, Epoch, Gauge, JobEvent, Status
from shared.spec.presets import PRESETS
from shared.waiting import Wait
from web.forms import as_data
from web.hyperparameters import SpecRow, spec_rows
from web.ribbon import Ribbon

MAX_CURVE_POINTS = 400
MAX_TABLE_ROWS = 100
MAX_EVENTS = 200
# What `job.js` reads of an epoch, in this order.
_CURVE_FIELDS = (
    "epoch",
    "train_accuracy",
    "eval_accuracy",
    "train_loss",
    "eval_loss",
    "learning_rate",
    "seconds",
)
# What `gauges.js` reads of a point, in this order.
_GAUGE_FIELDS = ("attempt", "second", *FIGURES)
# What `job.js` reads of the job.
_JOB_FIELDS = (
    "id",
    "status",
    "progress",
    "epochs_total",
    "name",
    "tags",
    "priority",
    "queue",
    "cancel_requested_at",
    "pause_requested_at",
    "attempt",
    "first_step_at",
)
_SIGNIFICANT_DIGITS = 6
_GAUGE_DIGITS = 4


@dataclass(frozen=True)
class Dossier:
    """One job with all that belongs to it.

    Attributes:
        job: see `shared.records.job_detail`.
        wait: why it waits; None if it does not.
        epochs: all of them, ascending.
        gauges: what was measured, by attempt and time.
        attempts: rows, in order.
        ribbon: the same, laid out in time; None before the first.
        events: the newest first.
        artifacts: by name, checkpoints last.
    """

    job: dict[str, Any]
    wait: Wait | None
    epochs: list[dict[str, Any]]
    gauges: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    ribbon: Ribbon | None
    events: list[dict[str, Any]]
    artifacts: list[dict[str, Any]]

    @classmethod
    def load(
        cls, session: Session, job_id: int, explain: Callable[..., dict[int, Wait]]
    ) -> Dossier:
        """Read a job.

        Args:
            session: for reading.
            job_id: the job.
            explain: tells why jobs wait; asked only if this one does.

        Raises:
            NotFound: there is no such job.
        """
        job = jobs.get(session, job_id)
        epochs = sa.select(Epoch).where(Epoch.job_id == job_id).order_by(Epoch.epoch)
        gauges = (
            sa.select(Gauge).where(Gauge.job_id == job_id).order_by(Gauge.attempt, Gauge.second)
        )
        attempts = sa.select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.number)
        newest = sa.select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.id.desc())
        artifacts = (
            sa.select(Artifact)
            .where(Artifact.job_id == job_id)
            .order_by(Artifact.kind == "checkpoint", Artifact.name)
        )
        detail = records.job_detail(job)
        tries = [records.attempt_row(row) for row in session.scalars(attempts)]
        events = [records.event_row(row) for row in session.scalars(newest.limit(MAX_EVENTS))]
        return cls(
            job=detail,
            wait=explain(also=job_id).get(job_id) if job.status is Status.QUEUED else None,
            epochs=[records.epoch_row(row) for row in session.scalars(epochs)],
            gauges=[records.gauge_row(row) for row in session.scalars(gauges)],
            attempts=tries,
            ribbon=Ribbon.lay_out(detail, tries, events, datetime.now(UTC)),
            events=events,
            artifacts=[records.artifact_row(row) for row in session.scalars(artifacts)],
        )

    @property
    def table(self) -> list[dict[str, Any]]:
        """The epochs that the table shows, the newest first."""
        return thinned(self.epochs, MAX_TABLE_ROWS, keep=self.job["best_epoch"])[::-1]

    @property
    def spec(self) -> dict[str, list[SpecRow]]:
        """The hyperparameters by section, each marked when it differs from the preset's."""
        preset = PRESETS.get(self.job["preset"] or "")
        base = preset.spec.model_dump(mode="json") if preset else None
        rows = spec_rows(self.job["spec"], base)
        return {title: list(found) for title, found in groupby(rows, key=lambda row: row.section)}

    @property
    def _starts(self) -> list[tuple[int, float]]:
        """The attempts that trained, each with the epochs that were done when it began."""
        steps = (self.job["run_info"] or {}).get("steps_per_epoch") or 1
        return [
            (row["number"], round(row["started_epoch"] - 1 + row["started_step"] / steps, 3))
            for row in self.attempts
            if row["started_epoch"] is not None and row["first_step_at"] is not None
        ]

    @property
    def images_per_second(self) -> float | None:
        """The speed of training: of the running epoch, or else of the last one."""
        progress = self.job["progress"] or {}
        running = progress.get("images_per_second") if self.job["status"] == "running" else None
        if running is None and self.epochs:
            running = self.epochs[-1]["images_per_second"]
        return running

    @property
    def data(self) -> str:
        """What `job.js` starts from, as JSON."""
        chosen = thinned(self.epochs, MAX_CURVE_POINTS, keep=self.job["best_epoch"])
        return as_data(
            {
                **{name: self.job[name] for name in _JOB_FIELDS},
                "starts": self._starts,
                "fields": _CURVE_FIELDS,
                "epochs": [[_short(row[name]) for name in _CURVE_FIELDS] for row in chosen],
                "gauge_fields": _GAUGE_FIELDS,
                "gauges": [
                    [row["attempt"], row["second"], *(_coarse(row[name]) for name in FIGURES)]
                    for row in self.gauges
                ],
            }
        )


def thinned(
    rows: list[dict[str, Any]], most: int, *, keep: int | None = None
) -> list[dict[str, Any]]:
    """Leave rows out evenly until about `most` are left; the last and epoch `keep` stay."""
    step = -(-len(rows) // most)
    if step <= 1:
        return rows
    last = len(rows) - 1
    return [
        row
        for index, row in enumerate(rows)
        if (last - index) % step == 0 or row["epoch"] == keep or index == 0
    ]


def _coarse(value: float | None) -> float | None:
    """Round to what a small curve can show."""
    return None if value is None else float(f"{value:.{_GAUGE_DIGITS}g}")


def _short(value: float | None) -> float | None:
    """Round to what a screen can show; NaN, which JSON has no word for, is nothing."""
    if value is None or isinstance(value, int):
        return value
    return float(f"{value:.{_SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None

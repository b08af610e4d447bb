"""Rows as JSON: the one shape that API, live channel and pages share.

Times are ISO 8601 in UTC with a `Z`; accuracies are shares from 0 to 1.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from shared import doctor, reproduce
from shared.models import (
    Artifact,
    Attempt,
    Base,
    Dataset,
    DatasetVersion,
    Epoch,
    Gauge,
    Import,
    Job,
    JobEvent,
    Preflight,
    Worker,
)

_ITEM = [
    "id",
    "name",
    "status",
    "preset",
    "tags",
    "priority",
    "parent_id",
    "queue",
    "model",
    "dataset",
    "dataset_version",
    "optimizer",
    "schedule",
    "learning_rate",
    "batch_size",
    "epochs_total",
    "epochs_done",
    "best_eval_accuracy",
    "best_epoch",
    "final_train_accuracy",
    "final_eval_accuracy",
    "final_eval_loss",
    "test_accuracy",
    "submitted_at",
    "queued_at",
    "claimed_at",
    "first_step_at",
    "finished_at",
    "duration_seconds",
    "cancel_requested_at",
    "pause_requested_at",
    "attempt",
    "crashes",
    "lost_seconds",
    "progress",
    "failure",
    "outcome_detail",
    "curve",
]
_DETAIL = [*_ITEM, "spec", "run_info", "result", "max_attempts", "gpus"]
_EPOCH = [
    "epoch",
    "attempt",
    "train_accuracy",
    "train_loss",
    "eval_accuracy",
    "eval_loss",
    "learning_rate",
    "seconds",
    "images_per_second",
    "recorded_at",
    "extra",
]
_PREFLIGHT = [
    "id",
    "status",
    "spec",
    "requested_at",
    "finished_at",
    "worker",
    "progress",
    "report",
    "failure",
]
_IMPORT = [
    "id",
    "status",
    "name",
    "request",
    "actor",
    "requested_at",
    "finished_at",
    "worker",
    "progress",
    "report",
    "failure",
]
_GAUGE = [
    "attempt",
    "second",
    "span_seconds",
    "cpu_percent",
    "memory_bytes",
    "gpu_percent",
    "gpu_memory_bytes",
    "gpu_celsius",
    "gpu_watts",
]
_EVENT = [
    "id",
    "attempt",
    "at",
    "kind",
    "actor",
    "message",
    "data",
]
_ATTEMPT = [
    "number",
    "worker",
    "slot",
    "device",
    "claimed_at",
    "heartbeat_at",
    "first_step_at",
    "ended_at",
    "outcome",
    "detail",
    "started_epoch",
    "started_step",
    "lost_seconds",
]
_ARTIFACT = [
    "name",
    "kind",
    "media_type",
    "bytes",
    "sha256",
    "attempt",
    "epoch",
    "step",
    "created_at",
]
_WORKER = [
    "name",
    "hostname",
    "pid",
    "queues",
    "slots",
    "info",
    "started_at",
    "heartbeat_at",
    "stopped_at",
    "drain_requested_at",
    "drain_reason",
]
_VERSION = [
    "version",
    "train_images",
    "test_images",
    "height",
    "width",
    "channels",
    "classes",
    "created_at",
]


def iso(value: datetime) -> str:
    """Return an aware time as ISO 8601 in UTC with milliseconds and a `Z`."""
    text = value.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _pick(row: Base, names: list[str]) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in names}
    return {
        name: iso(value) if isinstance(value, datetime) else value for name, value in values.items()
    }


def job_item(job: Job) -> dict[str, Any]:
    """Return a job as lists show it."""
    return _pick(job, _ITEM)


def job_detail(job: Job) -> dict[str, Any]:
    """Return a job with its spec, its run's facts, its result, and how to go on from there."""
    correction = doctor.correct(job.failure["kind"], job.spec) if job.failure else None
    return _pick(job, _DETAIL) | {
        "correction": correction and correction.as_dict(),
        "reproduce": reproduce.commands(job.id, job.name, job.preset, job.spec),
    }


def epoch_row(epoch: Epoch) -> dict[str, Any]:
    """Return an epoch's figures."""
    return _pick(epoch, _EPOCH)


def gauge_row(gauge: Gauge) -> dict[str, Any]:
    """Return what was measured over a stretch of an attempt."""
    return _pick(gauge, _GAUGE)


def event_row(event: JobEvent) -> dict[str, Any]:
    """Return one thing that happened to a job."""
    return _pick(event, _EVENT)


def attempt_row(attempt: Attempt) -> dict[str, Any]:
    """Return an attempt, without its lease token."""
    return _pick(attempt, _ATTEMPT)


def artifact_row(artifact: Artifact) -> dict[str, Any]:
    """Return what is known of a job's file."""
    return _pick(artifact, _ARTIFACT)


def preflight_row(preflight: Preflight) -> dict[str, Any]:
    """Return a pre-flight."""
    return _pick(preflight, _PREFLIGHT)


def import_row(row: Import, waiting: str | None = None) -> dict[str, Any]:
    """Return an import, its files without their places in the store.

    Args:
        row: the import.
        waiting: why no worker has taken it yet, if it waits.
    """
    files = [{key: file[key] for key in ("name", "part", "bytes", "sha256")} for file in row.files]
    return _pick(row, _IMPORT) | {"files": files, "waiting": waiting}


def worker_row(worker: Worker) -> dict[str, Any]:
    """Return a worker as it last reported."""
    return _pick(worker, _WORKER)


def dataset_row(dataset: Dataset, newest: DatasetVersion) -> dict[str, Any]:
    """Return a data set with its newest version."""
    return {
        "name": dataset.name,
        "title": dataset.title,
        "description": dataset.description,
        "attribution": dataset.attribution,
        **_pick(newest, _VERSION),
    }

"""The files that a seeded job has left: like a trainer's, but made up."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
import tempfile
from pathlib import Path

from sqlalchemy.orm import Session

from shared.artifacts import ArtifactStore
from shared.models import Artifact, Job

_CLASSES = 10
_IMAGES = 1000  # of each class


def add_artifacts(session: Session, store: ArtifactStore, job: Job) -> None:
    """Store a finished job's files, and enter them."""
    files = {
        "confusion_matrix.json": ("confusion_matrix", "application/json", _confusion(job)),
        "history.csv": ("history", "text/csv", _history(job)),
        "model.keras": ("model", "application/octet-stream", b"k" * 180_000),
        "model.tflite": ("litert", "application/octet-stream", b"t" * 60_000),
        "log-1.txt": ("log", "text/plain", _log(job)),
    }
    for name, (kind, media_type, content) in files.items():
        path = f"jobs/{job.id}/{name}"
        _put(store, path, content)
        row = Artifact(job_id=job.id, attempt=job.attempt, name=name, kind=kind, path=path)
        row.media_type, row.bytes = media_type, len(content)
        row.sha256 = hashlib.sha256(content).hexdigest()
        row.created_at = job.finished_at or job.submitted_at
        session.add(row)


def _put(store: ArtifactStore, path: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / "file"
        local.write_bytes(content)
        store.put(local, path)


def _confusion(job: Job) -> bytes:
    dice = random.Random(job.id)
    wrong = round(_IMAGES * (1 - (job.final_eval_accuracy or 0.9)))
    matrix = [[0] * _CLASSES for _ in range(_CLASSES)]
    for label, row in enumerate(matrix):
        for _ in range(wrong):
            likely = [(label + 4) % _CLASSES, (label + 5) % _CLASSES, dice.randrange(_CLASSES)]
            row[dice.choice(likely)] += 1
        row[label] += _IMAGES - wrong
    classes = [str(label) for label in range(_CLASSES)]
    return json.dumps({"classes": classes, "matrix": matrix}).encode()


def _history(job: Job) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([["epoch", "train_accuracy", "eval_accuracy"], *job.curve])
    return text.getvalue().encode()


def _log(job: Job) -> bytes:
    lines = [f"epoch {epoch:>2}  eval_accuracy {accuracy:.4f}" for epoch, _, accuracy in job.curve]
    return "\n".join(["Built the model.", *lines, "Wrote the artifacts.\n"]).encode()

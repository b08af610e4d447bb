"""The failure doctor: what went wrong with a job, and a spec that may go better.

Knows the kinds of failure and nothing of how they are found: the trainer, the supervisor and the
scheduler state kind and evidence.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from shared.spec.job import MOST_SECONDS

TITLES = {
    "out_of_memory": "Out of memory",
    "diverged": "Training diverged",
    "data": "Something is wrong with the data",
    "model": "The model cannot be built",
    "lost": "Its workers were lost too often",
    "timeout": "It ran out of time",
    "internal": "The trainer broke",
}


@dataclass(frozen=True)
class Correction:
    """A changed re-run.

    Attributes:
        label: words for the button.
        changes: a partial spec, for `POST /api/v1/jobs/{id}/retry`; empty: the same again.
    """

    label: str
    changes: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return it JSON-compatible."""
        return asdict(self)


def correct(kind: str, spec: dict[str, Any]) -> Correction | None:
    """Return the re-run that the doctor prescribes for a failed job.

    Args:
        kind: the failure's kind.
        spec: the job's spec, as JSON.

    Returns:
        None where only a person can help.
    """
    match kind:
        case "out_of_memory":
            return _half_the_batch(spec)
        case "diverged":
            return _tenth_of_the_rate(spec)
        case "timeout":
            return _twice_the_time(spec)
        case "lost" | "internal":
            return Correction("Run the same again", {})
    return None


def _half_the_batch(spec: dict[str, Any]) -> Correction | None:
    half = spec["batch_size"] // 2
    if half < max(1, spec["resources"]["gpus"]):
        return None
    return Correction(f"Run again with half the batch: {half}", {"batch_size": half})


def _tenth_of_the_rate(spec: dict[str, Any]) -> Correction:
    rate = float(f"{spec['learning_rate'] / 10:.4g}")
    changes: dict[str, Any] = {"learning_rate": rate}
    if spec["schedule"].get("min_rate", 0) > rate:
        changes["schedule"] = spec["schedule"] | {"min_rate": rate}
    return Correction(f"Run again with a tenth of the learning rate: {rate:g}", changes)


def _twice_the_time(spec: dict[str, Any]) -> Correction | None:
    limit = spec["resources"]["max_runtime_seconds"]
    if limit is None or 2 * limit > MOST_SECONDS:
        return None
    label = f"Run again with twice the time: {2 * limit:,.12g} s"
    return Correction(label, {"resources": {"max_runtime_seconds": 2 * limit}})

"""The commands that train a job again, exactly."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

from shared.spec.job import JobSpec
from shared.spec.presets import PRESETS


def commands(job_id: int, name: str, preset: str | None, spec: dict[str, Any]) -> dict[str, str]:
    """Return how to train a job again.

    Args:
        job_id: its number.
        name: its name.
        preset: what it was made from, if that still exists.
        spec: its whole spec, seed and version of the data included.

    Returns:
        `retry`, for the yard that holds the job; `submit`, for any yard that has the data.
    """
    known = PRESETS.get(preset or "")
    base = (known.spec if known else JobSpec()).model_dump(mode="json")
    words = ["trainyard", "submit"]
    words += ["--preset", preset] if known and preset else []
    words += ["--name", name]
    for path, value in differences(base, spec):
        words += ["--set", f"{path}={_text(value)}"]
    return {"retry": f"trainyard retry {job_id}", "submit": shlex.join(words)}


def differences(
    base: dict[str, Any], spec: dict[str, Any], at: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yield path and value of what `spec` sets otherwise than `base`.

    A part of another kind is given whole, since nothing of the old kind holds for it.
    """
    for key, value in spec.items():
        old, path = base.get(key), f"{at}{key}"
        if isinstance(value, dict) and isinstance(old, dict):
            same_kind = old.get("kind") == value.get("kind")
            yield from differences(old if same_kind else {}, value, f"{path}.")
        elif key not in base or old != value:
            yield path, value


def _text(value: Any) -> str:
    """Write a value as `--set` reads it: JSON, or a plain string where that is no JSON."""
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except ValueError:
        return value
    return json.dumps(value)

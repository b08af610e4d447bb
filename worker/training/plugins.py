"""Models of one's own code, found by the entry-point group `trainyard.models`.

Only here, in the trainer, is that code imported. docs/models.md tells how to write one.
"""

from __future__ import annotations

import traceback
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from shared.spec.models import Plugin
from worker.training.failures import JobFailure

GROUP = "trainyard.models"


def build(model: Plugin, x: Any) -> Any:
    """Lay a plugin's model over `x`, float [N, H, W, C].

    Returns:
        What it returned, float [N, F].

    Raises:
        JobFailure: there is no such plugin here, its code failed, or it returned something else.
    """
    entry = _find(model.name)
    try:
        features = entry.load()(x, **model.parameters)
    except Exception as error:
        traceback.print_exc()  # the plugin's author needs the lines; the job's log shows them
        raise _failure(
            f"The code of the model {model.name!r} failed: {type(error).__name__}: {error}",
            "Read the job's log; it shows the lines of the plugin that failed.",
        ) from error
    shape = getattr(features, "shape", None)
    if shape is None or len(shape) != 2 or shape[1] is None:
        raise _failure(
            f"The model {model.name!r} must return a tensor of the shape [N, F]. "
            f"Received: {type(features).__name__} of the shape {shape}.",
            "Let the plugin end in Flatten or a global pooling layer.",
        )
    return features


def _find(name: str) -> EntryPoint:
    found = entry_points(group=GROUP)
    if name in found.names:
        return found[name]
    installed = ", ".join(sorted(found.names)) or "none"
    raise _failure(
        f"There is no model {name!r} on this worker. Installed: {installed}.",
        "Install the package that has it beside the worker and start the worker anew, "
        "or choose one that is installed.",
    )


def _failure(evidence: str, suggestion: str) -> JobFailure:
    return JobFailure("model", evidence=evidence, suggestion=suggestion)

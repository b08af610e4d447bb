"""Why a job cannot go on, in the words that its submitter reads.

Owns the mapping from exceptions to `Failed` events. Only what is the job's own fault, or nobody's,
comes here; a lost machine is the supervisor's to tell.
"""

from __future__ import annotations

from typing import Literal

from shared.errors import InvalidInput, TrainyardError
from shared.protocol import Failed

Kind = Literal["out_of_memory", "diverged", "data", "model", "internal"]

_MAX_EVIDENCE_CHARACTERS = 500

_LESS_MEMORY = (
    "Halve the batch size, or choose a smaller model; a pre-flight finds the largest batch "
    "that fits."
)
# What TensorFlow says, in errors of other kinds, of a GPU that is full.
_GPU_IS_FULL = ("cuda_error_out_of_memory", "dst tensor is not initialized", "failed to allocate")
_REPORT = "Read the log; if nothing there explains it, report it with the log attached."


class JobFailure(TrainyardError):
    """The job itself cannot go on.

    Args:
        kind: one of the kinds of `shared.protocol.Failed`.
        evidence: the line that shows it.
        suggestion: what the submitter could try.
    """

    def __init__(self, kind: Kind, *, evidence: str, suggestion: str) -> None:
        super().__init__(evidence)
        self.kind = kind
        self.evidence = evidence
        self.suggestion = suggestion


def bad_data(evidence: str) -> JobFailure:
    """Build the failure of a data folder that does not hold what the layout promises."""
    return JobFailure(
        "data", evidence=evidence, suggestion="Import the data set again, or choose another."
    )


def diverged(*, epoch: int, step: int, learning_rate: float) -> JobFailure:
    """Build the failure of a loss that is no longer a finite number."""
    return JobFailure(
        "diverged",
        evidence=f"The loss was not a finite number in epoch {epoch}, step {step}, "
        f"at a learning rate of {learning_rate:g}.",
        suggestion=f"Lower the learning rate, for example to {learning_rate / 10:g}, "
        "or scale the pixels to 0 to 1.",
    )


def describe(error: BaseException) -> Failed:
    """Return the event that tells of an exception."""
    import tensorflow as tf

    if isinstance(error, JobFailure):
        return Failed(kind=error.kind, evidence=error.evidence, suggestion=error.suggestion)
    if isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError)) or (
        isinstance(error, tf.errors.InternalError)
        and any(words in str(error).lower() for words in _GPU_IS_FULL)
    ):
        return Failed(kind="out_of_memory", evidence=_line(error), suggestion=_LESS_MEMORY)
    if isinstance(error, InvalidInput):
        return Failed(
            kind="data", evidence=_line(error), suggestion="Change the field that is named."
        )
    return Failed(kind="internal", evidence=_line(error), suggestion=_REPORT)


def _line(error: BaseException) -> str:
    """Return the exception as a single, bounded line."""
    text = " ".join(str(error).split())
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return line[:_MAX_EVIDENCE_CHARACTERS]

"""The job's log: what a person wants to read of each event, in a line or a few.

Pure functions of the events; where the lines go is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.protocol import (
    Epoch,
    Event,
    Failed,
    Finished,
    Measured,
    Measuring,
    Started,
    Stopped,
)
from shared.spec.job import JobSpec


def narrate(event: Event, spec: JobSpec) -> list[str]:
    """Return the lines that tell of an event; none for those that come every second.

    Args:
        event: what is reported.
        spec: the job's spec.
    """
    tell = _TELL.get(type(event))
    return tell(event, spec) if tell else []


def _started(event: Started, spec: JobSpec) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in event.versions.items())
    processor = f"{event.machine.processor}, {event.machine.intra_op_threads} threads"
    lines = [
        f"On {event.device} in {event.precision}, with {versions}.",
        f"Processor: {processor}; seed {event.seed}.",
        f"Data: {spec.dataset.name}, {event.train_images:,} images to train on.",
        f"Steps an epoch: {event.steps_per_epoch:,}; images to evaluate on: {event.eval_images:,}.",
        f"Model: {spec.model.kind}, {event.parameters:,} parameters.",
    ]
    for name, reason in event.rejected_checkpoints.items():
        lines.append(f"Checkpoint {name} is of no use: {reason}")
    if event.resumed_from is not None:
        lines.append(
            f"Resumed from {event.resumed_from}: {event.step:,} steps of epoch {event.epoch} "
            "are done."
        )
    return lines


def _epoch(event: Epoch, spec: JobSpec) -> list[str]:
    if event.replayed:
        return []
    line = (
        f"Epoch {event.epoch}/{spec.epochs}: "
        f"training accuracy {event.train_accuracy:.4f}, loss {event.train_loss:.4f}; "
        f"evaluation accuracy {event.eval_accuracy:.4f}, loss {event.eval_loss:.4f}; "
        f"learning rate {event.learning_rate:g}; {event.seconds:.1f} s."
    )
    return [line]


def _finished(event: Finished, spec: JobSpec) -> list[str]:
    return [
        event.detail,
        f"Best evaluation: epoch {event.best_epoch}. Weights kept: epoch {event.weights_epoch}.",
        f"Test accuracy {event.test_accuracy:.4f}, loss {event.test_loss:.4f}.",
    ]


def _stopped(event: Stopped, spec: JobSpec) -> list[str]:
    return [f"Stopped on request: {event.step:,} steps of epoch {event.epoch} are saved."]


def _failed(event: Failed, spec: JobSpec) -> list[str]:
    return [f"Failed ({event.kind}): {event.evidence}", event.suggestion]


def _measuring(event: Measuring, spec: JobSpec) -> list[str]:
    return [f"{event.doing}."]


def _measured(event: Measured, spec: JobSpec) -> list[str]:
    lines = [f"On {event.device} in {event.precision}."]
    if event.epoch_seconds is not None and event.memory_bytes is not None:
        lines.append(
            f"An epoch takes {event.epoch_seconds:.1f} s, and training "
            f"{event.memory_bytes >> 20:,} MiB of {event.memory_limit_bytes >> 20:,} MiB."
        )
    else:
        lines.append(f"Batches of {spec.batch_size:,} do not fit.")
    return [*lines, f"Largest batch that fits: {event.largest_batch:,}."]


_TELL: dict[type[Event], Callable[[Any, JobSpec], list[str]]] = {
    Started: _started,
    Epoch: _epoch,
    Finished: _finished,
    Stopped: _stopped,
    Failed: _failed,
    Measuring: _measuring,
    Measured: _measured,
}

"""Checkpoints: everything that a killed job needs to go on as if nothing had happened.

One `.npz` file each, without pickled objects:
- `meta`: JSON as uint8: format, the spec, version of the data set, the precision computed in
  (which `auto` leaves open), position (`epoch`, `step`), the epoch's running sums and seconds,
  and all finished epochs, from which early stopping and the schedule `plateau` decide anew;
- `model.<n>`: the model's variables in Keras's order, seed generators of dropout among them;
- `optimizer.<n>`: the optimizer's variables;
- `best.<n>`: variables of the best epoch, if the job ends with those.

A file appears by one rename, complete and flushed to disk; whoever sees it can use it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.protocol import Checkpoint, Epoch
from shared.spec.job import JobSpec

Arrays = list[npt.NDArray[Any]]

_FORMAT = 2
_KEEP = 2


@dataclass
class Position:
    """Where training is.

    Attributes:
        epoch: epoch in progress, from 1; one past the last when training is over.
        step: steps of it done.
        loss, correct, images: running sums over those steps, see `worker.training.graph.Totals`.
        train_seconds, eval_seconds: time spent on this epoch so far, over all attempts.
    """

    epoch: int = 1
    step: int = 0
    loss: float = 0.0
    correct: int = 0
    images: int = 0
    train_seconds: float = 0.0
    eval_seconds: float = 0.0


@dataclass
class State:
    """A job between two steps.

    Attributes:
        position: where it is.
        precision: what it computes in; never `auto`.
        history: the finished epochs.
        model, optimizer: values of their variables.
        best: the model's variables at the best epoch; None if not kept, or no epoch is over.
    """

    position: Position
    precision: str
    history: list[Epoch]
    model: Arrays
    optimizer: Arrays
    best: Arrays | None = None


class Unusable(Exception):
    """A checkpoint cannot be resumed from; the message says why."""


def read(path: Path, spec: JobSpec, dataset_version: str) -> State:
    """Read a checkpoint of this job.

    Raises:
        Unusable: it is damaged, or of another job.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as members:
            arrays = {name: members[name] for name in members.files}
        meta = json.loads(arrays.pop("meta").tobytes())
        _check(meta, spec, dataset_version)
        return State(
            position=Position(**meta["position"]),
            precision=str(meta["precision"]),
            history=[Epoch.model_validate(epoch) for epoch in meta["history"]],
            model=_part(arrays, "model"),
            optimizer=_part(arrays, "optimizer"),
            best=_part(arrays, "best") or None,
        )
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise Unusable(f"It cannot be read: {type(error).__name__}: {error}") from error


def write(path: Path, state: State, spec: JobSpec, dataset_version: str) -> None:
    """Write a checkpoint, all or nothing.

    Raises:
        OSError: it could not be written; nothing is left of it.
    """
    meta = {
        "format": _FORMAT,
        "spec": spec.model_dump(mode="json"),
        "dataset": dataset_version,
        "precision": state.precision,
        "position": asdict(state.position),
        "history": [epoch.model_dump(mode="json") for epoch in state.history],
    }
    arrays: dict[str, Any] = {"meta": np.frombuffer(json.dumps(meta).encode(), np.uint8)}
    for part in ("model", "optimizer", "best"):
        for index, array in enumerate(getattr(state, part) or []):
            arrays[f"{part}.{index}"] = array
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    _sync(path.parent)


@dataclass
class Writer:
    """Writes a job's checkpoints in a thread, one at a time, and keeps the two newest.

    Args:
        folder: where they go; made if missing.
        spec, dataset_version: what they belong to.
        announce: called from the thread with each checkpoint written.

    Attributes:
        newest: position of the newest checkpoint that is good.
    """

    folder: Path
    spec: JobSpec
    dataset_version: str
    announce: Callable[[Checkpoint], None]
    newest: Position = field(default_factory=Position)
    _good: list[Path] = field(default_factory=list)
    _thread: threading.Thread | None = None

    def take_over(self, path: Path, position: Position) -> None:
        """Count a checkpoint that was resumed from among the good ones."""
        self._good = [path]
        self.newest = position

    def submit(self, state: State) -> None:
        """Write `state` in the background, after what is being written now."""
        self.wait()
        self._thread = threading.Thread(target=self._write, args=(state,), name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Wait until nothing is being written."""
        if self._thread is not None:
            self._thread.join()

    def _write(self, state: State) -> None:
        position = state.position
        path = self.folder / f"epoch-{position.epoch:05d}-step-{position.step:08d}.npz"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write(path, state, self.spec, self.dataset_version)
            size, digest = path.stat().st_size, _digest(path)
        except OSError as error:
            print(f"No checkpoint, training goes on: {error}", file=sys.stderr, flush=True)
            return
        self.newest = position
        self._good = [*(item for item in self._good if item != path), path][-_KEEP:]
        _remove_all_but(self._good, self.folder)
        self.announce(
            Checkpoint(
                path=path, epoch=position.epoch, step=position.step, bytes=size, sha256=digest
            )
        )


def _check(meta: dict[str, Any], spec: JobSpec, dataset_version: str) -> None:
    for name, expected in (("format", _FORMAT), ("dataset", dataset_version)):
        if meta[name] != expected:
            raise Unusable(f"Its {name} is {meta[name]!r}, this job's is {expected!r}.")
    theirs, ours = _decisive(JobSpec.model_validate(meta["spec"])), _decisive(spec)
    if theirs != ours:
        changed = ", ".join(sorted(name for name in ours if theirs[name] != ours[name]))
        raise Unusable(f"It is of another spec: {changed} differ.")


def _decisive(spec: JobSpec) -> dict[str, Any]:
    """Return what decides a job's numbers: the spec without where it runs.

    The data set is compared by its version.
    """
    return spec.model_dump(exclude={"dataset", "resources"})


def _part(arrays: dict[str, npt.NDArray[Any]], part: str) -> Arrays:
    count = sum(name.startswith(f"{part}.") for name in arrays)
    return [arrays[f"{part}.{index}"] for index in range(count)]


def _remove_all_but(keep: list[Path], folder: Path) -> None:
    """Remove older checkpoints, and what a process that was killed left half-written."""
    for path in {*folder.glob("*.npz"), *folder.glob("*.partial")} - set(keep):
        path.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

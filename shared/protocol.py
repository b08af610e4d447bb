"""The JSON-lines protocol between a supervisor and the program that works for it.

Supervisor to trainer, on standard input: one `Run`, then at most one `Stop`; or one `Measure`.
To the reader of files (`worker.importing`): one `Read`, see `shared.reading`.
End of input means that the supervisor is gone: the program ends at once.
Back, on standard output: events, one JSON object a line. What the program and its libraries
print otherwise goes to standard error, which is the job's log.

Alone (`python -m worker.training < spec.json`) a trainer reads a bare `JobSpec` and writes the
same events.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from shared.message import Message
from shared.reading import Read, ReadDone, Reading, Refused
from shared.spec.job import JobSpec

# --- commands ---------------------------------------------------------------------------------


class Run(Message):
    """Train this spec; the first and only assignment of a trainer's life.

    Attributes:
        spec: the validated spec.
        dataset_dir: folder with `x_train.npy` (uint8 [N, H, W, C]), `y_train.npy` (int64 [N]),
            `x_test.npy`, `y_test.npy` and `dataset.json`.
        work_dir: existing folder where the trainer writes `checkpoints/` and `artifacts/`.
        checkpoints: checkpoint files to resume from, best first; the first valid one is used.
    """

    command: Literal["run"] = "run"
    spec: JobSpec
    dataset_dir: Path
    work_dir: Path
    checkpoints: list[Path] = Field(default_factory=list)


class Stop(Message):
    """Save a checkpoint as soon as possible, send `Stopped`, and exit."""

    command: Literal["stop"] = "stop"


class Measure(Message):
    """Find out what training this spec would take; train nothing.

    Attributes:
        spec, dataset_dir, work_dir: as in `Run`.
    """

    command: Literal["measure"] = "measure"
    spec: JobSpec
    dataset_dir: Path
    work_dir: Path


Assignment = Run | Measure
Command = Assignment | Read | Stop
COMMAND: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="command")])


# --- events -----------------------------------------------------------------------------------


class Ready(Message):
    """TensorFlow is imported; the trainer waits for its assignment."""

    event: Literal["ready"] = "ready"
    seconds: float
    versions: dict[str, str]


class Layer(Message):
    """One row of the model summary; `output_shape` is without the batch axis."""

    name: str
    kind: str
    output_shape: list[int]
    parameters: int


class Machine(Message):
    """What a run's numbers depend on beside its spec and versions.

    Attributes:
        processor: its model.
        cores: processor cores that the trainer may use.
        intra_op_threads: threads that share one operation; sums may depend on their number.
        inter_op_threads: operations that run at once.
        xla: whether XLA compiled part of the step.
    """

    processor: str
    cores: int
    intra_op_threads: int
    inter_op_threads: int
    xla: bool = False


class Started(Message):
    """The model is built and the data are in place.

    Attributes:
        versions: of all software that decides a run's numbers, by name.
        seed: what weights, order and dropout were drawn from.
        dataset_version: content hash of the data that were read.
        epoch, step: position that training starts from: epoch counts from 1, steps of that epoch
            already done; (1, 0) unless resumed.
        resumed_from: name of the checkpoint file, if any.
        rejected_checkpoints: name of each checkpoint that could not be used, and why.
    """

    event: Literal["started"] = "started"
    epoch: int
    step: int
    steps_per_epoch: int
    train_images: int
    eval_images: int
    parameters: int
    layers: list[Layer]
    device: str
    precision: str
    versions: dict[str, str]
    machine: Machine
    seed: int
    dataset_version: str
    resumed_from: str | None = None
    rejected_checkpoints: dict[str, str] = Field(default_factory=dict)


class Progress(Message):
    """Where training is, about once a second. The first one marks the first finished step.

    Attributes:
        phase: `train`, `evaluate` or `finish` (scoring and writing the artifacts).
        step: steps of this epoch done, of `steps`.
        train_accuracy, train_loss: running means over this epoch so far.
    """

    event: Literal["progress"] = "progress"
    phase: Literal["train", "evaluate", "finish"]
    epoch: int
    step: int
    steps: int
    train_accuracy: float | None = None
    train_loss: float | None = None
    learning_rate: float | None = None
    images_per_second: float | None = None


class Epoch(Message):
    """A finished epoch, one row of `epochs`.

    Attributes:
        seconds: time spent training and evaluating it, over all attempts that worked on it.
        images_per_second: training images a second of training time.
        replayed: sent again from a checkpoint's history; to be stored only where missing.
    """

    event: Literal["epoch"] = "epoch"
    epoch: int
    train_accuracy: float
    train_loss: float
    eval_accuracy: float
    eval_loss: float
    learning_rate: float
    seconds: float
    images_per_second: float
    replayed: bool = False


class Checkpoint(Message):
    """A complete checkpoint lies at `path`: `epoch`, `step` as in `Started`."""

    event: Literal["checkpoint"] = "checkpoint"
    path: Path
    epoch: int
    step: int
    bytes: int
    sha256: str


class Artifact(Message):
    """A complete file to publish lies at `path`.

    Attributes:
        kind: `model`, `litert`, `history`, `summary`, `confusion_matrix`.
    """

    event: Literal["artifact"] = "artifact"
    path: Path
    name: str
    kind: str
    media_type: str
    bytes: int
    sha256: str


class Finished(Message):
    """Training is over and every artifact is written.

    Attributes:
        reason: `epochs_done` or `early_stopped`.
        detail: the rule that stopped it, as a sentence, and what else its submitter should know.
        best_epoch: epoch whose evaluation accuracy is best, the first of equals.
        weights_epoch: epoch whose weights the model file holds.
        weights_sha256: hash over the final weights, for comparing runs.
        test_accuracy, test_loss: the model file's score on the test set.
    """

    event: Literal["finished"] = "finished"
    reason: Literal["epochs_done", "early_stopped"]
    detail: str
    best_epoch: int
    weights_epoch: int
    weights_sha256: str
    test_accuracy: float
    test_loss: float


class Stopped(Message):
    """Training was stopped on request; the newest checkpoint has its position."""

    event: Literal["stopped"] = "stopped"
    epoch: int
    step: int


class Failed(Message):
    """The job itself cannot go on.

    Attributes:
        kind: `out_of_memory`, `diverged`, `data`, `model` or `internal`.
        evidence: the line that shows it.
        suggestion: what to try, for the person who submitted the job.
    """

    event: Literal["failed"] = "failed"
    kind: Literal["out_of_memory", "diverged", "data", "model", "internal"]
    evidence: str
    suggestion: str


class Measuring(Message):
    """A pre-flight goes on.

    Attributes:
        doing: what is measured now, in a few words.
        share: part of the work that is done, 0 to 1; rough.
    """

    event: Literal["measuring"] = "measuring"
    doing: str
    share: float


class Probe(Message):
    """What training took at one batch size.

    Attributes:
        batch_size: images a step.
        step_seconds: a training step, without the first.
        images_per_second: images trained.
        memory_bytes: most memory held: of the process on a CPU, of the allocator on a GPU.
    """

    batch_size: int
    step_seconds: float
    images_per_second: float
    memory_bytes: int


class Findings(Message):
    """What training a spec would take, as a few steps of it showed; also what the API answers."""

    device: str = Field(description="What would train.")
    precision: str = Field(description="What it would train in.")
    train_images: int = Field(description="Images to train on in an epoch.")
    eval_images: int = Field(description="Images to evaluate on in an epoch.")
    steps_per_epoch: int = Field(description="Steps an epoch, a smaller last one included.")
    fits: bool = Field(description="Whether the batch fits; if not, the next five are null.")
    parameters: int | None = Field(description="Parameters of the model.")
    prepare_seconds: float | None = Field(description="Until the first step is done.")
    step_seconds: float | None = Field(description="A training step, without the first.")
    epoch_seconds: float | None = Field(description="An epoch: training and evaluation.")
    memory_bytes: int | None = Field(description="Most memory held, evaluation included.")
    memory_limit_bytes: int = Field(description="The memory that the job could take there.")
    largest_batch: int = Field(description="Largest batch that fits; 0: not even one image.")
    largest_batch_by: Literal["memory", "data"] = Field(
        description="What bounds it; data: all training images fit at once."
    )
    diverged_at: int | None = Field(description="Step whose loss was not finite; null: none.")
    probes: list[Probe] = Field(description="What was measured, by batch size, ascending.")


class Measured(Findings):
    """The result of a pre-flight."""

    event: Literal["measured"] = "measured"


Event = (
    Ready
    | Started
    | Progress
    | Epoch
    | Checkpoint
    | Artifact
    | Finished
    | Stopped
    | Failed
    | Measuring
    | Measured
    | Reading
    | ReadDone
    | Refused
)
EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def parse_event(line: str | bytes) -> Event:
    """Parse one line of a trainer's standard output.

    Raises:
        pydantic.ValidationError: the line is no event.
    """
    return EVENT.validate_json(line)


def parse_command(line: str | bytes) -> Command:
    """Parse one line of a trainer's standard input.

    Raises:
        pydantic.ValidationError: the line is no command.
    """
    return COMMAND.validate_json(line)


def as_json(event: Event) -> dict[str, Any]:
    """Return the event as a JSON-compatible dict."""
    return event.model_dump(mode="json")

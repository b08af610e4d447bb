"""The shapes of the API's answers, for its documentation; `shared.records` makes the values.

A test checks real answers against them.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from shared.models import Outcome, Status, TicketStatus
from shared.protocol import Findings
from shared.spec import JobSpec
from shared.spec.fields import SpecModel, spec_field
from shared.spec.job import MOST_GPUS, QUEUE_PATTERN

T = TypeVar("T")


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(extra="forbid")


class Listing(Answer, Generic[T]):
    """A page of a list; `next_cursor` is null on the last one."""

    items: list[T]
    next_cursor: str | None


class Failure(Answer):
    """Why a job failed, and what to try."""

    kind: str
    evidence: str
    suggestion: str


class Correction(Answer):
    """A corrected re-run: `changes` is a partial spec for `POST /jobs/{id}/retry`."""

    label: str
    changes: dict[str, Any]


class JobItem(Answer):
    """A job as lists show it. Accuracies are shares from 0 to 1."""

    id: int
    name: str
    status: Status
    preset: str | None
    tags: list[str]
    priority: int
    parent_id: int | None
    queue: str
    model: str
    dataset: str
    dataset_version: str
    optimizer: str
    schedule: str
    learning_rate: float
    batch_size: int
    epochs_total: int
    epochs_done: int
    best_eval_accuracy: float | None
    best_epoch: int | None
    final_train_accuracy: float | None
    final_eval_accuracy: float | None
    final_eval_loss: float | None
    test_accuracy: float | None
    submitted_at: AwareDatetime
    queued_at: AwareDatetime
    claimed_at: AwareDatetime | None
    first_step_at: AwareDatetime | None
    finished_at: AwareDatetime | None
    duration_seconds: float | None
    cancel_requested_at: AwareDatetime | None
    pause_requested_at: AwareDatetime | None
    attempt: int
    crashes: int
    lost_seconds: float
    progress: dict[str, Any] | None = Field(description="Where training is, once a second.")
    failure: Failure | None
    outcome_detail: str | None
    curve: list[tuple[int, float, float]] = Field(
        description="Epoch, train_accuracy and eval_accuracy, at most 64 points."
    )


class Reproduce(Answer):
    """The commands that train the job again, exactly."""

    retry: str = Field(description="In the yard that holds the job.")
    submit: str = Field(description="In any yard that has the data.")


class JobDetail(JobItem):
    """A job with its spec, the facts of its run, and its result."""

    spec: JobSpec
    run_info: dict[str, Any] | None = Field(
        description="Of the newest attempt: device, precision, versions, machine (processor, "
        "cores, threads), seed, dataset_version, layers; null before the first."
    )
    result: dict[str, Any] | None
    max_attempts: int
    gpus: int
    correction: Correction | None = Field(
        description="What the failure doctor would change; null where only a person can help."
    )
    reproduce: Reproduce


class JobAccepted(JobDetail):
    """A job just queued; `warning` is there when it will not start at once."""

    warning: str | None = None


class JobEdit(SpecModel):
    """What may change after submission; what is left out stays."""

    name: str | None = spec_field(
        None, title="Name", description="What lists show.", min_length=1, max_length=200
    )
    tags: list[Annotated[str, Field(min_length=1, max_length=50)]] | None = spec_field(
        None, title="Tags", description="Words to find the job by.", max_length=20
    )
    priority: int | None = spec_field(
        None, title="Priority", description="Higher starts first.", ge=-100, le=100
    )
    queue: str | None = spec_field(
        None,
        title="Queue",
        description="Queue of a job that has not been started.",
        pattern=QUEUE_PATTERN,
    )
    gpus: int | None = spec_field(
        None, title="GPUs", description="GPUs that a waiting job needs.", ge=0, le=MOST_GPUS
    )


class Retry(SpecModel):
    """How to run a job again."""

    spec: dict[str, Any] = spec_field(
        title="Changes", description="A partial spec to lay over the job's.", default_factory=dict
    )


class Move(SpecModel):
    """Where to move a waiting job: `before` another one, or `to` an end of its queue."""

    before: int | None = spec_field(
        None, title="Before", description="The waiting job that it shall start before.", ge=1
    )
    to: Literal["front", "end"] | None = spec_field(
        None, title="To", description="An end of its queue."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.before is None) == (self.to is None):
            raise ValueError("Give either `before` or `to`")
        return self


class Drain(SpecModel):
    """Why a worker shall drain."""

    reason: str = spec_field(
        "", title="Reason", description="What others should know.", max_length=100
    )


class RemedyRow(Answer):
    """Something that would help; without `method` the label is advice."""

    label: str
    method: str | None
    path: str | None
    body: dict[str, Any] | None


class WaitRow(Answer):
    """Why a job waits."""

    job_id: int
    name: str
    queue: str
    reason: str
    sentence: str
    position: int
    start_seconds: float | None
    remedies: list[RemedyRow]


class EpochRow(Answer):
    """A finished epoch."""

    epoch: int
    attempt: int
    train_accuracy: float
    train_loss: float | None
    eval_accuracy: float
    eval_loss: float | None
    learning_rate: float
    seconds: float
    images_per_second: float
    recorded_at: AwareDatetime
    extra: dict[str, Any] | None


class GaugeRow(Answer):
    """How hard the machine worked over a stretch of an attempt; null: not measured."""

    attempt: int
    second: int = Field(description="End of the stretch, in seconds since the attempt was claimed.")
    span_seconds: float = Field(description="Length of the stretch.")
    cpu_percent: float | None = Field(description="Mean use of the processor; 100 is one core.")
    memory_bytes: int | None = Field(description="Most memory held by trainer and children.")
    gpu_percent: float | None = Field(description="Mean share of time in which the GPUs worked.")
    gpu_memory_bytes: int | None = Field(description="Most memory in use on these GPUs together.")
    gpu_celsius: float | None = Field(description="Highest temperature of a GPU.")
    gpu_watts: float | None = Field(description="Mean power that the GPUs drew together.")


class EventRow(Answer):
    """One thing that happened to a job."""

    id: int
    attempt: int | None
    at: AwareDatetime
    kind: str
    actor: str | None
    message: str
    data: dict[str, Any] | None


class AttemptRow(Answer):
    """One worker's try at a job."""

    number: int
    worker: str
    slot: int
    device: str | None
    claimed_at: AwareDatetime
    heartbeat_at: AwareDatetime
    first_step_at: AwareDatetime | None
    ended_at: AwareDatetime | None
    outcome: Outcome | None
    detail: str | None
    started_epoch: int | None
    started_step: int | None
    lost_seconds: float


class ArtifactRow(Answer):
    """A file of a job."""

    name: str
    kind: str
    media_type: str
    bytes: int
    sha256: str
    attempt: int
    epoch: int | None
    step: int | None
    created_at: AwareDatetime


class WorkerRow(Answer):
    """A worker as it last reported; `alive` while its heartbeat is fresh."""

    name: str
    hostname: str
    pid: int
    queues: list[str]
    slots: list[dict[str, Any]]
    info: dict[str, Any]
    started_at: AwareDatetime
    heartbeat_at: AwareDatetime
    stopped_at: AwareDatetime | None
    drain_requested_at: AwareDatetime | None
    drain_reason: str | None
    alive: bool
    state: Literal["alive", "draining", "stopping", "silent", "stopped"]


class ReachedRow(Answer):
    """What a preset came to on MNIST when it was measured."""

    accuracy: float = Field(description="Best accuracy on the test images, 0 to 1.")
    epochs: int
    epoch_seconds: float = Field(description="Training and scoring of one epoch.")


class PresetRow(Answer):
    """A named starting point."""

    name: str
    title: str
    description: str
    reached: ReachedRow
    spec: JobSpec


class KindRow(Answer):
    """One kind that a part of a spec can be, with its fields as JSON schemas."""

    kind: str
    title: str
    description: str
    fields: list[dict[str, Any]]


class LayerRow(Answer):
    """One row of a model's summary; the shape is without the batch axis."""

    name: str
    kind: str
    output_shape: list[int]
    parameters: int


class MemoryRow(Answer):
    """What a training step holds in memory at least, and of what: an estimate."""

    weights_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    activations_bytes: int = Field(description="What the layers put out for a whole batch.")
    total_bytes: int


class Validation(Answer):
    """What a valid submission would become."""

    name: str
    spec: JobSpec
    layers: list[LayerRow]
    parameters: int | None = Field(description="Null for a plugin: only the worker knows.")
    memory: MemoryRow | None = Field(description="Null for a plugin: only the worker knows.")
    learning_rates: list[float] = Field(description="Of each epoch's last step, from the first.")
    learning_rate_curve: list[float] = Field(
        description="From the first step to the last, evenly spaced: what to draw."
    )


class Trying(Answer):
    """What a pre-flight does now, and the part that is done, 0 to 1."""

    doing: str
    share: float


class Preflight(Answer):
    """A pre-flight: `report` once it is done, `failure` if the spec cannot be trained."""

    id: int
    status: TicketStatus
    spec: JobSpec
    requested_at: AwareDatetime
    finished_at: AwareDatetime | None
    worker: str | None
    waiting: str | None = Field(description="Why no slot has taken it yet.")
    progress: Trying | None
    report: Findings | None
    failure: Failure | None


class BrokenRule(Answer):
    """One rule that the input breaks."""

    field: str
    rule: str
    received: Any


class Problem(Answer):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[BrokenRule]

"""`JobSpec`: everything that decides a training run, and how a submission becomes one."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError

from shared.errors import FieldError, InvalidInput
from shared.spec.augmentation import Augmentation, NoAugmentation
from shared.spec.fields import SpecModel, spec_field
from shared.spec.models import Model, ShallowCnn
from shared.spec.optimizers import Optimizer, Sgd
from shared.spec.schedules import Exponential, Schedule
from shared.spec.stopping import AccuracyDrop, EarlyStopping

T = TypeVar("T", bound=SpecModel)

MOST_GPUS = 16
MOST_SECONDS = 31_536_000  # a year
QUEUE_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"


class DatasetRef(SpecModel):
    """Which data, and which version of it."""

    name: str = spec_field(
        "mnist",
        title="Data set",
        description="Images and labels to train on.",
        pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$",
    )
    version: str | None = spec_field(
        None,
        title="Version",
        description="Content hash of the version; the newest unless given. Recorded with the job.",
        pattern=r"^[0-9a-f]{12,64}$",
        advanced=True,
    )


class Preprocessing(SpecModel):
    """What happens to the pixels before the first layer."""

    scale: Literal["raw", "unit", "standardize"] = spec_field(
        "unit",
        title="Pixel scale",
        description="raw: 0 to 255, as the tutorial does. unit: 0 to 1. "
        "standardize: zero mean and unit variance over the training pixels.",
    )
    augmentation: Augmentation = Field(default_factory=NoAugmentation, title="Augmentation")


class Resources(SpecModel):
    """Where the job may run, for how long, and how often it saves itself."""

    queue: str = spec_field(
        "default",
        title="Queue",
        description="Only workers that serve this queue take the job.",
        pattern=QUEUE_PATTERN,
    )
    gpus: int = spec_field(
        0,
        title="GPUs",
        description="0: any worker will do, with or without GPU. n: n GPUs of one machine, which "
        "divide each step's batch among them.",
        ge=0,
        le=MOST_GPUS,
    )
    max_runtime_seconds: float | None = spec_field(
        None,
        title="Time limit",
        description="The job fails when it has been running for longer; empty: no limit.",
        unit="seconds",
        gt=0,
        le=MOST_SECONDS,
        advanced=True,
    )
    checkpoint_seconds: float = spec_field(
        60.0,
        title="Checkpoint every",
        description="Time between checkpoints inside an epoch; at most this much work is repeated "
        "when a worker dies. Each epoch's end is a checkpoint anyway.",
        unit="seconds",
        ge=1,
        le=86_400,
        advanced=True,
    )


class JobSpec(SpecModel):
    """One training run, complete: the same spec on the same machine gives the same curve."""

    dataset: DatasetRef = Field(default_factory=DatasetRef, title="Data set")
    train_fraction: float = spec_field(
        1.0,
        title="Training data used",
        description="Share of the training images; a seeded draw that keeps the class balance.",
        gt=0,
        le=1,
    )
    evaluate_on: Literal["test", "validation"] = spec_field(
        "test",
        title="Evaluate on",
        description="test: score the test set after every epoch, as the tutorial does. "
        "validation: hold back part of the training data for that, and score the test set once, "
        "at the end, with the best weights.",
    )
    validation_fraction: float = spec_field(
        0.1,
        title="Validation share",
        description="Part of the training data held back when evaluating on validation.",
        gt=0,
        lt=1,
    )
    preprocessing: Preprocessing = Field(default_factory=Preprocessing, title="Preprocessing")
    model: Model = Field(default_factory=ShallowCnn, title="Model")
    optimizer: Optimizer = Field(default_factory=Sgd, title="Optimizer")
    learning_rate: float = spec_field(
        0.001,
        title="Learning rate",
        description="Rate of the first epoch; the schedule scales it from there.",
        gt=0,
        le=10,
    )
    schedule: Schedule = Field(default_factory=Exponential, title="Learning-rate schedule")
    early_stopping: EarlyStopping = Field(default_factory=AccuracyDrop, title="Early stopping")
    epochs: int = spec_field(
        10,
        title="Epochs",
        description="Most passes over the training data.",
        unit="epochs",
        ge=1,
        le=10_000,
    )
    batch_size: int = spec_field(
        100,
        title="Batch size",
        description="Images a step; not more than the training images.",
        unit="images",
        ge=1,
        le=65_536,
    )
    seed: int = spec_field(
        0,
        title="Seed",
        description="Decides initial weights, order of images, dropout and augmentation.",
        ge=0,
        le=2_147_483_647,
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = spec_field(
        "float32",
        title="Precision",
        description="float32, or 16-bit arithmetic with float32 weights: faster where the "
        "processor has it, at nearly the same accuracy. auto: the fastest that the worker's "
        "device has; the job shows which.",
        advanced=True,
    )
    resources: Resources = Field(default_factory=Resources, title="Resources")


class JobSubmission(SpecModel):
    """The body of `POST /api/v1/jobs`."""

    name: Annotated[str, Field(min_length=1, max_length=200)] | None = spec_field(
        None, title="Name", description="What lists show; made from preset or model unless given."
    )
    tags: list[Annotated[str, Field(min_length=1, max_length=50)]] = spec_field(
        title="Tags",
        description="Words to find the job by.",
        default_factory=list,
        max_length=20,
    )
    priority: int = spec_field(
        0,
        title="Priority",
        description="Higher starts first; equal priorities start in order of submission.",
        ge=-100,
        le=100,
    )
    preset: str | None = spec_field(
        None, title="Preset", description="Named starting point; `spec` changes it."
    )
    parent_id: int | None = spec_field(
        None,
        title="Parent",
        description="Job that this one was cloned from.",
        ge=1,
        le=9_223_372_036_854_775_807,  # what SQL's numbers hold
    )
    spec: JobSpec = Field(default_factory=JobSpec, title="Spec")


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Lay `changes` over `base`, part by part.

    A part whose `kind` changes is replaced whole: the old kind's fields mean nothing to the new.

    Args:
        base: a spec as a dict, such as a preset's.
        changes: a partial spec.

    Returns:
        A new dict; neither argument is changed.
    """
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        same_kind = (
            isinstance(old, dict)
            and isinstance(value, dict)
            and value.get("kind", old.get("kind")) == old.get("kind")
        )
        merged[key] = merge(old, value) if same_kind else value  # type: ignore[arg-type]
    return merged


def parse_submission(body: Any) -> JobSubmission:
    """Validate the body of a submission, with its preset laid under its spec.

    Args:
        body: the decoded JSON document.

    Returns:
        The submission; `name` is always set.

    Raises:
        InvalidInput: naming each field, its rule and the value received.
    """
    from shared.spec.presets import PRESETS

    if not isinstance(body, dict):
        raise InvalidInput.of("", "The body must be a JSON object.", body)
    body = dict(body)
    preset = body.get("preset")
    if preset is not None:
        if not isinstance(preset, str) or preset not in PRESETS:
            raise InvalidInput.of("preset", f"Must be one of: {', '.join(PRESETS)}.", preset)
        changes = body.get("spec", {})
        if isinstance(changes, dict):
            body["spec"] = merge(PRESETS[preset].spec.model_dump(mode="json"), changes)
    submission = validate(JobSubmission, body)
    if submission.name is None:
        name = preset or submission.spec.model.kind.replace("_", "-")
        submission = submission.model_copy(update={"name": name})
    return submission


def validate(model: type[T], value: Any, *, at: str = "") -> T:
    """Validate `value` as `model`, strictly typed as JSON is.

    Args:
        model: what it must be.
        value: the decoded JSON.
        at: dotted path of `value` in the caller's document, for the errors.

    Raises:
        InvalidInput: naming each field, its rule and the value received.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InvalidInput([_field_error(item, at) for item in error.errors()]) from error


def _field_error(item: Any, at: str) -> FieldError:
    path = ".".join(filter(None, (at, _field_path(item["loc"]))))
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        return FieldError(path, "There is no such field.", item["input"])
    if item["type"] == "missing":
        return FieldError(path, "This field is required.", None)
    return FieldError(path, message.rstrip(".") + ".", item["input"])


_UNION_PARTS = ("augmentation", "model", "optimizer", "schedule", "early_stopping")
_UNION_LISTS = ("layers",)


def _field_path(loc: tuple[Any, ...]) -> str:
    """Join pydantic's location, without the kind that a discriminated union inserts."""
    parts: list[str] = []
    skip_next = False
    for part in loc:
        if skip_next:
            skip_next = False
            continue
        skip_next = part in _UNION_PARTS or (isinstance(part, int) and parts[-1] in _UNION_LISTS)
        parts.append(str(part))
    return ".".join(parts)

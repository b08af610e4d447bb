"""The tables, as SQLAlchemy 2 models.

Only `shared.jobs` writes `jobs.status` and `attempts.outcome`. Times are aware UTC. Enums are
stored by value. Figures that lists sort and filter by stand in indexed columns of `jobs`.
"""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcDateTime(sa.TypeDecorator[datetime]):
    """An aware UTC time; SQLite stores it without the zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Refuse naive times, and store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"Times must be aware. Received: {value!r}.")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Give the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
# SQLite numbers rows by itself only in a column of exactly this type.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


class Status(enum.StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether the job is over."""
        return self in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


class Outcome(enum.StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PAUSED = "paused"
    PREEMPTED = "preempted"
    LOST = "lost"


class TicketStatus(enum.StrEnum):
    """Where a pre-flight or an import is in its life."""

    UPLOADING = "uploading"  # an import whose files are on their way
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


def _by_value(kind: type[enum.StrEnum]) -> sa.Enum:
    return sa.Enum(
        kind,
        native_enum=False,
        length=16,
        values_callable=lambda members: [member.value for member in members],
        create_constraint=False,
    )


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012
        datetime: UtcDateTime(),
        dict[str, Any]: Json,
        list[Any]: Json,
        list[str]: Json,
    }


class Dataset(Base):
    """A named data set; its newest version is the default."""

    __tablename__ = "datasets"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(63), unique=True)
    title: Mapped[str] = mapped_column(sa.String(200))
    description: Mapped[str] = mapped_column(sa.Text, default="")
    attribution: Mapped[str] = mapped_column(sa.Text, default="")
    created_at: Mapped[datetime]


class DatasetVersion(Base):
    """An immutable version of a data set, known by its content."""

    __tablename__ = "dataset_versions"
    __table_args__ = (sa.UniqueConstraint("dataset_id", "version"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    dataset_id: Mapped[int] = mapped_column(sa.ForeignKey("datasets.id"), index=True)
    version: Mapped[str] = mapped_column(sa.String(64))  # content hash, hexadecimal
    uri: Mapped[str] = mapped_column(sa.Text)  # `bundled:<name>` or a path in the artifact store
    train_images: Mapped[int]
    test_images: Mapped[int]
    height: Mapped[int]
    width: Mapped[int]
    channels: Mapped[int]
    classes: Mapped[list[str]]  # class names, by label
    report: Mapped[dict[str, Any] | None]  # `shared.datasets.report.Report`
    created_at: Mapped[datetime]

    @property
    def image_bytes(self) -> int:
        """Bytes of an image."""
        return self.height * self.width * self.channels


# On SQLite too: files lie under a row's number, and whoever still deletes a deleted row's must not
# meet those of the next.
NO_NUMBER_TWICE = {"sqlite_autoincrement": True}


class Held:
    """The columns of work that is held by a ticket; see `shared.tickets`."""

    __table_args__ = NO_NUMBER_TWICE

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    status: Mapped[TicketStatus] = mapped_column(_by_value(TicketStatus), index=True)
    actor: Mapped[str | None] = mapped_column(sa.String(100))
    requested_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    worker: Mapped[str | None] = mapped_column(sa.String(63))  # who is at it, or was
    token: Mapped[str | None] = mapped_column(sa.String(64))
    expires_at: Mapped[datetime | None]
    tries: Mapped[int]
    progress: Mapped[dict[str, Any] | None]  # doing, share
    report: Mapped[dict[str, Any] | None]  # what came of it
    failure: Mapped[dict[str, Any] | None]  # kind, evidence, suggestion


class Import(Held, Base):
    """Files on their way to becoming a version of a data set; see `shared.imports`."""

    __tablename__ = "imports"

    name: Mapped[str] = mapped_column(sa.String(63), index=True)  # of the data set
    request: Mapped[dict[str, Any]]  # `shared.spec.dataset_import.DatasetImport`
    files: Mapped[list[Any]]  # [{"name", "part", "bytes", "sha256", "path"}]


# What the list of jobs can be sorted by.
SORTABLE = (
    "id",
    "name",
    "status",
    "model",
    "dataset",
    "optimizer",
    "learning_rate",
    "batch_size",
    "epochs_done",
    "best_eval_accuracy",
    "final_train_accuracy",
    "final_eval_accuracy",
    "final_eval_loss",
    "test_accuracy",
    "duration_seconds",
)
# What it is filtered by most. Every index of the list carries these too, so that a filter never
# has to look at rows, however few of a million match (`shared.queries`).
_FILTERED = ("status", "model", "dataset", "name")
TAGS_INDEX = "ix_jobs_tags"


def list_index_name(column: str) -> str:
    """Return the name of the index that holds the list of jobs in the order of `column`."""
    return f"ix_jobs_by_{column}"


def _list_index(column: str) -> sa.Index:
    carried = [name for name in ("id", *_FILTERED) if name != column]
    return sa.Index(list_index_name(column), column, *carried)


class Job(Base):
    """A training job: what was asked, where it stands, and its denormalised figures."""

    __tablename__ = "jobs"
    __table_args__ = (
        # The claim's order; also what the scheduler and the forecast of waiting read.
        sa.Index("ix_jobs_claim", "status", "queue", sa.desc("priority"), "queue_rank", "id"),
        *(_list_index(column) for column in SORTABLE),
        # GIN on PostgreSQL; on SQLite an index of the tags' text, to be read from end to end.
        sa.Index(TAGS_INDEX, "tags", postgresql_using="gin"),
        NO_NUMBER_TWICE,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(200))
    status: Mapped[Status] = mapped_column(_by_value(Status))
    priority: Mapped[int] = mapped_column(default=0)
    tags: Mapped[list[str]]
    preset: Mapped[str | None] = mapped_column(sa.String(63))
    parent_id: Mapped[int | None] = mapped_column(
        sa.ForeignKey("jobs.id", ondelete="SET NULL"), index=True
    )
    idempotency_key: Mapped[str | None] = mapped_column(sa.String(200), unique=True)
    spec: Mapped[dict[str, Any]]

    # From the spec, for claims, lists and filters.
    queue: Mapped[str] = mapped_column(sa.String(63))
    gpus: Mapped[int]
    dataset: Mapped[str] = mapped_column(sa.String(63))
    dataset_version: Mapped[str] = mapped_column(sa.String(64))
    model: Mapped[str] = mapped_column(sa.String(63))
    optimizer: Mapped[str] = mapped_column(sa.String(63))
    schedule: Mapped[str] = mapped_column(sa.String(63))
    learning_rate: Mapped[float]
    batch_size: Mapped[int]
    epochs_total: Mapped[int]

    # The way of the job.
    submitted_at: Mapped[datetime]
    queued_at: Mapped[datetime]  # last time it came into the queue
    claimed_at: Mapped[datetime | None]  # first claim
    first_step_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    pause_requested_at: Mapped[datetime | None]
    # Place among equal priorities: the job's number, unless it or one before it was moved.
    queue_rank: Mapped[float] = mapped_column(server_default="0")
    attempt: Mapped[int] = mapped_column(default=0)  # number of the newest attempt
    crashes: Mapped[int] = mapped_column(default=0)  # attempts lost or crashed
    max_attempts: Mapped[int]
    progress: Mapped[dict[str, Any] | None]  # newest `Progress`, written with heartbeats
    failure: Mapped[dict[str, Any] | None]  # kind, evidence, suggestion
    outcome_detail: Mapped[str | None] = mapped_column(sa.Text)  # why it ended, one sentence

    # Figures, written as epochs are recorded.
    epochs_done: Mapped[int] = mapped_column(default=0)
    best_eval_accuracy: Mapped[float | None]
    best_epoch: Mapped[int | None]
    final_train_accuracy: Mapped[float | None]
    final_eval_accuracy: Mapped[float | None]
    final_eval_loss: Mapped[float | None]
    test_accuracy: Mapped[float | None]
    duration_seconds: Mapped[float | None]  # that its attempts ran, together
    lost_seconds: Mapped[float] = mapped_column(default=0.0)  # work repeated after losses
    curve: Mapped[list[Any]]  # [epoch, train_accuracy, eval_accuracy], thinned to 64 points
    run_info: Mapped[dict[str, Any] | None]  # newest `Started`: device, versions, layers ...
    result: Mapped[dict[str, Any] | None]  # `Finished`: weights hash, weights epoch ...


class Attempt(Base):
    """One worker's try at a job, and the lease it holds meanwhile."""

    __tablename__ = "attempts"
    __table_args__ = (
        sa.Index("ix_attempts_open_lease", "outcome", "lease_expires_at"),
        sa.Index("ix_attempts_worker_outcome", "worker", "outcome"),
    )

    job_id: Mapped[int] = mapped_column(
        sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    worker: Mapped[str] = mapped_column(sa.String(63))
    slot: Mapped[int]
    lease_token: Mapped[str] = mapped_column(sa.String(64))
    lease_expires_at: Mapped[datetime]
    claimed_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    first_step_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[Outcome | None] = mapped_column(_by_value(Outcome))
    detail: Mapped[str | None] = mapped_column(sa.Text)
    device: Mapped[str | None] = mapped_column(sa.String(200))
    started_epoch: Mapped[int | None]  # position it started from
    started_step: Mapped[int | None]
    lost_seconds: Mapped[float] = mapped_column(default=0.0)


class Epoch(Base):
    """The figures of a finished epoch; epochs count from 1."""

    __tablename__ = "epochs"

    job_id: Mapped[int] = mapped_column(
        sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    attempt: Mapped[int]
    train_accuracy: Mapped[float]
    train_loss: Mapped[float]
    eval_accuracy: Mapped[float]
    eval_loss: Mapped[float]
    learning_rate: Mapped[float]
    seconds: Mapped[float]
    images_per_second: Mapped[float]
    recorded_at: Mapped[datetime]
    extra: Mapped[dict[str, Any] | None]


class Gauge(Base):
    """How hard the machine worked over a stretch of an attempt; see `shared.gauges.Point`."""

    __tablename__ = "gauges"

    job_id: Mapped[int] = mapped_column(
        sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    second: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    span_seconds: Mapped[float]
    cpu_percent: Mapped[float | None]
    memory_bytes: Mapped[int | None] = mapped_column(sa.BigInteger)
    gpu_percent: Mapped[float | None]
    gpu_memory_bytes: Mapped[int | None] = mapped_column(sa.BigInteger)
    gpu_celsius: Mapped[float | None]
    gpu_watts: Mapped[float | None]


class JobEvent(Base):
    """One thing that happened to a job."""

    __tablename__ = "job_events"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job_id: Mapped[int] = mapped_column(sa.ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    attempt: Mapped[int | None]
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(sa.String(32))
    actor: Mapped[str | None] = mapped_column(sa.String(100))  # who asked for it, if a person did
    message: Mapped[str] = mapped_column(sa.Text)
    data: Mapped[dict[str, Any] | None]


class Artifact(Base):
    """A file of a job in the artifact store."""

    __tablename__ = "artifacts"
    __table_args__ = (sa.UniqueConstraint("job_id", "name"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job_id: Mapped[int] = mapped_column(sa.ForeignKey("jobs.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    name: Mapped[str] = mapped_column(sa.String(200))
    kind: Mapped[str] = mapped_column(sa.String(32))
    media_type: Mapped[str] = mapped_column(sa.String(100))
    path: Mapped[str] = mapped_column(sa.Text)  # in the artifact store
    bytes: Mapped[int] = mapped_column(sa.BigInteger)
    sha256: Mapped[str] = mapped_column(sa.String(64))
    epoch: Mapped[int | None]  # position of a checkpoint
    step: Mapped[int | None]
    created_at: Mapped[datetime]


class Preflight(Held, Base):
    """A question about a spec, and a worker's answer; see `shared.preflights`."""

    __tablename__ = "preflights"

    spec: Mapped[dict[str, Any]]
    queue: Mapped[str] = mapped_column(sa.String(63))
    gpus: Mapped[int]


class Worker(Base):
    """A worker that has reported; alive while its heartbeat is fresh."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(sa.String(63), primary_key=True)
    hostname: Mapped[str] = mapped_column(sa.String(255))
    pid: Mapped[int]
    queues: Mapped[list[str]]
    slots: Mapped[list[Any]]  # [{"index", "device", "gpus", "job_id", "preflight_id", "warm"}]
    info: Mapped[dict[str, Any]]  # versions, processor, memory
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    stopped_at: Mapped[datetime | None]  # set by a clean stop
    drain_requested_at: Mapped[datetime | None]  # takes no job until it is None again
    drain_reason: Mapped[str | None] = mapped_column(sa.String(200))


class Leader(Base):
    """The lease of a singleton role, such as the scheduler."""

    __tablename__ = "leaders"

    role: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    holder: Mapped[str] = mapped_column(sa.String(128))
    expires_at: Mapped[datetime]

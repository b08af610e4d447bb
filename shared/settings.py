"""All settings, typed, each with its environment variable `TRAINYARD_<NAME>`.

Owns defaults and derived paths. Reads the environment once, when `Settings()` is made;
nothing else in the project looks at `os.environ` for configuration.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

# A Unix socket's path has room for 107 bytes on Linux and 103 on macOS.
_MAX_SOCKET_PATH_BYTES = 100


class Settings(BaseSettings):
    """The configuration of one process."""

    model_config = SettingsConfigDict(
        env_prefix="TRAINYARD_",
        env_ignore_empty=True,  # `TRAINYARD_ACCESS_TOKEN=` means no token, not an empty one
        frozen=True,
        extra="ignore",
    )

    data_dir: Path = Field(Path("var"), description="Folder of all local state.")
    database_url: str = Field(
        "",
        description="SQLAlchemy URL of SQLite or PostgreSQL; empty: SQLite in the data folder.",
    )
    redis_url: str = Field(
        "",
        description="URL of Redis (redis://, rediss:// or unix://); "
        "empty: the embedded Redis's socket in the data folder.",
    )
    artifacts_url: str = Field(
        "",
        description="fsspec URL of the artifact store (file://, s3://, gs://, az://); "
        "empty: a folder in the data folder.",
    )
    secret_key: SecretStr | None = Field(
        None,
        description="Key that signs session cookies; unset: made once and kept in the data folder.",
    )
    access_token: SecretStr | None = Field(
        None,
        description="Token that people sign in with and programs send as bearer token; "
        "required when the web server binds to more than loopback.",
    )
    url: str = Field("http://127.0.0.1:8080", description="Address of the server, for the CLI.")
    token: SecretStr | None = Field(None, description="Access token that the CLI sends.")
    worker_name: str = Field(
        default_factory=socket.gethostname,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
        description="Name of this worker, unique in the yard; the host's name unless set.",
    )
    queues: str = Field("default", description="Queues that this worker serves, comma-separated.")
    slots: int = Field(
        0, ge=0, le=64, description="Jobs that this worker runs at once; 0: one a GPU, or one CPU."
    )
    slots_per_gpu: int = Field(
        1,
        ge=1,
        le=16,
        description="Jobs that share each GPU, and its memory, when the number of slots is 0.",
    )
    gpus_per_slot: int = Field(
        1,
        ge=1,
        le=16,
        description="GPUs that a job of this worker may use together; 1 if jobs share a GPU.",
    )
    heartbeat_seconds: float = Field(5.0, gt=0, description="Pause between two heartbeats.")
    lease_seconds: float = Field(
        20.0, gt=0, description="An attempt without a heartbeat for this long is lost."
    )
    max_attempts: int = Field(
        5, ge=1, description="Losses and crashes after which a job is given up as failed."
    )
    stall_seconds: float = Field(
        900.0,
        gt=0,
        description="A trainer that reports nothing for this long hangs: it is ended, "
        "and its job tried again.",
    )
    grace_seconds: float = Field(
        25.0, gt=0, description="Time a stopping worker has to checkpoint and hand its jobs back."
    )
    spot: Literal["off", "aws", "gcp", "azure"] = Field(
        "off",
        description="Cloud whose notice of a spot machine's end the worker watches for; "
        "it then hands its jobs back.",
    )
    spot_url: str = Field(
        "",
        description="Address of the metadata service; empty: the cloud's own, for tests another.",
    )
    imports: bool = Field(
        True, description="Whether this worker turns uploaded files into data sets."
    )
    downloads: bool = Field(
        True, description="Whether known data sets may be fetched from their publishers."
    )
    known_sets_url: str = Field(
        "",
        description="Mirror that known data sets are fetched from, a folder a set; "
        "empty: their publishers.",
    )
    dataset_cache_bytes: int = Field(
        50_000_000_000, ge=1, description="Disk space that a worker's fetched data sets may take."
    )
    max_upload_bytes: int = Field(
        8_000_000_000, ge=1, description="Largest file that can be sent for a data set."
    )
    max_dataset_bytes: int = Field(
        64_000_000_000, ge=1, description="Most pixels, in bytes, that a data set may have."
    )
    max_dataset_images: int = Field(
        10_000_000, ge=1, description="Most images, which are a table's rows, of a data set."
    )
    max_dataset_columns: int = Field(
        150_530, ge=2, description="Most columns of a table; the default suits 224 x 224 colour."
    )
    max_dataset_classes: int = Field(1_000, ge=2, description="Most classes of a data set.")
    max_picture_pixels: int = Field(
        50_000_000, ge=1, description="Most pixels of a picture before it is made small."
    )
    max_archive_members: int = Field(
        1_000_000,
        ge=1,
        description="Most files in an archive that is sent; each takes 1.5 kB of memory.",
    )
    max_archive_ratio: int = Field(
        250, ge=1, description="Most that a compressed file may grow when it is unpacked, in times."
    )
    import_memory_bytes: int = Field(
        2_000_000_000, ge=200_000_000, description="Memory that the reading of files may take."
    )
    import_seconds: float = Field(
        3_600.0, gt=0, description="Time that the reading of files may take."
    )
    max_streams: int = Field(
        256, ge=1, description="Live event streams that one web process serves at once."
    )
    log_level: str = Field("INFO", description="Level of the processes' own logs.")

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @property
    def resolved_database_url(self) -> str:
        """The database URL, with the default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir / 'trainyard.db'}"

    @property
    def redis_socket(self) -> Path:
        """The embedded Redis's Unix socket; in the temporary folder if that path is too long."""
        path = self.data_dir / "redis" / "redis.sock"
        if len(str(path).encode()) <= _MAX_SOCKET_PATH_BYTES:
            return path
        import hashlib
        import tempfile

        digest = hashlib.sha256(str(self.data_dir).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"trainyard-{digest}" / "redis.sock"

    @property
    def resolved_redis_url(self) -> str:
        """The Redis URL, with the default filled in."""
        return self.redis_url or f"unix://{self.redis_socket}"

    @property
    def resolved_artifacts_url(self) -> str:
        """The artifact store's URL, with the default filled in."""
        return self.artifacts_url or f"file://{self.data_dir / 'artifacts'}"

    @property
    def queue_names(self) -> list[str]:
        """The queues this worker serves, in order."""
        return [name.strip() for name in self.queues.split(",") if name.strip()]

    @property
    def worker_work_dir(self) -> Path:
        """Where this worker's running jobs keep their files until they are published."""
        return self.data_dir / "work" / self.worker_name

    @property
    def dataset_cache_dir(self) -> Path:
        """Where a worker keeps the data sets it has fetched."""
        return self.data_dir / "datasets"

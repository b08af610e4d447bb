"""`trainyard doctor`: looks at everything a yard stands on, and says what to do.

Owns the checks; changes nothing but a probe in the artifact store, which it deletes. Looks at the
parts themselves, by the settings, not at the web server. Failures of jobs: `shared.doctor`.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import psutil
import redis
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared import workers
from shared.artifacts import ArtifactStore
from shared.database import Database, utc_now
from shared.errors import ConfigurationError
from shared.models import Job, Leader, Status
from shared.queue import connect
from shared.schema import require_current
from shared.settings import Settings
from shared.yard.addresses import is_loopback

_MOST_SKEW_SECONDS = 5.0
_LEAST_FREE_BYTES = 1 << 30
_REDIS_TIMEOUT_SECONDS = 2.0
_NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph"})


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: what was looked at.
        level: `ok`, `warning` or `error`.
        sentence: what was found.
        advice: what to do; empty if nothing.
    """

    check: str
    level: Literal["ok", "warning", "error"]
    sentence: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the finding as JSON."""
        return asdict(self)


def examine(settings: Settings) -> list[Finding]:
    """Run all checks; one that breaks is an error, and the others go on."""
    database = Database(settings.resolved_database_url, pool_size=1)
    try:
        return [
            *_guarded("database", lambda: _database(database, settings)),
            *_guarded("redis", lambda: _redis(settings)),
            *_guarded("artifacts", lambda: _artifacts(settings)),
            *_guarded("disk", lambda: _disk(settings)),
            *_guarded("secrets", lambda: _secrets(settings)),
        ]
    finally:
        database.dispose()


def _guarded(check: str, run: Callable[[], Iterator[Finding]]) -> list[Finding]:
    try:
        return list(run())
    except Exception as error:  # noqa: BLE001 - whatever breaks is the finding
        said = (str(error).splitlines() or [""])[0]
        sentence = f"{check.capitalize()} cannot be used: {type(error).__name__}: {said}"
        variable = {"disk": "DATA_DIR"}.get(check, f"{check.upper()}_URL")
        return [Finding(check, "error", sentence, f"Check TRAINYARD_{variable}, and that it runs.")]


def _database(database: Database, settings: Settings) -> Iterator[Finding]:
    path = database.url.database
    if database.is_sqlite and path and not Path(path).exists():
        sentence = f"There is no database yet: {path} is missing."
        yield Finding("database", "error", sentence, "`trainyard up` makes it; is this its folder?")
        return
    with database.engine.connect() as connection:
        try:
            require_current(connection)
        except ConfigurationError as error:
            yield Finding("database", "error", str(error), "Bring code and database together.")
            return
    yield Finding("database", "ok", "The database answers, at the revision of this code.")
    kind = file_system_of(Path(database.url.database or "")) if database.is_sqlite else ""
    if kind in _NETWORK_FILE_SYSTEMS or kind.startswith("fuse."):
        sentence = f"SQLite lies on a network file system ({kind}), which may corrupt it."
        yield Finding("database", "error", sentence, "Move it to a local disk.")
    with database.read() as session:
        yield _clock(session)
        yield _scheduler(session)
        yield from _workers(session, settings.lease_seconds)


def _clock(session: Session) -> Finding:
    now = session.scalars(sa.select(utc_now())).one()
    skew = (datetime.now(UTC) - now).total_seconds()
    if abs(skew) > _MOST_SKEW_SECONDS:
        sentence = f"This machine's clock and the database's differ by {skew:.0f} s."
        return Finding("clock", "warning", sentence, "Let both machines keep time by NTP.")
    return Finding("clock", "ok", "This machine's clock and the database's agree.")


def _scheduler(session: Session) -> Finding:
    holder = session.scalar(sa.select(Leader.holder).where(Leader.expires_at > utc_now()))
    if holder is None:
        advice = "Run `trainyard scheduler`, or `trainyard up`."
        return Finding("scheduler", "error", "No scheduler leads; lost jobs stay lost.", advice)
    return Finding("scheduler", "ok", f"The scheduler {holder} leads.")


def _workers(session: Session, lease_seconds: float) -> Iterator[Finding]:
    found = workers.seen(session, lease_seconds)
    for one in found:
        if one.state == "silent":
            sentence = f"Worker {one.worker.name} is silent."
            yield Finding("workers", "warning", sentence, "Look at its machine and its log.")
        if one.state == "stopping":
            sentence = f"Worker {one.worker.name} stops: it hands its jobs back."
            yield Finding("workers", "warning", sentence, "Start another, unless it shall be so.")
        if one.state == "draining":
            advice = f"`trainyard undrain {one.worker.name}` lets it take jobs again."
            yield Finding("workers", "warning", f"Worker {one.worker.name} drains.", advice)
    able = [one.worker for one in found if one.takes_jobs]
    if able:
        yield Finding("workers", "ok", f"Workers that take jobs: {len(able)}.")
    else:
        advice = "Run `trainyard worker`, or `trainyard up`."
        yield Finding("workers", "error", "No worker takes jobs.", advice)
    served = {queue for worker in able for queue in worker.queues}
    waiting = session.scalars(
        sa.select(Job.queue).where(Job.status == Status.QUEUED).distinct().order_by(Job.queue)
    )
    for queue in waiting:
        if queue not in served:
            sentence = f"Jobs wait in queue {queue!r}, which no worker serves."
            yield Finding(
                "queues", "error", sentence, f"Run a worker with TRAINYARD_QUEUES={queue}."
            )


def _redis(settings: Settings) -> Iterator[Finding]:
    client = connect(settings.resolved_redis_url, timeout_seconds=_REDIS_TIMEOUT_SECONDS)
    with client:
        client.ping()
        yield Finding("redis", "ok", "Redis answers.")
        try:
            memory: Any = client.info("memory")
            persistence: Any = client.info("persistence")
            saves: Any = client.config_get("save")
        except redis.ResponseError:
            sentence = "Redis does not tell its configuration."
            yield Finding("redis", "warning", sentence, "See to `maxmemory-policy noeviction`.")
            return
    if (policy := memory.get("maxmemory_policy")) != "noeviction":
        sentence = f"Redis may throw messages away: its eviction policy is {policy}."
        yield Finding("redis", "warning", sentence, "Set `maxmemory-policy noeviction`.")
    if not persistence.get("aof_enabled") and not saves.get("save"):
        sentence = "Redis keeps nothing on disk; after a restart, jobs start a little later."
        yield Finding("redis", "warning", sentence, "Set `appendonly yes`.")


def _artifacts(settings: Settings) -> Iterator[Finding]:
    store = ArtifactStore(settings.resolved_artifacts_url)
    name = f"doctor/{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / "probe"
        local.write_bytes(b"probe")
        store.put(local, name)
        try:
            with store.open(name) as file:
                if file.read() != b"probe":
                    raise OSError("It gives back something else than was written.")
        finally:
            store.delete(name)
    yield Finding("artifacts", "ok", "The artifact store takes files and gives them back.")


def file_system_of(path: Path) -> str:
    """Return the kind of file system that `path` lies on; empty if it cannot be told."""
    place = path.absolute()
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    return next((mounts[folder] for folder in (place, *place.parents) if folder in mounts), "")


def _secrets(settings: Settings) -> Iterator[Finding]:
    host = urlsplit(settings.url).hostname or ""
    if not is_loopback(host) and settings.access_token is None:
        sentence = f"The server is at {host}, and no access token is set here."
        advice = "Set TRAINYARD_ACCESS_TOKEN where the server runs; it refuses to start without."
        yield Finding("secrets", "warning", sentence, advice)
    elif settings.access_token and not settings.secret_key and settings.database_url:
        sentence = "No secret key is set, so each server makes its own and sessions are not shared."
        yield Finding("secrets", "warning", sentence, "Set TRAINYARD_SECRET_KEY.")
    else:
        yield Finding("secrets", "ok", "Access token and secret key are set where they are needed.")


def _disk(settings: Settings) -> Iterator[Finding]:
    free = shutil.disk_usage(settings.data_dir).free
    if free < _LEAST_FREE_BYTES:
        sentence = f"Only {free / 1e6:.0f} MB are free in {settings.data_dir}."
        yield Finding("disk", "warning", sentence, "Delete jobs that nobody needs.")
    else:
        yield Finding("disk", "ok", f"{free / 1e9:.1f} GB are free in {settings.data_dir}.")

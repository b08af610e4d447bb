"""`python -m tests.faults.worker`: a real worker with fake trainers, and one fault built in.

FAULT is `name` or `name:argument`; each function of `FAULTS` says what its fault does. A worker
kills itself here at the very line where a test from outside could only hope to hit it.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from celery import Celery
from kombu.transport.redis import Channel
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from shared import imports, jobs, queue, recording
from shared.artifacts import ArtifactStore
from shared.errors import StoreRefused, StoreUnavailable
from shared.jobs import Lease, Slot
from shared.protocol import Run
from shared.settings import Settings
from tests import fake_worker
from tests.waiting import wait_until
from worker import celery_app, import_run, importer, inputs, machine_memory, supervisor
from worker.holder import Holder, Write
from worker.job_log import JobLog
from worker.trainer_process import TrainerProcess
from worker.uploader import Uploader
from worker.watchdog import Watchdog

STAGES = ("before the store", "half stored", "stored", "recording", "deleting the oldest")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _replace(owner: Any, name: str, new: Any) -> None:
    mock.patch.object(owner, name, new).start()


def clock_off(seconds: str) -> None:
    """Let the worker's clock be wrong, as far as Python asks for it."""
    right = time.time
    _replace(time, "time", lambda: right() + float(seconds))


def visibility_timeout(seconds: str) -> None:
    """Let Redis hand out again what was not acknowledged for so long."""
    make = queue.make_celery

    def make_impatient(settings: Settings) -> Celery:
        app = make(settings)
        app.conf.broker_transport_options |= {
            "visibility_timeout": float(seconds),
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
        }
        return app

    _replace(celery_app, "make_celery", make_impatient)


def die_before_claim(_: str) -> None:
    """Die with the message taken from Redis, and nothing claimed."""

    def claim(session: Session, slot: Slot, *, lease_seconds: float) -> Lease | None:
        _die()
        return None

    _replace(jobs, "claim", claim)


def stop_in_claim(_: str) -> None:
    """Get SIGTERM between the claim's UPDATE and its COMMIT."""
    real = jobs.claim

    def claim(session: Session, slot: Slot, *, lease_seconds: float) -> Lease | None:
        lease = real(session, slot, lease_seconds=lease_seconds)
        if lease is not None:
            os.kill(os.getpid(), signal.SIGTERM)
        return lease

    _replace(jobs, "claim", claim)


def die_publishing(stage: str) -> None:
    """Die at one of `STAGES` of publishing a checkpoint, but not the first one."""
    real_put, real_row, real_delete = ArtifactStore.put, recording.artifact, ArtifactStore.delete
    seen: set[str] = set()

    def put(store: ArtifactStore, local: Path, path: str) -> None:
        seen.add(path)
        due = (
            "/checkpoints/" in path and len([name for name in seen if "/checkpoints/" in name]) > 1
        )
        if due and stage == "before the store":
            _die()
        if due and stage == "half stored":
            half = local.with_suffix(".half")
            half.write_bytes(local.read_bytes()[: local.stat().st_size // 2])
            real_put(store, half, f"{path}.partial")
            _die()
        real_put(store, local, path)
        if due and stage == "stored":
            _die()

    def row(session: Session, lease: Lease, event: Any, path: str) -> None:
        real_row(session, lease, event, path)
        if "/checkpoints/" in path and event.epoch > 2 and stage == "recording":
            _die()

    def delete(store: ArtifactStore, path: str) -> None:
        if stage == "deleting the oldest":
            _die()
        real_delete(store, path)

    _replace(ArtifactStore, "put", put)
    _replace(ArtifactStore, "delete", delete)
    _replace(recording, "artifact", row)


def deaf_consumer(switch: str) -> None:
    """Let the consumer's channel ask Redis for nothing more once the file `switch` exists."""
    _replace(celery_app, "Watchdog", partial(Watchdog, patience_seconds=2))
    real = Channel._brpop_start
    deaf: list[Channel] = []

    def start(channel: Channel, timeout: float | None = None) -> None:
        if Path(switch).exists():
            Path(switch).unlink()
            deaf.append(channel)
        if channel not in deaf:
            real(channel, timeout)

    _replace(Channel, "_brpop_start", start)


def full_store(switch: str) -> None:
    """Let the artifact store have no space left while the file `switch` exists; soon give up."""
    _replace(supervisor, "Uploader", partial(Uploader, tries=2))
    absent_store(switch)


def absent_store(switch: str) -> None:
    """Let the artifact store refuse every file while the file `switch` exists."""
    real = ArtifactStore.put

    def put(store: ArtifactStore, local: Path, path: str) -> None:
        if Path(switch).exists():
            raise OSError(errno.ENOSPC, "No space left on device", path)
        real(store, local, path)

    _replace(ArtifactStore, "put", put)


def silent_store(switch: str) -> None:
    """Let the artifact store hand out nothing while the file `switch` exists."""
    real = ArtifactStore.get

    def get(store: ArtifactStore, path: str, local: Path) -> None:
        if Path(switch).exists():
            raise StoreUnavailable("The artifact store cannot be used: it is silent")
        real(store, path, local)

    _replace(ArtifactStore, "get", get)


def wait_to_publish(switch: str) -> None:
    """Let an import wait with its publishing while the file `switch` exists."""
    real = Holder.write

    def write(holder: Holder, write: Write) -> None:
        if Path(switch).exists():
            print("It waits to publish.", flush=True)
            wait_until(lambda: not Path(switch).exists(), 60, what="it may be published")
        real(holder, write)

    _replace(Holder, "write", write)


def silent_once_published(_: str) -> None:
    """Let the artifact store answer nothing once an import is published."""
    real = imports.publish

    def silent(store: ArtifactStore, *_: Any) -> None:
        raise StoreUnavailable("The artifact store cannot be used: it is silent")

    def publish(*arguments: Any) -> dict[str, Any]:
        for method in ("delete", "exists", "put", "size"):
            _replace(ArtifactStore, method, silent)
        return real(*arguments)

    _replace(imports, "publish", publish)


def unlisted_store(_: str) -> None:
    """Let the artifact store list nothing, and look for what is to be tidied at every look."""
    _replace(importer, "_TIDY_SECONDS", 0.0)

    def names(store: ArtifactStore, path: str) -> list[str]:
        raise StoreUnavailable("The artifact store cannot be used: it lists nothing")

    _replace(ArtifactStore, "names", names)


def slow_store(switch: str) -> None:
    """Let the artifact store take nothing but checkpoints, nor refuse, while `switch` exists."""
    real = ArtifactStore.put

    def put(store: ArtifactStore, local: Path, path: str) -> None:
        if "/checkpoints/" not in path:
            wait_until(lambda: not Path(switch).exists(), 60, what="the store is quick again")
        real(store, local, path)

    _replace(ArtifactStore, "put", put)


def held_reader(_: str) -> None:
    """Let the first reader of files stand still before it is told what to read."""
    held: list[int] = []

    def start(*arguments: Any, **options: Any) -> TrainerProcess:
        reader = TrainerProcess(*arguments, **options)
        if not held:
            held.append(reader.pid)
            os.kill(reader.pid, signal.SIGSTOP)
        return reader

    _replace(import_run, "TrainerProcess", start)


def late_refusal(switch: str) -> None:
    """Let SQL refuse an artifact's row for good, but only once the file `switch` has gone."""
    real = recording.artifact

    def row(session: Session, lease: Lease, event: Any, path: str) -> None:
        if Path(switch).exists() and not path.endswith((".npz", ".txt")):
            print("SQL hesitates.", flush=True)
            wait_until(lambda: not Path(switch).exists(), 60, what="SQL refuses")
            raise ValueError("refused")
        real(session, lease, event, path)

    _replace(recording, "artifact", row)


def refused_success(switch: str) -> None:
    """Let SQL refuse for good that a job has succeeded, while the file `switch` exists."""
    real = jobs.succeed

    def succeed(session: Session, lease: Lease, *, result: dict[str, Any], detail: str) -> None:
        if Path(switch).exists():
            Path(switch).unlink()
            raise ValueError("refused")
        real(session, lease, result=result, detail=detail)

    _replace(jobs, "succeed", succeed)


def slow_preparation(switch: str) -> None:
    """Let the preparing of a job take for ever while the file `switch` exists."""
    real = inputs.gather

    def gather(*args: Any, **options: Any) -> Run:
        if Path(switch).exists():
            print("The preparing takes long.", flush=True)
        wait_until(lambda: not Path(switch).exists(), 60, what="the job can be prepared")
        return real(*args, **options)

    _replace(supervisor, "gather", gather)


def blind_preparation(switch: str) -> None:
    """Let SQL be away just when a job is prepared, while the file `switch` exists."""
    real = inputs.gather

    def gather(*args: Any, **options: Any) -> Run:
        if Path(switch).exists():
            raise OperationalError("SELECT", {}, ConnectionError("The server is gone."))
        return real(*args, **options)

    _replace(supervisor, "gather", gather)


def refusing_store(switch: str) -> None:
    """Let the artifact store permit nobody to read while the file `switch` exists."""
    real = ArtifactStore.get

    def get(store: ArtifactStore, path: str, local: Path) -> None:
        if Path(switch).exists():
            raise StoreRefused("The artifact store cannot be used: Access Denied")
        real(store, path, local)

    _replace(ArtifactStore, "get", get)


def control_group(folder: str) -> None:
    """Let the worker find its control group, of version 2, in `folder`."""
    (Path(folder) / "own").write_text("0::/\n")
    _replace(machine_memory, "_OWN_GROUPS", Path(folder) / "own")
    _replace(machine_memory, "_MOUNT", Path(folder))


def full_log(_: str) -> None:
    """Let there be no space left for logs."""
    _replace(supervisor, "JobLog", lambda _path: JobLog(Path("/dev/full")))


FAULTS: dict[str, Callable[[str], None]] = {
    function.__name__: function
    for function in (
        absent_store,
        blind_preparation,
        clock_off,
        control_group,
        deaf_consumer,
        die_before_claim,
        die_publishing,
        full_log,
        full_store,
        held_reader,
        late_refusal,
        refused_success,
        refusing_store,
        silent_once_published,
        silent_store,
        slow_preparation,
        slow_store,
        stop_in_claim,
        unlisted_store,
        visibility_timeout,
        wait_to_publish,
    )
}


def main() -> int:
    """Build the fault in, and run the worker; return its exit code."""
    name, _, argument = os.environ["FAULT"].partition(":")
    FAULTS[name](argument)
    return fake_worker.main()


if __name__ == "__main__":
    sys.exit(main())

"""Carries out imports, beside the worker's jobs: fetches the files, has them read, publishes.

A thread of its own that looks into SQL once a second, so an import waits neither for a free slot
nor for Redis. The files are read by a program with bounded memory and time (`worker.importing`);
what goes wrong there is an answer. Only a worker that stops hands the import on.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared import imports, protocol
from shared.datasets.derived import DERIVED
from shared.datasets.known import KNOWN, KnownFile
from shared.datasets.layout import ARRAYS, DESCRIPTION
from shared.errors import LeaseLost, NotFound, TrainyardError
from shared.limits import Limits
from shared.protocol import ReadDone
from shared.spec.dataset_import import DatasetImport
from shared.tickets import Ticket
from worker.recorder import is_outage
from worker.supervisor import Yard
from worker.trainer_process import READER_COMMAND, TrainerProcess, describe_exit

_LOOK_SECONDS = 1.0
_TIDY_SECONDS = 60.0
_TICK_SECONDS = 0.2
_RENEW_SECONDS = 1.0
_DOWNLOAD_CHUNK_BYTES = 1 << 20
_DOWNLOAD_TIMEOUT_SECONDS = 30.0
# Shares of the work that fetching and publishing are.
_FETCHED_SHARE = 0.15
_READ_SHARE = 0.95
_SIGKILL, _SIGXCPU = -9, -24

log = logging.getLogger(__name__)

Write = Callable[[Session], object]


class Importer:
    """The thread that imports.

    Args:
        yard: database, store, settings.
        drain: set when the worker hands back what it does.
    """

    def __init__(self, yard: Yard, drain: threading.Event) -> None:
        self._yard = yard
        self._drain = drain
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="importer", daemon=True)
        self.import_id: int | None = None

    def start(self) -> None:
        """Begin to look for imports."""
        self._thread.start()

    def stop(self) -> None:
        """Hand back what is under way, and end; the worker's drain is set."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        tidy_at = 0.0
        while not self._stopping.wait(_LOOK_SECONDS):
            if self._drain.is_set():
                continue
            try:
                if time.monotonic() >= tidy_at:
                    self._tidy()
                    tidy_at = time.monotonic() + _TIDY_SECONDS
                while not self._drain.is_set() and (ticket := self._claim()) is not None:
                    self.import_id = ticket.id
                    Errand(self._yard, ticket, self._drain).run()
            except SQLAlchemyError as error:
                if not is_outage(error):
                    log.exception("The importer goes on.")
                log.warning("No import taken, SQL is away: %s", error)
            except Exception:
                log.exception("The importer goes on.")
            finally:
                self.import_id = None

    def _claim(self) -> Ticket | None:
        settings = self._yard.settings
        with self._yard.database.read() as session:
            if not imports.waits(session):
                return None
        with self._yard.database.write() as session:
            return imports.claim(
                session, settings.worker_name, lease_seconds=settings.lease_seconds
            )

    def _tidy(self) -> None:
        with self._yard.database.write() as session:
            gone = imports.tidy(session)
        for import_id in gone:
            self._yard.store.delete(imports.folder(import_id))


class Errand:
    """One import.

    Args:
        yard: database, store, settings.
        ticket: the right to it.
        drain: set when the worker hands back what it does.
    """

    def __init__(self, yard: Yard, ticket: Ticket, drain: threading.Event) -> None:
        self._yard = yard
        self._ticket = ticket
        self._drain = drain
        self._progress: dict[str, Any] | None = None
        self._renew_at = 0.0
        self._log_lines: list[str] = []
        folder = f"import-{ticket.id}-{ticket.token[:8]}"
        self._work_dir: Path = yard.settings.worker_work_dir / folder

    def run(self) -> None:
        """Import, or write why not; whatever happens, nothing half stays."""
        log.info("Import %d.", self._ticket.id)
        over = True
        try:
            write = self._import()
            over = write is not None
            self._write(write or (lambda s: imports.give_back(s, self._ticket)))
        except (LeaseLost, NotFound) as error:  # nobody wants it any more, or somebody else has it
            log.info("%s", error)
            over = self._is_gone()
        finally:
            shutil.rmtree(self._work_dir, ignore_errors=True)
        if over:
            self._yard.store.delete(imports.folder(self._ticket.id))

    def _import(self) -> Write | None:
        """Return what ends the import; None: another worker shall do it."""
        try:
            request, files = self._gather()
            out_dir = self._work_dir / "out"
            out_dir.mkdir()
            event = self._read(request, files, out_dir)
            if event is None:
                return None
            if isinstance(event, ReadDone):
                uri = self._publish(out_dir, event)
                return lambda s: imports.publish(s, self._ticket, event, uri)
            return self._failed(event)
        except _Drained:
            return None
        except (LeaseLost, NotFound):
            raise
        except SQLAlchemyError:
            raise
        except Exception as error:  # whatever it is, the person who waits is told
            log.exception("Import %d cannot be carried out.", self._ticket.id)
            return self._failed(
                protocol.Failed(
                    kind="internal",
                    evidence=f"Worker {self._yard.settings.worker_name}: {error}",
                    suggestion="Look at that worker's log, disk and artifact store.",
                )
            )

    # --- the files ------------------------------------------------------------------------------

    def _gather(self) -> tuple[DatasetImport, list[protocol.SentFile]]:
        """Bring the files to this machine."""
        with self._yard.database.read() as session:
            row = imports.get(session, self._ticket.id)
            request, sent = DatasetImport.model_validate(row.request), list(row.files)
        in_dir = self._work_dir / "in"
        in_dir.mkdir(parents=True)
        files = []
        for place, file in enumerate(sent):
            self._tell("Fetching the files", _FETCHED_SHARE * place / len(sent))
            local = in_dir / str(place)  # never a name that somebody sent
            try:
                self._yard.store.get(file["path"], local)
            except NotFound as error:
                raise TrainyardError(
                    f"{file['name']} is not in the artifact store. Do web server and workers have "
                    "the same TRAINYARD_ARTIFACTS_URL?"
                ) from error
            files.append(protocol.SentFile(path=local, name=file["name"], part=file["part"]))
        if not files and request.known is not None:
            known = KNOWN[request.known]
            for place, source in enumerate(known.files):
                local = in_dir / str(place)
                self._download(source, local, place / len(known.files), 1 / len(known.files))
                files.append(protocol.SentFile(path=local, name=source.name))
        return request, files

    def _download(self, file: KnownFile, local: Path, done: float, part: float) -> None:
        """Fetch a file of a known set, and check it."""
        settings = self._yard.settings
        if not settings.downloads:
            raise TrainyardError(
                "This worker may not fetch data sets (TRAINYARD_DOWNLOADS). Send the files instead."
            )
        mirror = settings.known_sets_url.rstrip("/")
        url = f"{mirror}/{file.name}" if mirror else file.url
        digest = hashlib.md5(usedforsecurity=False)
        try:
            with (
                httpx.stream(
                    "GET", url, timeout=_DOWNLOAD_TIMEOUT_SECONDS, follow_redirects=True
                ) as answer,
                local.open("wb") as target,
            ):
                answer.raise_for_status()
                length = int(answer.headers.get("Content-Length", 0))
                for chunk in answer.iter_bytes(_DOWNLOAD_CHUNK_BYTES):
                    target.write(chunk)
                    digest.update(chunk)
                    if target.tell() > settings.max_upload_bytes:
                        raise TrainyardError(f"{url} is larger than a data set's file may be.")
                    share = target.tell() / length if length else 0.0
                    self._tell(f"Fetching {file.name}", _FETCHED_SHARE * (done + part * share))
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise TrainyardError(
                f"{url} cannot be fetched: {reason}. If this machine has no way there, send "
                "the files, or name a mirror (TRAINYARD_KNOWN_SETS_URL)."
            ) from error
        if digest.hexdigest() != file.md5:
            raise TrainyardError(
                f"{url} must have the MD5 {file.md5}. Received: {digest.hexdigest()}."
            )

    # --- reading --------------------------------------------------------------------------------

    def _read(
        self, request: DatasetImport, files: list[protocol.SentFile], out_dir: Path
    ) -> ReadDone | protocol.Refused | protocol.Failed | None:
        """Have the files read; None if the worker stops meanwhile."""
        limits = Limits.of(self._yard.settings)
        reader = TrainerProcess({"OPENBLAS_NUM_THREADS": "1"}, READER_COMMAND)
        reader.attach_log(self._take_log_line)
        try:
            reader.send(
                protocol.Read(files=files, options=request.options, limits=limits, out_dir=out_dir)
            )
            return self._follow(reader, limits)
        finally:
            reader.kill()

    def _follow(
        self, reader: TrainerProcess, limits: Limits
    ) -> ReadDone | protocol.Refused | protocol.Failed | None:
        gives_up_at = time.monotonic() + limits.seconds
        while not self._drain.is_set():
            self._renew_if_due()
            if time.monotonic() > gives_up_at:
                return _took_too_long(limits)
            try:
                event = reader.events.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                continue
            match event:
                case protocol.Reading():
                    span = _READ_SHARE - _FETCHED_SHARE
                    self._tell(event.doing, _FETCHED_SHARE + span * event.share)
                case ReadDone() | protocol.Refused() | protocol.Failed():
                    return event
                case None:
                    return self._died(reader.wait(1.0), limits)
                case _:
                    pass
        return None

    def _died(self, code: int | None, limits: Limits) -> protocol.Failed:
        if code == _SIGXCPU:
            return _took_too_long(limits)
        evidence = " ".join([describe_exit(code).replace("trainer", "reader"), *self._log_lines])
        if code == _SIGKILL:
            return protocol.Failed(
                kind="out_of_memory",
                evidence=evidence,
                suggestion="The machine most likely ran out of memory: send a smaller file.",
            )
        return protocol.Failed(
            kind="internal", evidence=evidence, suggestion="Look at the worker's log."
        )

    def _take_log_line(self, line: str) -> None:
        log.info("Import %d: %s", self._ticket.id, line)
        self._log_lines = [*self._log_lines, line][-5:]

    # --- what comes of it -----------------------------------------------------------------------

    def _publish(self, out_dir: Path, read: ReadDone) -> str:
        """Put a version into the artifact store, its description last."""
        uri = f"datasets/{read.version}"
        names = [*(f"{array}.npy" for array in (*ARRAYS, *DERIVED)), DESCRIPTION]
        if not self._yard.store.exists(f"{uri}/{DESCRIPTION}"):
            for place, name in enumerate(names):
                share = _READ_SHARE + (1 - _READ_SHARE) * place / len(names)
                self._tell("Storing the version", share)
                self._yard.store.put(out_dir / name, f"{uri}/{name}")
        return uri

    def _failed(self, event: protocol.Refused | protocol.Failed) -> Write:
        if isinstance(event, protocol.Refused):
            failure: dict[str, Any] = {
                "kind": "data",
                "evidence": " ".join(str(fault) for fault in event.faults),
                "suggestion": "Correct the file, or say in the options how it is to be read.",
                "faults": [fault.model_dump(mode="json") for fault in event.faults],
            }
        else:
            failure = event.model_dump(mode="json", exclude={"event"}) | {"faults": []}
        return lambda s: imports.fail(s, self._ticket, failure)

    def _tell(self, doing: str, share: float) -> None:
        """Remember how far it is, and write it when that is due.

        Raises:
            LeaseLost: nobody wants the import any more.
            _Drained: the worker stops.
        """
        self._progress = {"doing": doing, "share": round(share, 4)}
        self._renew_if_due()
        if self._drain.is_set():
            raise _Drained

    def _renew_if_due(self) -> None:
        if time.monotonic() < self._renew_at:
            return
        self._renew_at = time.monotonic() + _RENEW_SECONDS
        try:
            with self._yard.database.write() as session:
                imports.renew(
                    session,
                    self._ticket,
                    lease_seconds=self._yard.settings.lease_seconds,
                    progress=self._progress,
                )
        except SQLAlchemyError as error:
            if not is_outage(error):
                raise
            log.warning("SQL is away, import %d goes on: %s", self._ticket.id, error)

    def _write(self, write: Write) -> None:
        """Write as soon as SQL takes it, for as long as the right to it may hold."""
        gives_up_at = time.monotonic() + self._yard.settings.lease_seconds
        while True:
            try:
                with self._yard.database.write() as session:
                    write(session)
            except SQLAlchemyError as error:
                if not is_outage(error):
                    raise
                if time.monotonic() >= gives_up_at or self._drain.wait(_RENEW_SECONDS):
                    raise LeaseLost(f"SQL is away, import {self._ticket.id} goes back.") from error
            else:
                return

    def _is_gone(self) -> bool:
        """Whether a person has deleted the import."""
        try:
            with self._yard.database.read() as session:
                imports.get(session, self._ticket.id)
        except NotFound:
            return True
        except SQLAlchemyError:
            return False
        return False


class _Drained(Exception):
    """The worker stops; another one shall import."""


def _took_too_long(limits: Limits) -> protocol.Failed:
    return protocol.Failed(
        kind="internal",
        evidence=f"Reading took longer than the {limits.seconds:g} s that it may.",
        suggestion="Send the data as .npz or IDX, or raise TRAINYARD_IMPORT_SECONDS.",
    )

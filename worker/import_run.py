"""Carries out one import: fetches the files, has them read, publishes the version.

The files are read by a program with bounded memory and time (`worker.importing`); what goes wrong
there is an answer. Only a worker that stops hands the import on.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import shutil
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared import catalogue, imports, protocol
from shared.datasets.derived import DERIVED
from shared.datasets.known import KNOWN, KnownFile
from shared.datasets.layout import ARRAYS, DESCRIPTION
from shared.errors import LeaseLost, NotFound, StoreUnavailable, TrainyardError
from shared.limits import Limits
from shared.reading import Read, ReadDone, Reading, Refused, SentFile
from shared.spec.dataset_import import DatasetImport
from shared.tickets import Ticket
from worker.download import NotFetched, fetch_known
from worker.holder import Holder, Write
from worker.supervisor import Yard
from worker.trainer_process import READER_COMMAND, TrainerProcess, describe_exit

_TICK_SECONDS = 0.2
_STORE_PATIENCE_SECONDS = 600.0
_STORE_PAUSE_SECONDS = 2.0
# Shares of the work that fetching, and all before publishing, are.
_FETCHED_SHARE = 0.15
_READ_SHARE = 0.95
_SIGKILL, _SIGXCPU = -9, -24
# The description last: with it, a version is complete.
_VERSION_FILES = (*(f"{array}.npy" for array in (*ARRAYS, *DERIVED)), DESCRIPTION)

log = logging.getLogger(__name__)

T = TypeVar("T")


class ImportRun:
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
        self._holder = Holder(yard, ticket, drain, renew=imports.renew, what=f"import {ticket.id}")
        self._log_lines: list[str] = []
        folder = f"import-{ticket.id}-{ticket.token[:8]}"
        self._unpublished: str | None = None
        self._work_dir: Path = yard.settings.worker_work_dir / folder

    def run(self) -> None:
        """Import, or write why not; whatever happens, nothing half stays."""
        log.info("Import %d.", self._ticket.id)
        over = True
        try:
            with self._holder:
                over = self._carry_out()
        except (LeaseLost, NotFound) as error:  # nobody wants it any more, or somebody else has it
            log.info("%s", error)
            over = self._is_gone()
        finally:
            shutil.rmtree(self._work_dir, ignore_errors=True)
            if self._unpublished:
                self._discard(self._unpublished)
        if over:
            self._discard(imports.folder(self._ticket.id))

    def _carry_out(self) -> bool:
        """Import, and write what came of it; return False if another worker shall do it."""
        try:
            self._import()
        except _Drained:
            self._holder.write(lambda s: imports.give_back(s, self._ticket))
            return False
        except (LeaseLost, NotFound, SQLAlchemyError):
            raise
        except NotFetched as error:
            self._holder.write(self._not_fetched(error))
        except Exception as error:  # whatever it is, the person who waits is told
            log.exception("Import %d cannot be carried out.", self._ticket.id)
            failure = protocol.Failed(
                kind="internal",
                evidence=f"Worker {self._yard.settings.worker_name}: {error}",
                suggestion="Look at that worker's log, disk and artifact store.",
            )
            self._holder.write(self._failed(failure))
        return True

    def _import(self) -> None:
        request, files = self._gather()
        out_dir = self._work_dir / "out"
        out_dir.mkdir()
        event = self._read(request, files, out_dir)
        if not isinstance(event, ReadDone):
            self._holder.write(self._failed(event))
            return
        self._publish(event, out_dir)

    # --- the files ------------------------------------------------------------------------------

    def _gather(self) -> tuple[DatasetImport, list[SentFile]]:
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
            self._fetch_sent(file, local)
            files.append(SentFile(path=local, name=file["name"], part=file["part"]))
        if not files and request.known is not None:
            known = KNOWN[request.known]
            for place, source in enumerate(known.files):
                local = in_dir / str(place)
                self._fetch(source, local, place / len(known.files), 1 / len(known.files))
                files.append(SentFile(path=local, name=source.name))
        return request, files

    def _fetch_sent(self, file: dict[str, Any], local: Path) -> None:
        """Fetch a file that was sent, and see that it is the one."""
        try:
            self._patiently(lambda: self._yard.store.get(file["path"], local))
        except NotFound as error:
            raise TrainyardError(
                f"{file['name']} is not in the artifact store. Do web server and workers have "
                "the same TRAINYARD_ARTIFACTS_URL?"
            ) from error
        with local.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != file["sha256"]:
                raise TrainyardError(f"{file['name']} is damaged in the artifact store.")

    def _patiently(self, call: Callable[[], T]) -> T:
        """Ask the artifact store, again and again while it is away for a moment."""
        gives_up_at = time.monotonic() + _STORE_PATIENCE_SECONDS
        while True:
            self._check()
            try:
                return call()
            except StoreUnavailable as error:
                if time.monotonic() > gives_up_at:
                    raise
                log.warning("Import %d waits: %s", self._ticket.id, error)
                self._drain.wait(_STORE_PAUSE_SECONDS)

    def _fetch(self, file: KnownFile, local: Path, done: float, part: float) -> None:
        """Fetch a file of a public set, a `part` of all that is to be fetched."""

        def tell(share: float) -> None:
            self._tell(f"Fetching {file.name}", _FETCHED_SHARE * (done + part * share))

        fetch_known(file, local, self._yard.settings, tell, pause=self._drain.wait)

    # --- reading --------------------------------------------------------------------------------

    def _read(
        self, request: DatasetImport, files: list[SentFile], out_dir: Path
    ) -> ReadDone | Refused | protocol.Failed:
        """Have the files read."""
        limits = Limits.of(self._yard.settings)
        reader = TrainerProcess({"OPENBLAS_NUM_THREADS": "1"}, READER_COMMAND, confined=True)
        reader.attach_log(self._take_log_line)
        try:
            reader.send(Read(files=files, options=request.options, limits=limits, out_dir=out_dir))
            return self._follow(reader, limits)
        finally:
            reader.kill()

    def _follow(
        self, reader: TrainerProcess, limits: Limits
    ) -> ReadDone | Refused | protocol.Failed:
        gives_up_at = time.monotonic() + limits.seconds
        while True:
            self._check()
            if time.monotonic() > gives_up_at:
                return _took_too_long(limits)
            try:
                event = reader.events.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                continue
            match event:
                case Reading():
                    span = _READ_SHARE - _FETCHED_SHARE
                    self._tell(event.doing, _FETCHED_SHARE + span * event.share)
                case ReadDone() | Refused() | protocol.Failed():
                    return event
                case None:
                    return self._died(reader.wait(1.0), limits)
                case _:
                    pass

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

    def _publish(self, read: ReadDone, out_dir: Path) -> None:
        """Store the version where a data set has it already, or else in its own place; publish it.

        A place that no data set names is never taken up again: whoever deletes it harms nobody.
        """
        own = f"datasets/{read.version}-{self._ticket.token[:8]}"
        with self._yard.database.read() as session:
            place = catalogue.place_of(session, read.version) or own
        try:
            self._store_and_enter(read, out_dir, place, own=own)
        except _PlaceGone:  # deleted meanwhile
            self._store_and_enter(read, out_dir, own, own=own)

    def _store_and_enter(self, read: ReadDone, out_dir: Path, place: str, *, own: str) -> None:
        def enter(session: Session) -> None:
            if place != own and not catalogue.keep(session, place):
                raise _PlaceGone
            report = imports.publish(session, self._ticket, read, place)
            if report["known"] and place == own:  # the data set has it elsewhere by now
                self._unpublished = own

        self._unpublished = own
        for number, name in enumerate(_VERSION_FILES):
            share = _READ_SHARE + (1 - _READ_SHARE) * number / len(_VERSION_FILES)
            self._holder.tell("Storing the version", share)
            self._patiently(partial(self._store_file, out_dir / name, f"{place}/{name}"))
        self._unpublished = None  # from here on it may be published though SQL does not answer
        self._holder.write(enter)

    def _store_file(self, local: Path, path: str) -> None:
        """Store a file unless it is there, whole."""
        if self._yard.store.size(path) != local.stat().st_size:
            self._yard.store.put(local, path)

    def _discard(self, path: str) -> None:
        try:
            self._yard.store.delete(path)
        except (OSError, TrainyardError) as error:
            log.warning("Import %d: %s stays for now: %s", self._ticket.id, path, error)

    def _failed(self, event: Refused | protocol.Failed) -> Write:
        if isinstance(event, Refused):
            failure: dict[str, Any] = {
                "kind": "data",
                "evidence": " ".join(str(fault) for fault in event.faults),
                "suggestion": "Correct the file, or say in the options how it is to be read.",
                "faults": [fault.model_dump(mode="json") for fault in event.faults],
            }
        else:
            failure = event.model_dump(mode="json", exclude={"event"}) | {"faults": []}
        return lambda s: imports.fail(s, self._ticket, failure)

    def _not_fetched(self, error: NotFetched) -> Write:
        """Say what can be done about a public set that cannot be fetched."""
        log.warning("Import %d: %s", self._ticket.id, error)
        with self._yard.database.read() as session:
            request = DatasetImport.model_validate(imports.get(session, self._ticket.id).request)
        failure = {
            "kind": "fetch",
            "evidence": f"Worker {self._yard.settings.worker_name}: {error}",
            "suggestion": f"Send the files yourself: choose {KNOWN[request.known or ''].title} and "
            f"the files in the form, or `trainyard datasets add {request.name} FILES --known "
            f"{request.known}`. Or name a mirror in TRAINYARD_KNOWN_SETS_URL.",
            "faults": [],
        }
        return lambda s: imports.fail(s, self._ticket, failure)

    def _tell(self, doing: str, share: float) -> None:
        """Tell how far it is; raises as `_check`."""
        self._check()
        self._holder.tell(doing, share)

    def _check(self) -> None:
        """See whether to go on.

        Raises:
            LeaseLost: nobody wants the import any more.
            _Drained: the worker stops.
        """
        self._holder.check()
        if self._drain.is_set():
            raise _Drained

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


class _PlaceGone(Exception):
    """No data set names the place any more where the version was to lie."""


def _took_too_long(limits: Limits) -> protocol.Failed:
    return protocol.Failed(
        kind="internal",
        evidence=f"Reading took longer than the {limits.seconds:g} s that it may.",
        suggestion="Send the data as .npz or IDX, or raise TRAINYARD_IMPORT_SECONDS.",
    )

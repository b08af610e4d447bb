"""Answers one pre-flight: gives a trainer the spec to try out, and writes down what it found.

A small supervisor: no job hangs on it, so what goes wrong is an answer too. Only a worker that
stops hands the question on.
"""

from __future__ import annotations

import logging
import queue
import shutil
import signal
import threading
import time
from pathlib import Path

from shared import catalogue, preflights, protocol
from shared.errors import LeaseLost, NotFound
from shared.spec import JobSpec
from shared.tickets import Ticket
from worker.holder import Holder, Write
from worker.inputs import fetch_dataset
from worker.machine_memory import MemoryWatch
from worker.standby import Standby
from worker.supervisor import Yard
from worker.trainer_process import TrainerProcess, describe_exit

_TICK_SECONDS = 0.2
_LONGEST_SECONDS = 600.0
_SHOWN_LOG_LINES = 5

log = logging.getLogger(__name__)


class Pilot:
    """The answering of one pre-flight.

    Args:
        yard: database and settings.
        ticket: the right to answer.
        standby: where the trainer comes from.
        drain: set when the worker stops.
    """

    def __init__(
        self, yard: Yard, ticket: Ticket, standby: Standby, drain: threading.Event
    ) -> None:
        self._yard = yard
        self._ticket = ticket
        self._standby = standby
        self._drain = drain
        self._holder = Holder(
            yard, ticket, drain, renew=preflights.renew, what=f"pre-flight {ticket.id}"
        )
        self._log_lines: list[str] = []
        folder = f"preflight-{ticket.id}-{ticket.token[:8]}"
        self._work_dir: Path = yard.settings.worker_work_dir / folder

    def run(self) -> None:
        """Find the answer and write it, unless somebody else has to."""
        with self._holder:
            self._try()

    def _try(self) -> None:
        try:
            answer = self._answer()
        except LeaseLost as error:  # nobody asks any more, or somebody else answers
            log.info("%s", error)
            return
        except Exception as error:  # whatever it is, the person who waits is told
            log.exception("Pre-flight %d cannot be tried.", self._ticket.id)
            answer = self._failed(
                "internal",
                f"Worker {self._yard.settings.worker_name} could not try it: {error}",
                "Look at that worker's log, disk and artifact store.",
            )
        finally:
            shutil.rmtree(self._work_dir, ignore_errors=True)
            if not self._drain.is_set():
                self._standby.refill()
        try:
            self._holder.write(answer)
        except LeaseLost as error:
            log.info("%s", error)

    def _answer(self) -> Write:
        self._work_dir.mkdir(parents=True)
        assignment = self._gather()
        trainer = self._standby.take()
        trainer.attach_log(self._take_log_line)
        try:
            trainer.send(assignment)
            return self._follow(trainer)
        finally:
            trainer.kill()

    def _gather(self) -> protocol.Measure:
        with self._yard.database.read() as session:
            try:
                spec = JobSpec.model_validate(preflights.get(session, self._ticket.id).spec)
            except NotFound as error:
                raise LeaseLost(str(error)) from error
            version = catalogue.resolve(session, spec.dataset)
        return protocol.Measure(
            spec=spec,
            dataset_dir=fetch_dataset(version, self._yard.datasets),
            work_dir=self._work_dir,
        )

    def _follow(self, trainer: TrainerProcess) -> Write:
        """Wait for the trainer's answer; keep the right to write it meanwhile."""
        memory = MemoryWatch()
        gives_up_at = time.monotonic() + _LONGEST_SECONDS
        while not self._drain.is_set():
            self._holder.check()
            memory.look()
            if time.monotonic() > gives_up_at:
                return self._failed(
                    "timeout",
                    f"It was not done after {_LONGEST_SECONDS:g} s.",
                    "Try a smaller model or batch.",
                )
            try:
                event = trainer.events.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                continue
            match event:
                case protocol.Measuring():
                    self._holder.tell(event.doing, event.share)
                    self._holder.show()
                case protocol.Measured():
                    report = event.model_dump(mode="json", exclude={"event"})
                    return lambda s: preflights.finish(s, self._ticket, report)
                case protocol.Failed():
                    return self._failed(event.kind, event.evidence, event.suggestion)
                case None:
                    return self._died(trainer.wait(1.0), memory)
                case _:
                    pass
        return lambda s: preflights.give_back(s, self._ticket)

    def _died(self, code: int | None, memory: MemoryWatch) -> Write:
        how = describe_exit(code)
        if code == -signal.SIGKILL and (evidence := memory.evidence()) is not None:
            return self._failed(
                "out_of_memory", f"{how} {evidence}", "Try a smaller batch, or a smaller model."
            )
        evidence = " ".join([how, *self._log_lines])
        return self._failed("internal", evidence, "Look at the worker's log; then try again.")

    def _failed(self, kind: str, evidence: str, suggestion: str) -> Write:
        failure = {"kind": kind, "evidence": evidence, "suggestion": suggestion}
        return lambda s: preflights.fail(s, self._ticket, failure)

    def _take_log_line(self, line: str) -> None:
        self._log_lines = [*self._log_lines, line][-_SHOWN_LOG_LINES:]

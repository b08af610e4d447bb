"""How an attempt can end, and what SQL then says of it.

Knows the words and the writes; when which of them is due, the supervisor knows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from shared import jobs, protocol
from shared.jobs import Lease
from worker.drain import StopOrder

_READ_THE_LOG = (
    "Read the end of the log. A process killed by signal 9 often means that the machine ran out of "
    "memory: try a smaller batch or model."
)
_TAKE_LESS_MEMORY = (
    "Halve the batch size, or choose a smaller model; a pre-flight finds the largest batch that "
    "fits. If other jobs ran beside it, fewer slots leave more for each."
)
_LOOK_AT_THE_STORE = "Look at the artifact store: its space and its access."
_LOOK_AT_SQL = "Look at the database and at that worker's log; then retry."


@dataclass(frozen=True)
class Verdict:
    """How an attempt ended.

    Attributes:
        word: for the log.
        record: writes it to SQL; None if the lease is lost and nothing may be written.
    """

    word: str
    record: Callable[[Session], None] | None


@dataclass(frozen=True)
class Verdicts:
    """The verdicts on one attempt.

    Attributes:
        lease: the attempt's.
        progress: returns the newest progress of its trainer.
    """

    lease: Lease
    progress: Callable[[], dict[str, Any] | None]

    def lost(self) -> Verdict:
        """Somebody else owns the job now."""
        return Verdict("lost its lease", None)

    def succeeded(self, event: protocol.Finished) -> Verdict:
        """The result is to be accepted."""
        result = event.model_dump(mode="json", exclude={"event"})
        return Verdict(
            "succeeded",
            lambda s: jobs.succeed(s, self.lease, result=result, detail=event.detail),
        )

    def cancelled(self) -> Verdict:
        """Nobody wants the job any more."""
        return Verdict("cancelled", lambda s: jobs.cancel(s, self.lease))

    def paused(self, where: str) -> Verdict:
        """The job rests, as somebody asked; `where` says what was saved."""
        detail, reached = f"Stopped on request; {where}.", self._reached()
        return Verdict(
            "paused", lambda s: jobs.pause(s, self.lease, detail=detail, reached=reached)
        )

    def given_back(self, detail: str) -> Verdict:
        """Another attempt goes on; nobody is to blame."""
        reached = self._reached()
        return Verdict(
            "given back", lambda s: jobs.give_back(s, self.lease, detail=detail, reached=reached)
        )

    def stopped(self, order: StopOrder | None, where: str) -> Verdict:
        """The trainer has ended as ordered, or its time is over.

        What it was ordered for counts, though it may have been taken back meanwhile: the job then
        goes back into the queue.
        """
        if order is None:
            return self.given_back(f"Somebody else stopped the trainer; {where}.")
        return (
            self.paused(where) if order.pause else self.given_back(f"The worker stopped; {where}.")
        )

    def failed(self, kind: str, evidence: str, suggestion: str) -> Verdict:
        """The job cannot go on, for a reason of its own."""
        failure = {"kind": kind, "evidence": evidence, "suggestion": suggestion}
        return Verdict("failed", lambda s: jobs.fail(s, self.lease, failure=failure))

    def crashed(self, evidence: str, suggestion: str = _READ_THE_LOG) -> Verdict:
        """Something broke that another attempt may be spared."""
        failure = {"kind": "internal", "evidence": evidence, "suggestion": suggestion}
        return Verdict("crashed", lambda s: jobs.crash(s, self.lease, failure=failure))

    def killed_for_memory(self, evidence: str) -> Verdict:
        """The machine has less memory than the job takes: the same again would end the same."""
        return self.failed("out_of_memory", evidence, _TAKE_LESS_MEMORY)

    def stalled(self, seconds: float) -> Verdict:
        """The trainer hangs."""
        return self.crashed(
            f"The trainer has reported nothing for {seconds:g} s.",
            "It hangs: read the end of the log. If it only needs more time, whoever runs the "
            "worker can raise TRAINYARD_STALL_SECONDS.",
        )

    def not_stored(self, reason: str) -> Verdict:
        """The store refused a result."""
        return self.crashed(reason, _LOOK_AT_THE_STORE)

    def not_recorded(self, error: Exception) -> Verdict:
        """SQL refused a record for good."""
        return self.crashed(f"A record could not be written: {error}", _LOOK_AT_SQL)

    def _reached(self) -> tuple[int, int] | None:
        progress = self.progress()
        return (progress["epoch"], progress["step"]) if progress else None

"""Notices that Celery's consumer hears nothing although the bell rings, and takes its place.

Consumers have stopped for good after a reconnect before (celery#8030, #8091, #10205), in a
process that looks healthy. What shows it is a message that waits in Redis beside a free slot: a
consumer that is well takes it within milliseconds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from shared.errors import QueueUnavailable
from shared.queue import Bell
from worker.host import Host

_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 15.0

log = logging.getLogger(__name__)


class Watchdog:
    """Looks once a second.

    Args:
        host: whose free slots are to work.
        bell: asked for waiting messages.
        reconnect: makes the consumer begin anew; safe in any thread.
        patience_seconds: how long messages may wait beside a free slot.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        host: Host,
        bell: Bell,
        reconnect: Callable[[], None],
        *,
        patience_seconds: float = _PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._bell = bell
        self._reconnect = reconnect
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._unheard_since: float | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._substitutes: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more, and wait for the jobs that were taken in the consumer's place."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        for substitute in self._substitutes:
            substitute.join()
        self._bell.close()

    def look(self) -> bool:
        """Look once, and act if the consumer is deaf; return whether it is."""
        if not (self._host.has_free_slot and self._messages_wait()):
            self._unheard_since = None
            return False
        if self._unheard_since is None:
            self._unheard_since = self._clock()
        if self._clock() - self._unheard_since < self._patience_seconds:
            return False
        self._unheard_since = None
        log.error(
            "Celery has taken no message for %g s although a slot is free: "
            "the worker takes a job without it, and makes it connect anew.",
            self._patience_seconds,
        )
        self._substitute()
        self._reconnect()
        return True

    def _messages_wait(self) -> bool:
        try:
            return any(self._bell.waiting(queue) for queue in self._host.yard.settings.queue_names)
        except QueueUnavailable:
            return False  # Redis is away: no fault of the consumer's

    def _substitute(self) -> None:
        self._substitutes = [thread for thread in self._substitutes if thread.is_alive()]
        substitute = threading.Thread(target=self._host.work, name="substitute", daemon=True)
        substitute.start()
        self._substitutes.append(substitute)

    def _run(self) -> None:
        while not self._end.wait(_LOOK_SECONDS):
            try:
                self.look()
            except Exception:
                log.exception("The watchdog could not look.")

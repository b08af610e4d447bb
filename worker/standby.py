"""The warm standby: one trainer a slot that has imported TensorFlow and waits.

A trainer serves one attempt. Taking the standby leaves the place empty until `refill`, which the
supervisor calls once the taken one is training.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from worker.trainer_process import TrainerProcess

log = logging.getLogger(__name__)


class Standby:
    """Keeps one trainer ready for a slot.

    Args:
        spawn: starts a trainer process.
    """

    def __init__(self, spawn: Callable[[], TrainerProcess]) -> None:
        self._spawn = spawn
        self._waiting: TrainerProcess | None = None
        self._lock = threading.Lock()
        self._closed = False

    @property
    def warm(self) -> bool:
        """Whether a trainer waits that has imported TensorFlow."""
        trainer = self._waiting
        return trainer is not None and trainer.alive and trainer.ready is not None

    @property
    def versions(self) -> dict[str, str]:
        """Versions that the waiting trainer reported; empty until it is warm."""
        trainer = self._waiting
        return dict(trainer.ready.versions) if trainer is not None and trainer.ready else {}

    def refill(self) -> None:
        """Start a trainer if none waits; if that fails, the next job starts its own."""
        with self._lock:
            if self._closed or (self._waiting is not None and self._waiting.alive):
                return
            try:
                self._waiting = self._spawn()
            except OSError as error:
                log.warning("No standby trainer: %s", error)
                self._waiting = None

    def take(self) -> TrainerProcess:
        """Return a trainer, the waiting one if it lives; it may still be importing.

        Raises:
            OSError: none waits, and none can be started.
        """
        with self._lock:
            trainer, self._waiting = self._waiting, None
        if trainer is not None and trainer.alive:
            return trainer
        return self._spawn()

    def close(self) -> None:
        """End the waiting trainer and start no other."""
        with self._lock:
            self._closed = True
            trainer, self._waiting = self._waiting, None
        if trainer is not None:
            trainer.close()

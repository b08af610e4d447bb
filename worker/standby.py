"""The warm standby: one trainer a slot that has imported TensorFlow and waits.

A trainer serves one attempt. Taking the standby leaves the place empty until `refill`, which the
supervisor calls once the taken one is training.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from worker.trainer_process import TrainerProcess


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
        """Start a trainer if none waits."""
        with self._lock:
            if not self._closed and (self._waiting is None or not self._waiting.alive):
                self._waiting = self._spawn()

    def take(self) -> TrainerProcess:
        """Return a trainer, the waiting one if it lives; it may still be importing."""
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

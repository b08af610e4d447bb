"""How much work to do before the host looks up again: about a second's worth."""

from __future__ import annotations

# Timings of short calls are rough: approach the goal from below, a few times more each call.
_MOST_GROWTH = 4


class Pace:
    """Chooses how many steps the next call should take.

    Starts at one step, so that the first progress comes as early as can be.

    Args:
        goal_seconds: how long a call should last.
    """

    def __init__(self, goal_seconds: float) -> None:
        self._goal_seconds = goal_seconds
        self.steps = 1

    def record(self, steps: int, seconds: float) -> None:
        """Take note of a call that did `steps` steps in `seconds`."""
        wanted = int(self._goal_seconds * steps / max(seconds, 1e-9))
        self.steps = max(1, min(wanted, self.steps * _MOST_GROWTH))

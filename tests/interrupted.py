"""Training that is killed again and again, and what must not depend on it."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.protocol import Checkpoint, Epoch
from shared.spec import JobSpec
from tests.trainers import Stable, Trainer
from tests.waiting import wait_until

_EVENTS_BEFORE_A_KILL = 5  # the first says that the trainer is ready
_SECONDS_INTO_A_STEP = 0.6
_PATIENCE_SECONDS = 120.0


def resume(
    stable: Stable, spec: JobSpec, dataset_dir: Path, checkpoints: Sequence[Path]
) -> Trainer:
    """Start a trainer that goes on from the best of some checkpoints."""
    trainer = stable.take()
    trainer.run(spec, dataset_dir, checkpoints=checkpoints)
    return trainer


def checkpoints_of(trainer: Trainer) -> list[Path]:
    """Return the checkpoints that a supervisor would hand to the next trainer, best first."""
    return [item.path for item in reversed(trainer.all(Checkpoint)) if item.path.exists()]


def train_with_kills(
    stable: Stable,
    spec: JobSpec,
    dataset_dir: Path,
    checkpoints: Sequence[Path],
    *,
    kills: int,
    chance: random.Random,
) -> list[Trainer]:
    """Train a job to its end, with SIGKILL wherever its trainer happens to be.

    Args:
        stable: where trainers come from.
        spec: the job.
        dataset_dir: what it trains on.
        checkpoints: where it goes on, best first.
        kills: how many; fewer if the job is over sooner.
        chance: decides after which event, and how long after it, a trainer is killed.

    Returns:
        The trainers, of which the last one finished the job and all others were killed.
    """
    trainers: list[Trainer] = []
    for number in range(kills + 1):
        trainer = resume(stable, spec, dataset_dir, checkpoints)
        trainers.append(trainer)
        if number == kills or not _killed(trainer, chance):
            break
        checkpoints = [*checkpoints_of(trainer), *checkpoints]
    trainers[-1].finish()
    return trainers


def figures(*trainers: Trainer) -> list[dict[str, Any]]:
    """Return what must not depend on disturbances: all but the times, each epoch once."""
    found: dict[int, dict[str, Any]] = {}
    for trainer in trainers:
        for epoch in trainer.all(Epoch):
            row = epoch.model_dump(exclude={"seconds", "images_per_second", "replayed"})
            assert found.setdefault(epoch.epoch, row) == row
    assert list(found) == list(range(1, len(found) + 1))
    return list(found.values())


def _killed(trainer: Trainer, chance: random.Random) -> bool:
    """Kill the trainer in the middle of its work; return whether it was still at work."""
    events = chance.randint(1, _EVENTS_BEFORE_A_KILL)
    seconds = chance.uniform(0, _SECONDS_INTO_A_STEP)

    def far_enough() -> bool:
        return trainer.process.poll() is not None or len(trainer.events) > events

    wait_until(far_enough, _PATIENCE_SECONDS, what=f"{events} events")
    try:
        trainer.process.wait(seconds)
    except subprocess.TimeoutExpired:
        trainer.kill()
        return True
    return False

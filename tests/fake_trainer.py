"""A trainer that speaks the protocol, learns nothing and lasts as long as the test wants.

Run as `python -m tests.fake_trainer`, in place of `worker.training --serve`. The spec decides
what happens: `seed` picks the behaviour (see `Behaviour`), `epochs` the length. An epoch ends
when a file `go-<epoch>` lies in the folder FAKE_TRAINER_GATE, or at once without that variable.
"""

from __future__ import annotations

import enum
import hashlib
import json
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path

from shared.protocol import (
    Artifact,
    Checkpoint,
    Epoch,
    Event,
    Failed,
    Finished,
    Layer,
    Progress,
    Ready,
    Run,
    Started,
    Stop,
    Stopped,
    parse_command,
)

STEPS = 10


class Behaviour(enum.IntEnum):
    """What the fake does, by the spec's seed."""

    WELL = 0
    DIES = 1  # kills itself in the first epoch, every time
    DIVERGES = 2  # reports a failure of the job's own
    DIES_ONCE = 3  # kills itself in the second epoch, unless it was resumed
    EXITS = 4  # ends with exit code 3 and no result
    DEAF = 5  # ignores `stop`


def say(event: Event) -> None:
    """Report one event."""
    sys.stdout.write(event.to_line())
    sys.stdout.flush()


class FakeTrainer:
    """One run of the fake."""

    def __init__(self, run: Run, commands: queue.Queue[Stop | None]) -> None:
        self.run = run
        self.behaviour = Behaviour(run.spec.seed)
        self.commands = commands
        self.history: list[Epoch] = []
        gate = os.environ.get("FAKE_TRAINER_GATE")
        self.gate = Path(gate) if gate else None

    def main(self) -> None:
        """Train all epochs, or until told otherwise."""
        resumed = self.restore()
        first = len(self.history) + 1
        self.say_started(first, resumed)
        for epoch in self.history:
            say(epoch.model_copy(update={"replayed": True}))
        for number in range(first, self.run.spec.epochs + 1):
            self.train(number, resumed=resumed is not None)
        self.finish()

    def train(self, number: int, *, resumed: bool) -> None:
        """Train one epoch: first step, gate, result, checkpoint."""
        say(Progress(phase="train", epoch=number, step=1, steps=STEPS, train_accuracy=0.5))
        self.misbehave(number, resumed=resumed)
        self.wait_at_gate(number)
        epoch = Epoch(
            epoch=number,
            train_accuracy=1 - 0.5**number,
            train_loss=0.5**number,
            eval_accuracy=1 - 0.6**number,
            eval_loss=0.6**number,
            learning_rate=0.001 * 0.9 ** (number - 1),
            seconds=0.1,
            images_per_second=1000.0,
        )
        self.history.append(epoch)
        say(epoch)
        self.save(number + 1)

    def misbehave(self, number: int, *, resumed: bool) -> None:
        """Do the harm that the seed asks for."""
        print(f"epoch {number} begins", file=sys.stderr, flush=True)
        match self.behaviour:
            case Behaviour.DIES:
                os.kill(os.getpid(), signal.SIGKILL)
            case Behaviour.DIES_ONCE if number == 2 and not resumed:
                os.kill(os.getpid(), signal.SIGKILL)
            case Behaviour.EXITS:
                os._exit(3)
            case Behaviour.DIVERGES:
                say(Failed(kind="diverged", evidence="Loss is NaN at step 1.", suggestion="Less."))
                os._exit(1)

    def wait_at_gate(self, number: int) -> None:
        """Wait until the test opens the gate; serve `stop` meanwhile."""
        while True:
            if not self.commands.empty() and self.behaviour is not Behaviour.DEAF:
                self.save(number)
                say(Stopped(epoch=number, step=0))
                os._exit(0)
            if self.gate is None or (self.gate / f"go-{number}").exists():
                return
            time.sleep(0.01)

    def save(self, next_epoch: int) -> None:
        """Write a checkpoint whose position is the start of `next_epoch`."""
        path = self.run.work_dir / "checkpoints" / f"checkpoint-{next_epoch:05}-000000.npz"
        path.parent.mkdir(exist_ok=True)
        content = json.dumps([epoch.model_dump() for epoch in self.history]).encode()
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        say(Checkpoint(path=path, epoch=next_epoch, step=0, bytes=len(content), sha256=digest))

    def restore(self) -> str | None:
        """Take the history from the first checkpoint, and return its name."""
        for path in self.run.checkpoints:
            self.history = [Epoch.model_validate(row) for row in json.loads(path.read_bytes())]
            return path.name
        return None

    def say_started(self, epoch: int, resumed: str | None) -> None:
        """Report the start."""
        layer = Layer(name="dense", kind="Dense", output_shape=[10], parameters=7850)
        say(
            Started(
                epoch=epoch,
                step=0,
                steps_per_epoch=STEPS,
                train_images=60_000,
                eval_images=10_000,
                parameters=7850,
                layers=[layer],
                device="CPU",
                precision="float32",
                versions={"tensorflow": "fake"},
                resumed_from=resumed,
            )
        )

    def finish(self) -> None:
        """Publish one artifact and the result."""
        path = self.run.work_dir / "artifacts" / "history.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("epoch,train_accuracy\n")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        say(
            Artifact(
                path=path,
                name="history.csv",
                kind="history",
                media_type="text/csv",
                bytes=path.stat().st_size,
                sha256=digest,
            )
        )
        last = self.history[-1]
        say(
            Finished(
                reason="epochs_done",
                detail=f"All {last.epoch} epochs are done.",
                best_epoch=last.epoch,
                weights_epoch=last.epoch,
                weights_sha256=digest,
                test_accuracy=last.eval_accuracy,
                test_loss=last.eval_loss,
            )
        )


def _listen(commands: queue.Queue[Stop | None]) -> None:
    for line in sys.stdin:
        command = parse_command(line)
        assert isinstance(command, Stop)
        commands.put(command)
    os._exit(2)


def main() -> None:
    """Wait for the assignment, and run it."""
    say(Ready(seconds=0.0, versions={"tensorflow": "fake"}))
    line = sys.stdin.readline()
    if not line:
        return
    run = parse_command(line)
    assert isinstance(run, Run)
    commands: queue.Queue[Stop | None] = queue.Queue()
    threading.Thread(target=_listen, args=(commands,), daemon=True).start()
    FakeTrainer(run, commands).main()


if __name__ == "__main__":
    main()

"""A trainer that speaks the protocol, learns nothing and lasts as long as the test wants.

Run as `python -m tests.fake_trainer`, in place of `worker.training --serve`. The spec decides
what happens: `seed` picks the behaviour (see `Behaviour`), `epochs` the length. An epoch ends
when a file `go-<epoch>` lies in the folder FAKE_TRAINER_GATE, or after FAKE_TRAINER_EPOCH_SECONDS
without that variable. A file `hold-import` in that folder keeps it importing.
"""

from __future__ import annotations

import ctypes
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
    Machine,
    Measure,
    Measured,
    Measuring,
    Probe,
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
    """What the fake does, by the spec's seed; in a pre-flight it DIES, EXITS or fails too."""

    WELL = 0
    DIES = 1  # kills itself in the first epoch, every time
    DIVERGES = 2  # reports a failure of the job's own
    DIES_ONCE = 3  # kills itself in the second epoch, unless it was resumed
    EXITS = 4  # ends with exit code 3 and no result
    DEAF = 5  # ignores `stop`
    SEGFAULTS = 6  # in the first epoch, every time
    RUNS_OUT_OF_MEMORY = 7  # reports that there is no more
    LEAVES = 8  # ends with exit code 0 and no result
    HANGS = 9  # reports its first step and nothing more, the first time
    HOLDS_CHECKPOINT = 10  # writes half of its first checkpoint, and no more
    HOLDS_FINISH = 11  # has trained all epochs, and writes artifacts for ever
    DIES_SAVING = 12  # kills itself with half of its second checkpoint written, unless resumed
    SHOUTS = 13  # prints more than a pipe holds, each epoch
    BREAKS = 14  # reports before it has begun that something here is broken


def gate_folder() -> Path | None:
    """Return the folder through which the test steers, if there is one."""
    gate = os.environ.get("FAKE_TRAINER_GATE")
    return Path(gate) if gate else None


def wait_for_ever() -> None:
    """Do nothing, and hear nothing, until killed."""
    threading.Event().wait()


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
        self.resumed = False
        self.gate = gate_folder()
        self.epoch_seconds = float(os.environ.get("FAKE_TRAINER_EPOCH_SECONDS", "0"))

    def main(self) -> None:
        """Train all epochs, or until told otherwise."""
        if self.behaviour is Behaviour.BREAKS:
            say(Failed(kind="internal", evidence="No CUDA device.", suggestion="Look at it."))
            os._exit(1)
        resumed = self.restore()
        first = len(self.history) + 1
        self.say_started(first, resumed)
        for epoch in self.history:
            say(epoch.model_copy(update={"replayed": True}))
        for number in range(first, self.run.spec.epochs + 1):
            self.train(number)
        self.finish()

    def train(self, number: int) -> None:
        """Train one epoch: first step, gate, result, checkpoint."""
        say(Progress(phase="train", epoch=number, step=1, steps=STEPS, train_accuracy=0.5))
        self.misbehave(number)
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

    def misbehave(self, number: int) -> None:
        """Do the harm that the seed asks for."""
        print(f"epoch {number} begins", file=sys.stderr, flush=True)
        match self.behaviour:
            case Behaviour.DIES:
                os.kill(os.getpid(), signal.SIGKILL)
            case Behaviour.DIES_ONCE if number == 2 and not self.resumed:
                os.kill(os.getpid(), signal.SIGKILL)
            case Behaviour.EXITS:
                os._exit(3)
            case Behaviour.LEAVES:
                os._exit(0)
            case Behaviour.SEGFAULTS:
                ctypes.string_at(0)
            case Behaviour.RUNS_OUT_OF_MEMORY:
                say(Failed(kind="out_of_memory", evidence="MemoryError", suggestion="Less."))
                os._exit(1)
            case Behaviour.HANGS if not self.has_hung():
                wait_for_ever()
            case Behaviour.SHOUTS:
                print("loud\n" * 40_000, file=sys.stderr, flush=True)
            case Behaviour.DIVERGES:
                say(Failed(kind="diverged", evidence="Loss is NaN at step 1.", suggestion="Less."))
                os._exit(1)

    def wait_at_gate(self, number: int) -> None:
        """Wait until the test opens the gate; serve `stop` meanwhile."""
        ends_at = time.monotonic() + self.epoch_seconds
        while True:
            if self.behaviour is Behaviour.DEAF and not self.commands.empty():
                print("not heard", self.commands.get(), file=sys.stderr, flush=True)
                if self.gate is not None:
                    (self.gate / "told").touch()
            elif not self.commands.empty():
                self.save(number)
                say(Stopped(epoch=number, step=0))
                os._exit(0)
            if self.gate is None and time.monotonic() >= ends_at:
                return
            if self.gate is not None and (self.gate / f"go-{number}").exists():
                return
            time.sleep(0.01)

    def has_hung(self) -> bool:
        """Tell whether this job has hung before, and remember that it has now."""
        assert self.gate is not None
        mark = self.gate / "has-hung"
        if mark.exists():
            return True
        mark.touch()
        return False

    def save(self, next_epoch: int) -> None:
        """Write a checkpoint whose position is the start of `next_epoch`."""
        path = self.run.work_dir / "checkpoints" / f"checkpoint-{next_epoch:05}-000000.npz"
        path.parent.mkdir(exist_ok=True)
        content = json.dumps([epoch.model_dump() for epoch in self.history]).encode()
        partial = path.with_suffix(".partial")
        partial.write_bytes(content[: len(content) // 2])
        if self.behaviour is Behaviour.HOLDS_CHECKPOINT:
            wait_for_ever()
        if self.behaviour is Behaviour.DIES_SAVING and next_epoch == 3 and not self.resumed:
            os.kill(os.getpid(), signal.SIGKILL)
        partial.write_bytes(content)
        partial.rename(path)
        digest = hashlib.sha256(content).hexdigest()
        say(Checkpoint(path=path, epoch=next_epoch, step=0, bytes=len(content), sha256=digest))

    def restore(self) -> str | None:
        """Take the history from the first checkpoint, and return its name."""
        for path in self.run.checkpoints:
            self.history = [Epoch.model_validate(row) for row in json.loads(path.read_bytes())]
            self.resumed = True
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
                machine=Machine(processor="fake", cores=1, intra_op_threads=1, inter_op_threads=1),
                seed=self.run.spec.seed,
                dataset_version="0" * 64,
                resumed_from=resumed,
            )
        )

    def finish(self) -> None:
        """Publish one artifact and the result."""
        last = self.history[-1]
        say(Progress(phase="finish", epoch=last.epoch, step=STEPS, steps=STEPS))
        if self.behaviour is Behaviour.HOLDS_FINISH:
            wait_for_ever()
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


def measure(assignment: Measure) -> None:
    """Answer a pre-flight, once the file `go-measure` lies in the gate's folder."""
    say(Measuring(doing="Pretending", share=0.5))
    gate = gate_folder()
    while gate is not None and not (gate / "go-measure").exists():
        time.sleep(0.01)
    match Behaviour(assignment.spec.seed):
        case Behaviour.DIES:
            os.kill(os.getpid(), signal.SIGKILL)
        case Behaviour.EXITS:
            print("last words", file=sys.stderr, flush=True)
            os._exit(3)
        case Behaviour.DIVERGES:
            say(Failed(kind="model", evidence="No such plugin.", suggestion="Install it."))
            os._exit(1)
    probe = Probe(batch_size=100, step_seconds=0.01, images_per_second=10_000, memory_bytes=1 << 30)
    say(
        Measured(
            device="CPU",
            precision="float32",
            train_images=60_000,
            eval_images=10_000,
            steps_per_epoch=600,
            fits=True,
            parameters=7850,
            prepare_seconds=0.5,
            step_seconds=0.01,
            epoch_seconds=6.5,
            memory_bytes=1 << 30,
            memory_limit_bytes=8 << 30,
            largest_batch=800,
            largest_batch_by="memory",
            diverged_at=None,
            probes=[probe],
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
    gate = gate_folder()
    while gate is not None and (gate / "hold-import").exists():
        time.sleep(0.01)
    say(Ready(seconds=0.0, versions={"tensorflow": "fake"}))
    line = sys.stdin.readline()
    if not line:
        return
    run = parse_command(line)
    if isinstance(run, Measure):
        measure(run)
        return
    assert isinstance(run, Run)
    commands: queue.Queue[Stop | None] = queue.Queue()
    threading.Thread(target=_listen, args=(commands,), daemon=True).start()
    FakeTrainer(run, commands).main()


if __name__ == "__main__":
    main()

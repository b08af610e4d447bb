"""Real trainers for tests: processes that serve, as a supervisor would use them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from shared.protocol import Event, Finished, Ready, Run, Stop, parse_event
from shared.spec import JobSpec, validate
from shared.spec.job import merge
from shared.spec.presets import PRESETS
from tests.waiting import wait_until

_PATIENCE_SECONDS = 120.0

E = TypeVar("E", bound=Event)


def spec_of(preset: str = "hello-world", **changes: Any) -> JobSpec:
    """Return a preset's spec with changes laid over it."""
    return validate(JobSpec, merge(PRESETS[preset].spec.model_dump(mode="json"), changes))


class Trainer:
    """A process `python -m worker.training`, its events, and its log.

    Args:
        folder: made; holds the log and, under `tmp`, the process's temporary files.
        arguments: of the program.
        text: its standard input, then closed; None: commands are to come.

    Attributes:
        events: what it has reported so far.
        noise: lines of its standard output that are no events.
    """

    def __init__(
        self, folder: Path, arguments: Sequence[str] = ("--serve",), text: str | None = None
    ) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        self.log = folder / "log"
        self.events: list[Event] = []
        self.noise: list[bytes] = []
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker.training", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | {"TMPDIR": str(self.temporary)},
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        if text is not None:
            assert self.process.stdin
            self.process.stdin.write(text.encode())
            self.process.stdin.close()

    def run(self, spec: JobSpec, dataset_dir: Path, *, checkpoints: Sequence[Path] = ()) -> Path:
        """Give the trainer its assignment; return the work folder."""
        work_dir = self.folder / "work"
        work_dir.mkdir()
        self.send(
            Run(
                spec=spec,
                dataset_dir=dataset_dir,
                work_dir=work_dir,
                checkpoints=list(checkpoints),
            )
        )
        return work_dir

    def send(self, command: Run | Stop) -> None:
        """Send a command."""
        self.write(command.to_line().encode())

    def write(self, content: bytes) -> None:
        """Write to the trainer's standard input."""
        assert self.process.stdin
        self.process.stdin.write(content)
        self.process.stdin.flush()

    def close_input(self) -> None:
        """End the trainer's standard input, as a supervisor that dies does."""
        assert self.process.stdin
        self.process.stdin.close()

    def all(self, kind: type[E]) -> list[E]:
        """Return the events of a kind so far."""
        return [event for event in list(self.events) if isinstance(event, kind)]

    def wait_for(self, kind: type[E], *, count: int = 1) -> E:
        """Wait until the trainer has reported `count` events of a kind; return the last of them."""

        def enough() -> E | None:
            over = not self._reader.is_alive()
            found = self.all(kind)
            assert len(found) >= count or not over, self.story()
            return found[count - 1] if len(found) >= count else None

        return wait_until(enough, _PATIENCE_SECONDS, what=f"{count} x {kind.__name__}")

    def wait(self) -> int:
        """Wait until the process has ended and everything is read; return its exit code."""
        code = self.process.wait()  # pytest limits it
        self._reader.join()
        return code

    def finish(self) -> Finished:
        """Wait for the end, which must be a good one."""
        assert self.wait() == 0, self.story()
        return self.all(Finished)[0]

    def kill(self) -> None:
        """Kill the process where it stands."""
        self.process.kill()
        self.wait()

    def close(self) -> None:
        """End whatever is left of the process."""
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        assert self.process.stdin
        assert self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()

    def story(self) -> str:
        """Return what the trainer said last, for a failure's message."""
        events = "\n".join(event.to_line()[:300] for event in self.events[-5:])
        return f"{events}\n{self.log.read_text()[-3000:]}"

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            try:
                self.events.append(parse_event(line))
            except ValueError:
                self.noise.append(line)


class Stable:
    """Hands out trainers that wait for work; keeps one ahead, so that tests need not wait.

    Args:
        folder: each trainer has its own folder in it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._trainers: list[Trainer] = []
        self._next = self._spawn()

    def take(self) -> Trainer:
        """Return a warm trainer, and start warming another."""
        trainer, self._next = self._next, self._spawn()
        trainer.wait_for(Ready)
        return trainer

    def close(self) -> None:
        """End every trainer."""
        for trainer in self._trainers:
            trainer.close()

    def _spawn(self) -> Trainer:
        trainer = Trainer(self._folder / f"trainer-{len(self._trainers) + 1}")
        self._trainers.append(trainer)
        return trainer

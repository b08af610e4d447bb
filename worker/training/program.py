"""The trainer's command line: alone with a spec, or serving a supervisor.

Owns what the process is: its arguments, its exit codes, and how it ends.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import NoReturn

from shared.errors import FieldError, InvalidInput, TrainyardError
from shared.protocol import Assignment, Event, Measure, Ready, Run
from shared.reading import Read
from shared.settings import Settings
from shared.spec import JobSpec, validate
from worker.channel import Channel, Commands
from worker.training.narration import narrate

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_STOPPED = 3
EXIT_ABANDONED = 4

_HELP = """\
Train one job.

Alone, it reads a job spec (JSON) from standard input and writes events, one JSON object a line,
to standard output:

  python -m worker.training < spec.json
  echo '{"model": {"kind": "mlp"}, "epochs": 2}' | python -m worker.training --work-dir out

Checkpoints and artifacts go to the work folder. Ctrl-C saves a checkpoint and ends;
`--resume` goes on from the newest one. Without it, a folder with checkpoints is refused.

`--measure` trains nothing: it finds out how long an epoch takes here, how much memory, and the
largest batch that fits, and reports that.

With --serve it imports TensorFlow, reports `ready` and waits for a supervisor's commands
(shared/protocol.py).
"""

_EXIT_CODES = """\
exit codes:
  0  training is over, artifacts are written; or all is measured
  1  the job failed; the `failed` event says why
  2  wrong usage: arguments or spec
  3  stopped on request, after a checkpoint
  4  nobody reads the events, or the supervisor is gone
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the trainer; return its exit code."""
    options = _parser().parse_args(arguments)
    return serve() if options.serve else alone(options)


def alone(options: argparse.Namespace) -> int:
    """Train the spec on standard input."""
    try:
        assignment = _read_assignment(options)
    except (InvalidInput, TrainyardError) as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    channel = Channel.on_stdout(on_broken=_abandon)
    started = time.perf_counter()
    _import_tensorflow()
    channel.send(_ready(started))
    return _carry_out(assignment, channel, threading.Event())


def serve() -> int:
    """Wait for a supervisor's assignment, and train it."""
    started = time.perf_counter()
    channel = Channel.on_stdout(on_broken=_abandon)
    stop = threading.Event()
    commands = Commands(sys.stdin.buffer, stop=stop, on_end=_abandon)
    _import_tensorflow()
    if not commands.assignment_waits():
        _warm_up()
    channel.send(_ready(started))
    assignment = commands.wait_for_assignment()
    if isinstance(assignment, Read):
        raise TrainyardError("A trainer trains; `worker.importing` reads files.")
    return _carry_out(assignment, channel, stop)


def _carry_out(assignment: Assignment, channel: Channel, stop: threading.Event) -> NoReturn:
    """Train or measure, report how it went, and leave the process at once.

    Leaves by `os._exit`: TensorFlow takes a noticeable time to take itself apart, and a
    supervisor waits for the device.
    """
    from worker.training.failures import describe
    from worker.training.preflight import measure
    from worker.training.runtime import temporary_files_in
    from worker.training.session import Session

    def report(event: Event) -> None:
        for line in narrate(event, assignment.spec):
            print(line, file=sys.stderr, flush=True)
        channel.send(event)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with temporary_files_in(assignment.work_dir / "tmp"):
            code = EXIT_DONE
            if isinstance(assignment, Measure):
                report(measure(assignment, report))
            elif Session(assignment, report, stop).run():
                code = EXIT_STOPPED
    except Exception as error:  # noqa: BLE001  whatever it is, the job must end with a reason
        if not isinstance(error, TrainyardError):
            traceback.print_exc()
        report(describe(error))
        code = EXIT_FAILED
    sys.stderr.flush()
    os._exit(code)


def _import_tensorflow() -> None:
    from worker.training import runtime

    runtime.import_tensorflow()


def _warm_up() -> None:
    from worker.training.warmup import warm_up

    warm_up()


def _ready(started: float) -> Ready:
    from worker.training import runtime

    return Ready(seconds=time.perf_counter() - started, versions=runtime.versions())


def _abandon() -> NoReturn:
    os._exit(EXIT_ABANDONED)


def _read_assignment(options: argparse.Namespace) -> Assignment:
    """Build the assignment from the arguments and standard input.

    Raises:
        InvalidInput: the spec breaks a rule, or does not fit the data.
        TrainyardError: there is no such data set, or the run would delete another's checkpoints.
    """
    from shared.datasets.cache import materialise

    spec = _read_spec(sys.stdin.buffer.read())
    cache = Settings().dataset_cache_dir
    dataset_dir = options.dataset_dir or materialise(spec.dataset.name, cache)
    _check_fits(spec, dataset_dir)
    work_dir: Path = options.work_dir
    checkpoints = sorted((work_dir / "checkpoints").glob("*.npz"), reverse=True)
    if checkpoints and not (options.resume or options.measure):
        raise TrainyardError(
            f"{work_dir} holds checkpoints of an earlier run, which this one would delete. "
            "Go on from them with --resume, or name another folder with --work-dir."
        )
    work_dir.mkdir(parents=True, exist_ok=True)
    if options.measure:
        return Measure(spec=spec, dataset_dir=dataset_dir, work_dir=work_dir)
    return Run(spec=spec, dataset_dir=dataset_dir, work_dir=work_dir, checkpoints=checkpoints)


def _check_fits(spec: JobSpec, dataset_dir: Path) -> None:
    """Check the spec against the data, as a server does; broken data are training's to name.

    Raises:
        InvalidInput: the spec does not fit them; names the field.
    """
    import numpy as np

    from shared.datasets.layout import DESCRIPTION
    from shared.spec import fits

    try:
        images = np.load(dataset_dir / "x_train.npy", mmap_mode="r", allow_pickle=False)
        count, height, width, channels = images.shape
        classes = len(json.loads((dataset_dir / DESCRIPTION).read_text())["classes"])
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return
    fits.check(spec, (height, width, channels), classes=classes, train_images=count)


def _read_spec(text: bytes) -> JobSpec:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InvalidInput([FieldError("", f"The spec must be JSON: {error}.")]) from error
    return validate(JobSpec, document)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m worker.training",
        description=_HELP,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--serve", action="store_true", help="wait for a supervisor's commands")
    parser.add_argument(
        "--dataset-dir",
        type=Path,
        metavar="FOLDER",
        help="data set to train on; default: the spec's, if it is bundled, unpacked under "
        "$TRAINYARD_DATA_DIR/datasets",
    )
    parser.add_argument(
        "--work-dir",
        type=Path,
        metavar="FOLDER",
        default=Path("trainer-out"),
        help="where checkpoints/ and artifacts/ go; default: ./trainer-out",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the work folder's newest checkpoint"
    )
    parser.add_argument(
        "--measure",
        action="store_true",
        help="find out what training would take, and train nothing",
    )
    return parser

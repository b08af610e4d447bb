"""What every preset reaches on the whole of MNIST, and how long that takes on this machine.

    python -m tests.bench.presets                     all but the slow ones
    python -m tests.bench.presets deep-cnn resnet20   these
    python -m tests.bench.presets vgg16 --epochs 1    fewer epochs

Each is trained by `python -m worker.training`, as it is, one after the other. What it prints is
what `shared/spec/presets.py` states.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from shared.datasets.cache import materialise
from shared.spec.presets import PRESETS

_SLOW = {"resnet50", "vgg16"}  # hours on a CPU


def main() -> int:
    """Train what was asked for, and print a table; return the exit status."""
    options = _options()
    table = Table("preset", "precision", "best accuracy", "epochs", "an epoch", "in all")
    with tempfile.TemporaryDirectory(prefix="trainyard-presets-") as name:
        folder = Path(name)
        dataset_dir = materialise("mnist", folder)
        for preset in track(options.presets, "Training", console=Console(stderr=True)):
            events = _train(preset, options.epochs, dataset_dir, folder / preset)
            table.add_row(preset, *_row(events))
            table.caption = _machine(events)
    Console().print(table)
    return 0


def _train(
    preset: str, epochs: int | None, dataset_dir: Path, work_dir: Path
) -> list[dict[str, Any]]:
    """Return the events of its training."""
    spec = PRESETS[preset].spec
    if epochs is not None:
        spec = spec.model_copy(update={"epochs": epochs})
    child = subprocess.run(
        [
            *(sys.executable, "-m", "worker.training"),
            *("--dataset-dir", str(dataset_dir), "--work-dir", str(work_dir)),
        ],
        input=spec.model_dump_json(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in child.stdout.splitlines()]


def _row(events: list[dict[str, Any]]) -> tuple[str, ...]:
    epochs = [event for event in events if event["event"] == "epoch"]
    seconds = [epoch["seconds"] for epoch in epochs]
    return (
        _started(events)["precision"],
        f"{max(epoch['eval_accuracy'] for epoch in epochs):.2%}",
        str(len(epochs)),
        f"{statistics.median(seconds):.1f} s",
        f"{sum(seconds) / 60:.1f} min",
    )


def _machine(events: list[dict[str, Any]]) -> str:
    started = _started(events)
    machine, device = started["machine"], started["device"]
    return f"{machine['cores']} cores, {machine['processor']}" if device == "CPU" else device


def _started(events: list[dict[str, Any]]) -> dict[str, Any]:
    return next(event for event in events if event["event"] == "started")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.presets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("presets", nargs="*", type=_known, metavar="PRESET")
    parser.add_argument("--epochs", type=int, help="epochs, instead of the preset's own")
    options = parser.parse_args()
    options.presets = options.presets or [name for name in PRESETS if name not in _SLOW]
    return options


def _known(name: str) -> str:
    if name not in PRESETS:
        raise argparse.ArgumentTypeError(f"there are: {', '.join(PRESETS)}")
    return name


if __name__ == "__main__":
    sys.exit(main())

"""Runs the benches, and prints one table against the figures to hold.

    python -m tests.bench                    everything
    python -m tests.bench start jobs         only these
    python -m tests.bench epoch --gpu        on a GPU
    python -m tests.bench lists --rows 1000000

The exit status is 1 when a figure is not held.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
from rich.console import Console

from tests.bench import epoch, imports, jobs, lists, start
from tests.bench.figures import Figure, print_table
from tests.yard import running_yard

_WIDTH_IN_A_FILE = 140

Bench = Callable[[argparse.Namespace, Path], Iterator[Figure]]


def _start(options: argparse.Namespace, folder: Path) -> Iterator[Figure]:
    yield from start.start_figures(folder, samples=max(1, options.samples // 4))


def _jobs(options: argparse.Namespace, folder: Path) -> Iterator[Figure]:
    with (
        running_yard(folder) as yard,
        httpx.Client(base_url=f"{yard.url}/api/v1", timeout=30) as client,
    ):
        yield from jobs.figures(client, options.samples)
        yield from start.web_figures(yard)


def _lists(options: argparse.Namespace, folder: Path) -> Iterator[Figure]:
    yield from lists.figures(folder, options.rows)


def _epoch(options: argparse.Namespace, folder: Path) -> Iterator[Figure]:
    if options.gpu and not epoch.gpus():
        raise SystemExit("TensorFlow finds no GPU on this machine.")
    yield from epoch.figures(folder, rounds=max(3, options.samples // 4))


def _imports(options: argparse.Namespace, folder: Path) -> Iterator[Figure]:
    yield from imports.figures(folder, options.images)


BENCHES: dict[str, Bench] = {
    "start": _start,
    "jobs": _jobs,
    "epoch": _epoch,
    "lists": _lists,
    "imports": _imports,
}


def main() -> int:
    """Run what was asked for; return the exit status."""
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_IN_A_FILE)
    figures: list[Figure] = []
    for name in options.benches:
        console.print(f"[dim]{name} ...[/]")
        with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as folder:
            figures += BENCHES[name](options, Path(folder) / "var")
    print_table(figures, console)
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    console.print(f"Load of this machine at the end: {load:.1f} a core.")
    return 0 if all(figure.held for figure in figures) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("benches", nargs="*", type=_known, default=list(BENCHES), metavar="BENCH")
    parser.add_argument("--samples", type=int, default=20, help="samples of each start")
    parser.add_argument("--gpu", action="store_true", help="refuse to measure without a GPU")
    parser.add_argument("--rows", type=int, default=10_000, help="jobs in the list")
    parser.add_argument("--images", type=int, default=1_000_000, help="images of a large import")
    return parser.parse_args()


def _known(name: str) -> str:
    if name not in BENCHES:
        raise argparse.ArgumentTypeError(f"no such bench: {name}; there are {', '.join(BENCHES)}")
    return name


if __name__ == "__main__":
    sys.exit(main())

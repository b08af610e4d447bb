"""How fast data get in: the whole of MNIST as CSV, and how much memory its reading takes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from shared.datasets.bundled import BUNDLED
from shared.limits import Limits
from shared.reading import Read, SentFile
from shared.settings import Settings
from shared.spec.dataset_import import ImportOptions
from tests.bench.figures import Figure

_PARTS = {"train": 60_000, "test": 10_000}
# Reads the command, and says at the end how much memory it had taken at most.
_READER = """
import os, sys
from worker.importing import program
leave = os._exit
def tell(code):
    with open("/proc/self/status") as status:  # getrusage would count the parent's memory too
        peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
    print("peak", peak, file=sys.stderr, flush=True)
    leave(code)
program.os._exit = tell
program.main()
"""


def figures(folder: Path) -> Iterator[Figure]:
    """Read MNIST's two tables as a worker does: parsed, split, hashed, surveyed, written.

    Args:
        folder: for about 250 MB; made if missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = _write_tables(folder)
    rows = pd.read_csv(files[0].path, header=None, nrows=1).shape[1]
    began = time.perf_counter()
    for file in files:
        pd.read_csv(file.path, header=None, dtype=np.uint8)
    pandas_seconds = time.perf_counter() - began
    seconds, peak = _read(folder, files)
    yield Figure(
        f"import of MNIST as CSV, 70,000 x {rows}",
        seconds,
        "s",
        30.0,
        f"parsing by pandas alone, types given: {pandas_seconds:.1f} s",
    )
    yield Figure("the same, most memory of its reader", peak / 1e6, "MB", 1000.0, "")


def _write_tables(folder: Path) -> list[SentFile]:
    mnist = BUNDLED["mnist"]
    files = []
    for part, count in _PARTS.items():
        rows = np.c_[mnist.read(f"y_{part}"), mnist.read(f"x_{part}").reshape(count, -1)]
        path = folder / f"mnist_{part}.csv"
        pd.DataFrame(rows).to_csv(path, index=False, header=False)
        files.append(SentFile(path=path, name=path.name))
    return files


def _read(folder: Path, files: list[SentFile]) -> tuple[float, int]:
    """Return the seconds that a reader takes, its start included, and its most bytes."""
    out = folder / "out"
    out.mkdir()
    command = Read(files=files, options=ImportOptions(), limits=Limits.of(Settings()), out_dir=out)
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", _READER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        assert reader.stderr is not None
        reader.stdin.write(command.to_line())
        reader.stdin.flush()
        last = [json.loads(line) for line in reader.stdout][-1]
        peak = next(line for line in reader.stderr if line.startswith("peak"))
    seconds = time.perf_counter() - began
    if last["version"] != BUNDLED["mnist"].content.version:
        raise SystemExit(f"What was read is not MNIST: {last}")
    return seconds, int(peak.split()[1]) * 1024

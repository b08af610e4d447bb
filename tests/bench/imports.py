"""How fast data get in, how much memory that takes, and how soon a person sees them.

The whole of MNIST as CSV, and as many images of its size as a large set has, as `.npz`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import pandas as pd
from flask.testing import FlaskClient

from shared import catalogue
from shared.database import Database
from shared.datasets.bundled import BUNDLED
from shared.limits import Limits
from shared.reading import Read, ReadDone, SentFile
from shared.schema import upgrade
from shared.settings import Settings
from shared.spec.dataset_import import DatasetImport, ImportOptions
from tests.bench.figures import Figure
from web.app import create_app

_LARGE_SHAPE = (28, 28)
_VISITS = 10
_PARTS = {"train": 60_000, "test": 10_000}
# Reads the command, and says at the end how much memory of its own it had taken at most. Pages of
# the files that it maps are not counted: the kernel drops them when it needs the room.
_READER = """
import os, sys, threading
from worker.importing import program
leave, over, most = os._exit, threading.Event(), [0]
def look():
    with open("/proc/self/status") as status:
        own = next(line.split()[1] for line in status if line.startswith("RssAnon"))
    most[0] = max(most[0], int(own))
def watch():
    while not over.wait(0.02):
        look()
def tell(code):
    look()
    print("peak", most[0], file=sys.stderr, flush=True)
    leave(code)
threading.Thread(target=watch, daemon=True).start()
program.os._exit = tell
program.main()
"""


class _Reading(NamedTuple):
    """What a reader took.

    Attributes:
        seconds: its start included.
        peak: its most bytes of memory of its own.
        done: its answer.
    """

    seconds: float
    peak: int
    done: ReadDone


def figures(folder: Path, images: int) -> Iterator[Figure]:
    """Read files as a worker does: parsed, split, hashed, surveyed, written; then look at them.

    Args:
        folder: for about 250 MB, and 1.6 KB an image; made if missing.
        images: how many the large set has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    yield from _mnist(folder)
    yield from _large(folder, images)


def _mnist(folder: Path) -> Iterator[Figure]:
    files = _write_tables(folder)
    rows = pd.read_csv(files[0].path, header=None, nrows=1).shape[1]
    began = time.perf_counter()
    for file in files:
        pd.read_csv(file.path, header=None, dtype=np.uint8)
    pandas_seconds = time.perf_counter() - began
    read = _read(files, folder / "out")
    if read.done.version != BUNDLED["mnist"].content.version:
        raise SystemExit(f"What was read is not MNIST: {read.done}")
    yield Figure(
        f"import of MNIST as CSV, 70,000 x {rows}",
        read.seconds,
        "s",
        30.0,
        f"parsing by pandas alone, types given: {pandas_seconds:.1f} s",
    )
    yield _memory(read)


def _large(folder: Path, images: int) -> Iterator[Figure]:
    """Import images of chance, and open the page of them in a web process that never did."""
    sent = folder / "large.npz"
    chance = np.random.default_rng(0)
    pixels = chance.integers(0, 256, (images, *_LARGE_SHAPE), dtype=np.uint8)
    np.savez(sent, x=pixels, y=chance.integers(0, 10, images))
    del pixels
    settings = Settings(data_dir=folder / "yard", redis_url="redis://127.0.0.1:1/0")
    url = settings.resolved_database_url
    out = folder / "large"
    read = _read([SentFile(path=sent, name=sent.name)], out)
    yield Figure(f"import of {images:,} images of 28 x 28 as .npz", read.seconds, "s", 60.0)
    yield _memory(read)
    uri = f"datasets/{read.done.version}"
    stored = settings.data_dir / "artifacts" / uri
    stored.parent.mkdir(parents=True)
    out.rename(stored)
    upgrade(url)
    database = Database(url)
    with database.write() as session:
        catalogue.add_version(session, DatasetImport(name="large"), read.done, uri)
    client = create_app(settings, database=database).test_client()
    pages, draws = [], []
    for number in range(_VISITS):
        pages.append(_milliseconds(client, "/datasets/large"))
        draws.append(_milliseconds(client, f"/api/v1/datasets/large/samples?label=3&seed={number}"))
    database.dispose()
    yield Figure(
        f"page of {images:,} images, in a web process that never showed them",
        pages[0],
        "ms",
        250.0,
        f"again {median(pages[1:]):.1f} ms; another draw of a class {median(draws):.1f} ms",
    )


def _milliseconds(client: FlaskClient, path: str) -> float:
    began = time.perf_counter()
    answer = client.get(path)
    if answer.status_code != HTTPStatus.OK:
        raise SystemExit(f"{path} answered {answer.status}: {answer.text}")
    return 1000 * (time.perf_counter() - began)


def _memory(read: _Reading) -> Figure:
    name = "the same, most memory of its reader's own"
    return Figure(name, read.peak / 1e6, "MB", 1000.0, "pages of mapped files not counted")


def _write_tables(folder: Path) -> list[SentFile]:
    mnist = BUNDLED["mnist"]
    files = []
    for part, count in _PARTS.items():
        rows = np.c_[mnist.read(f"y_{part}"), mnist.read(f"x_{part}").reshape(count, -1)]
        path = folder / f"mnist_{part}.csv"
        pd.DataFrame(rows).to_csv(path, index=False, header=False)
        files.append(SentFile(path=path, name=path.name))
    return files


def _read(files: list[SentFile], out: Path) -> _Reading:
    """Have files read into the folder `out`, which is made."""
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
        last = list(reader.stdout)[-1]
        peak = next(line for line in reader.stderr if line.startswith("peak"))
    seconds = time.perf_counter() - began
    return _Reading(seconds, int(peak.split()[1]) * 1024, ReadDone.model_validate_json(last))

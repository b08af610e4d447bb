"""`python -m tests.faults.kills --kills 3`: one job left in peace, one killed, the same weights.

A whole yard (`trainyard up`) trains the same spec twice, on the real data. The second time, its
worker and all trainers get SIGKILL at random steps. Prints the epochs and the weights of both side
by side; the exit status is 1 if they differ anywhere.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from tests.waiting import wait_until
from tests.yard import RunningYard, running_yard

_PATIENCE_SECONDS = 3600.0
_FIGURES = ("train_accuracy", "train_loss", "eval_accuracy", "eval_loss", "learning_rate")


def kill_worker(yard: RunningYard) -> int:
    """Kill the yard's worker and its trainers where they stand; return how many processes."""
    killed = 0
    for process in psutil.Process(yard.process.pid).children(recursive=True):
        try:
            line = process.cmdline()
        except psutil.NoSuchProcess:
            continue
        if line[1:] == ["-m", "worker"] or "worker.training" in line:
            process.kill()
            killed += 1
    return killed


def steps_done(yard: RunningYard, job_id: int) -> float:
    """Return how many epochs are done, with the part of the one in progress."""
    job = yard.api(f"/jobs/{job_id}")
    progress = job["progress"]
    if not progress or job["status"] != "running":
        return float(job["epochs_done"])
    return float(progress["epoch"] - 1 + progress["step"] / progress["steps"])


def finish(yard: RunningYard, job_id: int) -> dict[str, Any]:
    """Wait until the job is over; return it with its epochs."""
    ends = ("succeeded", "failed", "cancelled")
    wait_until(
        lambda: yard.api(f"/jobs/{job_id}")["status"] in ends,
        _PATIENCE_SECONDS,
        what=f"job {job_id} is over",
    )
    job = yard.api(f"/jobs/{job_id}")
    return job | {"epochs": yard.api(f"/jobs/{job_id}/epochs?limit=200")["items"]}


def show(console: Console, peaceful: dict[str, Any], killed: dict[str, Any]) -> bool:
    """Print both jobs side by side; return whether they are the same to the last bit."""
    table = Table(title="train accuracy, train loss, evaluation accuracy; as the database has them")
    for heading in ("epoch", "left in peace", "killed", "attempt", ""):
        table.add_column(heading)
    alike = [len(peaceful["epochs"]) == len(killed["epochs"])]
    for one, other in zip(peaceful["epochs"], killed["epochs"], strict=False):
        alike.append(all(one[name] == other[name] for name in _FIGURES))
        texts = [" ".join(repr(row[name]) for name in _FIGURES[:3]) for row in (one, other)]
        mark = "the same" if alike[-1] else "[red]DIFFERENT"
        table.add_row(str(one["epoch"]), *texts, str(other["attempt"]), mark)
    console.print(table)
    hashes = [(job["result"] or {}).get("weights_sha256", "none") for job in (peaceful, killed)]
    console.print(f"Final weights, left in peace  {hashes[0]}", soft_wrap=True)
    console.print(f"Final weights, killed         {hashes[1]}", soft_wrap=True)
    return all(alike) and hashes[0] == hashes[1] != "none"


def compare(yard: RunningYard, body: dict[str, Any], kills: int, console: Console) -> bool:
    """Train the job twice, the second time with kills; return whether both ended the same."""
    peaceful = int(yard.api("/jobs", {**body, "name": "left in peace"})["id"])
    console.print(f"Job {peaceful} is left in peace: {yard.url}/jobs/{peaceful}")
    one = finish(yard, peaceful)
    job_id = int(yard.api("/jobs", {**body, "name": f"killed {kills} times"})["id"])
    console.print(f"Job {job_id} gets {kills} times SIGKILL: {yard.url}/jobs/{job_id}")
    epochs = len(one["epochs"])
    for place in sorted(random.uniform(0.1, epochs - 0.1) for _ in range(kills)):
        wait_until(
            lambda place=place: steps_done(yard, job_id) >= place,  # type: ignore[misc]
            _PATIENCE_SECONDS,
            what=f"job {job_id} gets to {place:.2f} epochs",
        )
        attempts = int(yard.api(f"/jobs/{job_id}")["attempt"])
        began, processes = time.monotonic(), kill_worker(yard)
        assert processes, "There was nothing to kill."
        where = steps_done(yard, job_id)
        wait_until(
            lambda attempts=attempts: yard.api(f"/jobs/{job_id}")["attempt"] > attempts,  # type: ignore[misc]
            _PATIENCE_SECONDS,
            what=f"job {job_id} runs again",
        )
        console.print(
            f"  after {where:.2f} epochs: {processes} processes killed, "
            f"running again after {time.monotonic() - began:.1f} s"
        )
    return show(console, one, finish(yard, job_id))


def main() -> int:
    """Compare, and return the exit status."""
    parser = argparse.ArgumentParser(prog="make kills", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--preset", default="hello-world")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--precision", choices=["float32", "mixed_bfloat16"], default="float32")
    given = parser.parse_args()
    spec = {
        "epochs": given.epochs,
        "precision": given.precision,
        "resources": {"checkpoint_seconds": 5},
    }
    console = Console()
    environment = {"TRAINYARD_MAX_ATTEMPTS": str(given.kills + 1)}
    with (
        tempfile.TemporaryDirectory(prefix="trainyard-kills-") as folder,
        running_yard(Path(folder) / "var", environment=environment) as yard,
    ):
        body = {"preset": given.preset, "spec": spec}
        same = compare(yard, body, given.kills, console)
    console.print("The same to the last bit." if same else "[red]NOT the same.")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())

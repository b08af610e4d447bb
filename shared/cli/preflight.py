"""`trainyard preflight`: asks, waits, and shows what a slot found out."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from shared.cli.errors import Refused
from shared.cli.tables import make_console
from shared.cli.text import clean, duration

if TYPE_CHECKING:
    from shared.cli.client import Client

_PAUSE_SECONDS = 0.4
_OVER = ("done", "failed")


def run(client: Client, body: dict[str, Any]) -> dict[str, Any]:
    """Ask for a pre-flight, and wait for its end with a bar on standard error.

    Args:
        client: of the server.
        body: a submission.

    Returns:
        The pre-flight as the API shows it, `done` or `failed`.

    Raises:
        Unreachable, Refused: there is no answer, or a refusal.
    """
    answer = client.post("/preflights", body)
    path = f"/preflights/{answer['id']}"
    columns = (TextColumn("{task.description}"), BarColumn())
    try:
        with Progress(*columns, console=make_console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=1.0)
            while answer["status"] not in _OVER:
                progress = answer["progress"] or {"doing": answer["waiting"], "share": 0.0}
                words = clean(progress["doing"] or "A worker takes it")
                bar.update(task, description=words, completed=progress["share"])
                time.sleep(_PAUSE_SECONDS)
                answer = client.get(path)
    except KeyboardInterrupt:
        with contextlib.suppress(Refused):
            client.delete(path)
        raise
    return dict(answer)


def show(answer: dict[str, Any]) -> None:
    """Print a pre-flight that is over."""
    if failure := answer["failure"]:
        print(f"{failure['kind']}: {clean(failure['evidence'])}", file=sys.stderr)
        print(clean(failure["suggestion"]), file=sys.stderr)
        return
    spec, report = answer["spec"], answer["report"]
    table = Table.grid(padding=(0, 2))
    for name, words in _facts(spec, report):
        table.add_row(name, words)
    make_console().print(table)


def _facts(spec: dict[str, Any], report: dict[str, Any]) -> list[tuple[str, str]]:
    facts = [("on", f"{clean(report['device'])}, {report['precision']}")]
    if report["fits"]:
        epochs, seconds = spec["epochs"], report["epoch_seconds"]
        total = duration(report["prepare_seconds"] + epochs * seconds)
        facts += [
            ("an epoch", duration(seconds)),
            (f"all {epochs} epochs" if epochs > 1 else "the epoch", f"{total} at most"),
            ("memory", _memory(report)),
        ]
    else:
        facts.append(("memory", f"a batch of {spec['batch_size']:,} does not fit"))
    facts.append(("largest batch", _largest(report)))
    if report["diverged_at"] is not None:
        facts.append(("take care", f"the loss is not finite at step {report['diverged_at']}"))
    return facts


def _memory(report: dict[str, Any]) -> str:
    used, limit = (report[name] / 2**30 for name in ("memory_bytes", "memory_limit_bytes"))
    return f"{used:.1f} of {limit:.1f} GiB"


def _largest(report: dict[str, Any]) -> str:
    words = f"{report['largest_batch']:,} images"
    return f"{words}, all there are" if report["largest_batch_by"] == "data" else words
